"""A task list and statuses that are kept in different places."""

import random
from collections.abc import Collection, Mapping, Sequence

from .interface import Storage
from .record import BEAT, Record, is_listed

#: What stands on the list for a task; its status is elsewhere.
_ENTRY: Record = {'status': '"running"', 'owner': 'null', 'started': 'null'}

#: Entries have no lifetime of their own: whether a task is on the list is asked of its status.
_FOR_EVER = 100 * 365 * 86400.0

#: One start in so many looks through the list for entries whose status is gone.
_STARTS_PER_SWEEP = 256


class PairedStorage(Storage):
    """Statuses in one storage, and the list of their ids in another.

    The statuses are the truth: the list says which of them to ask for, and an update of a status never needs it.
    """

    def __init__(self, statuses: Storage, tasks: Storage) -> None:
        self._statuses = statuses
        self._tasks = tasks

    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        if random.randrange(_STARTS_PER_SWEEP) == 0:  # noqa: S311  (chance, not a secret)
            self.tasks()
        started = self._statuses.start(progress_id, record, expire)
        if started:
            self._tasks.start(progress_id, _ENTRY, _FOR_EVER)
        return started

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._statuses.update(progress_id, changes, expire)

    def amend(self, changes: Mapping[str, Record], expire: float) -> dict[str, Record]:
        records = self._statuses.amend(changes, expire)
        for progress_id, change in changes.items():
            # With its heartbeat, a task sees to its entry: the list's store may have been down, or lost it.
            if BEAT in change and is_listed(records.get(progress_id, change)):
                self._tasks.start(progress_id, _ENTRY, _FOR_EVER)
        return records

    def texts(self, progress_ids: Sequence[str]) -> dict[str, str]:
        return self._statuses.texts(progress_ids)

    def take(self, progress_id: str, linger: float) -> bool:
        return self._statuses.take(progress_id, linger)

    def discard(self, progress_id: str) -> None:
        self._statuses.discard(progress_id)

    def tasks(self) -> set[str]:
        ids = self._tasks.tasks()
        listed = self._listed(ids)
        ended = ids - listed
        for progress_id in ended:
            self._tasks.discard(progress_id)
        # One of them may have been started again in the meantime.
        for progress_id in self._listed(ended):
            self._tasks.start(progress_id, _ENTRY, _FOR_EVER)
            listed.add(progress_id)
        return listed

    def _listed(self, ids: Collection[str]) -> set[str]:
        if not ids:
            return set()
        records = self._statuses.read(list(ids))
        return {progress_id for progress_id, record in records.items() if is_listed(record)}

    def now(self) -> float:
        return self._statuses.now()

    def close(self) -> None:
        self._statuses.close()
        self._tasks.close()
