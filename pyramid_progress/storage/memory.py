"""Statuses in the memory of this process, for its threads."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock

from . import record as rules
from .interface import Storage, StorageError
from .record import Record

#: As long as there are no more entries than this, none is removed.
_FEW = 64

# A record, and when it ends, by a clock that nobody puts back. Neither is ever changed, but the entry replaced: so a
# reader needs no lock.
_Entry = tuple[Record, float]

#: What all regions of the type ``memory`` hold: entries by id, by namespace.
_spaces: dict[str, dict[str, _Entry]] = {}

#: Whoever changes an entry holds this.
_lock = Lock()


class MemoryStorage(Storage):
    """A region of the type ``memory``.

    :param namespace: what sets our entries apart from those of other applications in the process
    :param timeout: seconds to wait for a thread that is making a change
    """

    def __init__(self, namespace: str, timeout: float) -> None:
        self._entries = _spaces.setdefault(namespace, {})
        self._timeout = timeout
        self._most = _FEW

    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        return self._change(progress_id, lambda old: dict(record) if rules.may_start(old, record) else None, expire)

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._change(progress_id, lambda old: rules.updated(old, changes), expire)

    def amend(self, changes: Mapping[str, Record], expire: float) -> dict[str, Record]:
        for progress_id, change in changes.items():
            self._change(progress_id, partial(rules.amended, changes=change), expire)
        return self.read(list(changes))

    def read(self, progress_ids: Sequence[str]) -> dict[str, Record]:
        return {progress_id: dict(record) for progress_id in progress_ids if (record := self._record(progress_id))}

    def texts(self, progress_ids: Sequence[str]) -> dict[str, str]:
        return {progress_id: rules.dump(record) for progress_id, record in self.read(progress_ids).items()}

    def take(self, progress_id: str, linger: float) -> bool:
        return self._change(progress_id, lambda old: rules.taken(old) if old and rules.can_take(old) else None, linger)

    def discard(self, progress_id: str) -> None:
        self._change(progress_id, lambda old: old, 0)

    def tasks(self) -> set[str]:
        now = time.monotonic()
        return {
            progress_id
            for progress_id, (record, ends) in self._entries.copy().items()
            if now < ends and rules.is_listed(record)
        }

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        """Do nothing: another storage of this process may go on with what is here."""

    def _record(self, progress_id: str) -> Record | None:
        entry = self._entries.get(progress_id)
        return entry[0] if entry and time.monotonic() < entry[1] else None

    def _change(self, progress_id: str, rule: Callable[[Record | None], Record | None], expire: float) -> bool:
        """Store what a rule makes of a task's record; return False where that is nothing."""
        if not _lock.acquire(True, self._timeout):
            raise StorageError(f'another thread kept the lock for {self._timeout:g} s')
        try:
            record = rule(self._record(progress_id))
            if record is None:
                return False
            if len(self._entries) >= self._most and progress_id not in self._entries:
                self._sweep()
            self._entries[progress_id] = record, time.monotonic() + expire
            return True
        finally:
            _lock.release()

    def _sweep(self) -> None:
        """Remove what has ended; the next time is when there are twice as many entries as were left."""
        now = time.monotonic()
        for progress_id in [progress_id for progress_id, (_, ends) in self._entries.items() if ends <= now]:
            del self._entries[progress_id]
        self._most = max(_FEW, 2 * len(self._entries))


def _after_fork() -> None:
    """Let go, in a forked child, of what a thread of its parent's may have held."""
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_after_fork)
