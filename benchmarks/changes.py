"""Tasks that change, in a process of their own."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

from .children import child
from .sites import USER

#: How often a second each of them changes.
RATE = 2

#: Into how many groups they are divided, which change one after the other.
_GROUPS = 10


@contextmanager
def changing_tasks(settings: Mapping[str, str], count: int) -> Iterator[Sequence[str]]:
    """Run tasks that change twice a second, during the block; give their ids."""
    progress_ids = [f'a6cf2b0c5a8e4a0f9d8c7b6e{number:08x}' for number in range(count)]
    with child(_work, settings, progress_ids) as pipe:
        pipe.recv()
        yield progress_ids


def _work(settings: dict[str, str], progress_ids: Sequence[str], pipe: Connection) -> None:
    import pyramid_progress

    pyramid_progress.configure(settings)
    tasks = [
        pyramid_progress.start_task('Importing customers', owner=USER, length=1_000_000, progress_id=progress_id)
        for progress_id in progress_ids
    ]
    pipe.send(None)
    at = time.monotonic()
    step = 0
    while True:
        for task in tasks[step % _GROUPS :: _GROUPS]:
            task.current = step
            task.message = f'Importing row {step}'
        step += 1
        now = time.monotonic()
        at = max(at + 1 / RATE / _GROUPS, now)  # Updates that a busy machine delays are not made up later.
        time.sleep(at - now)
