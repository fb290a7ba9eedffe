"""Scripts that a server runs."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import redis


class Script:
    """A Lua script of this package. It is called by its hash; a server that does not know the hash is sent the text.

    :param names: of the files, without extension, that make up the script
    """

    def __init__(self, *names: str) -> None:
        self.text = '\n'.join(files(__package__).joinpath(f'{name}.lua').read_text('utf-8') for name in names)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: 'redis.Redis', keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """Return the script's answer."""
        try:
            return client.evalsha(self.sha, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            return client.eval(self.text, len(keys), *keys, *arguments)


class RecordScripts(NamedTuple):
    """The scripts that change records."""

    start: Script
    update: Script
    end: Script
    part: Script


#: On one server, they change the indexes too.
INDEXED = RecordScripts(
    start=Script('form', 'record', 'bytes', 'keys', 'index', 'start', 'start_due'),
    update=Script('form', 'update', 'record', 'change', 'bytes', 'keys', 'index', 'update_rest'),
    end=Script('form', 'record', 'change', 'keys', 'index', 'end'),
    part=Script('form', 'record', 'change', 'part', 'keys', 'index', 'part_end'),
)

#: In a cluster, they return the records that move.
SHARDED = RecordScripts(
    start=Script('form', 'record', 'bytes', 'keys', 'moves', 'start', 'started'),
    update=Script('form', 'update', 'record', 'change', 'bytes', 'moves', 'update_rest'),
    end=Script('form', 'record', 'change', 'moves', 'end'),
    part=Script('form', 'record', 'change', 'part', 'moves', 'part_end'),
)

PRUNE = Script('form', 'record', 'keys', 'prune')
NEWEST = Script('bytes', 'newest')
RUNNING = Script('running')
ENTRIES = Script('entries')
