"""Statuses in the memory of this process, for its threads."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

from ..model import record as rules
from ..model.record import Activity, Record
from ..system import process
from .interface import Storage, StorageError

#: Up to this number of entries, none is removed.
_MIN_SWEEP = 64

# A record and the time of its expiry, by the monotonic clock. Entries are replaced and never modified, so that readers
# need no lock.
_Entry = tuple[Record, float]


class Memory(process.Participant):
    """What the regions of the type ``memory`` of one runtime hold."""

    def __init__(self) -> None:
        #: Entries by id, by namespace.
        self.namespaces: dict[str, dict[str, _Entry]] = {}
        #: Held while an entry is replaced.
        self.lock = Lock()
        process.register(self)

    def after_fork_in_child(self) -> None:
        self.lock = Lock()


class MemoryStorage(Storage):
    """A region of the type ``memory``.

    :param region: the region's options; ``memory`` is the :class:`Memory` to use, by default a new one
    :param namespace: separates our entries from others in the same memory
    :param timeout: seconds to wait for a thread that is making a change
    """

    def __init__(self, region: Mapping[str, Any], namespace: str, timeout: float) -> None:
        self._memory: Memory = region.get('memory') or Memory()
        self._entries = self._memory.namespaces.setdefault(namespace, {})
        self._timeout = timeout
        self._next_sweep = _MIN_SWEEP

    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        return self._change(progress_id, lambda old: dict(record) if rules.may_start(old, record) else None, expire)

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._change(progress_id, lambda old: rules.updated(old, changes), expire)

    def update_active(self, changes: Mapping[str, Record], expire: float) -> dict[str, Activity]:
        activities = {}
        for progress_id, change in changes.items():
            self._change(progress_id, partial(rules.updated_active, changes=change), expire)
            record = self._record(progress_id)
            if record:
                activities[progress_id] = rules.activity(record)
        return activities

    def get_many(self, progress_ids: Sequence[str]) -> dict[str, Record]:
        return {progress_id: dict(record) for progress_id in progress_ids if (record := self._record(progress_id))}

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        return {progress_id: rules.dump(record) for progress_id, record in self.get_many(progress_ids).items()}

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        return self._change(progress_id, rules.acknowledged, linger)

    def delete(self, progress_id: str) -> None:
        self._change(progress_id, lambda old: old, 0)

    def running_ids(self) -> set[str]:
        now = time.monotonic()
        return {
            progress_id
            for progress_id, (record, expires) in self._entries.copy().items()
            if now < expires and rules.is_listed(record)
        }

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        """Do nothing: the entries may be used by another storage of the same runtime."""

    def _record(self, progress_id: str) -> Record | None:
        entry = self._entries.get(progress_id)
        return entry[0] if entry and time.monotonic() < entry[1] else None

    def _change(self, progress_id: str, rule: Callable[[Record | None], Record | None], expire: float) -> bool:
        """Store the record that a rule returns; return False if that is None."""
        lock = self._memory.lock
        if not lock.acquire(True, self._timeout):
            raise StorageError(f'another thread held the lock for {self._timeout:g} s')
        try:
            record = rule(self._record(progress_id))
            if record is None:
                return False
            if len(self._entries) >= self._next_sweep and progress_id not in self._entries:
                self._sweep()
            self._entries[progress_id] = record, time.monotonic() + expire
            return True
        finally:
            lock.release()

    def _sweep(self) -> None:
        """Remove expired entries; the next sweep is due at twice the number of entries that are left."""
        now = time.monotonic()
        for progress_id in [progress_id for progress_id, (_, expires) in self._entries.items() if expires <= now]:
            del self._entries[progress_id]
        self._next_sweep = max(_MIN_SWEEP, 2 * len(self._entries))
