"""A running list and statuses that are kept at different locations."""

import random
from collections.abc import Collection, Mapping, Sequence

from ..model.record import HEARTBEAT, Activity, Record, is_listed
from .interface import Storage

#: The entry of a task on the list; its status is elsewhere.
_ENTRY: Record = {'status': '"running"', 'owner': 'null', 'started': 'null'}

#: Entries do not expire: whether a task is on the list follows from its status.
_NEVER = 100 * 365 * 86400.0

#: One of so many starts removes the entries whose status is gone.
_STARTS_PER_SWEEP = 256


class PairedStorage(Storage):
    """The statuses in one storage, and the list of their ids in another.

    The statuses are authoritative: the list says which of them to read, and an update of a status never needs it.
    """

    def __init__(self, statuses: Storage, tasks: Storage) -> None:
        self._statuses = statuses
        self._tasks = tasks

    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        if random.randrange(_STARTS_PER_SWEEP) == 0:  # noqa: S311  (not used for security)
            self.running_ids()
        started = self._statuses.start(progress_id, record, expire)
        if started:
            self._tasks.start(progress_id, _ENTRY, _NEVER)
        return started

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._statuses.update(progress_id, changes, expire)

    def update_active(self, changes: Mapping[str, Record], expire: float) -> dict[str, Activity]:
        activities = self._statuses.update_active(changes, expire)
        for progress_id, change in changes.items():
            # A heartbeat also restores the entry: the list's store may have been down, or have lost it.
            if HEARTBEAT in change and activities.get(progress_id, Activity.ENDED) is not Activity.ENDED:
                self._tasks.start(progress_id, _ENTRY, _NEVER)
        return activities

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        return self._statuses.get_many_serialized(progress_ids)

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        return self._statuses.acknowledge(progress_id, linger)

    def delete(self, progress_id: str) -> None:
        self._statuses.delete(progress_id)

    def running_ids(self) -> set[str]:
        ids = self._tasks.running_ids()
        listed = self._listed(ids)
        gone = ids - listed
        for progress_id in gone:
            self._tasks.delete(progress_id)
        # One of them may have been started again in the meantime.
        for progress_id in self._listed(gone):
            self._tasks.start(progress_id, _ENTRY, _NEVER)
            listed.add(progress_id)
        return listed

    def _listed(self, ids: Collection[str]) -> set[str]:
        if not ids:
            return set()
        records = self._statuses.get_many(list(ids))
        return {progress_id for progress_id, record in records.items() if is_listed(record)}

    def now(self) -> float:
        return self._statuses.now()

    def close(self) -> None:
        self._statuses.close()
        self._tasks.close()
