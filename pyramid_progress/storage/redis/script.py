"""Scripts that a server runs."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import redis


class Script:
    """A script of this package. A server is sent its hash; one that was restarted does not know it.

    :param names: of the files, without extension, that make up the script
    """

    def __init__(self, *names: str) -> None:
        self._text = '\n'.join(files(__package__).joinpath(f'{name}.lua').read_text('utf-8') for name in names)
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: 'redis.Redis', keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """Return the script's answer."""
        try:
            return client.evalsha(self._sha, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            return client.eval(self._text, len(keys), *keys, *arguments)


UPDATE = Script('form', 'update', 'record', 'change', 'bytes', 'index', 'update_rest')
START = Script('form', 'record', 'bytes', 'index', 'start')
END = Script('form', 'record', 'change', 'index', 'end')
PART = Script('form', 'record', 'change', 'part', 'index', 'part_end')
PRUNE = Script('form', 'record', 'index', 'prune')
NEWEST = Script('bytes', 'newest')
RUNNING = Script('running')
