"""Lists of tasks and statuses that are kept at different locations."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from ..model.record import (
    ACKNOWLEDGED,
    RUN,
    RUNNING_KEY,
    Activity,
    Record,
    Start,
    index_keys,
    is_bare,
    is_listed,
    renews_entries,
)
from .interface import Entry, Storage, StorageError

log = logging.getLogger(__name__)

#: In an entry, when it was written, in seconds by the clock of the statuses.
_WRITTEN = '_written'

#: In an entry, the lifetime in seconds of the record that it stands for.
_EXPIRE = '_expire'

#: How often an entry is compared with its status after it was written.
_MAX_MIRROR_ROUNDS = 5


class PairedStorage(Storage):
    """The statuses in one storage, and the indexes of tasks in another.

    The statuses are authoritative. The other storage holds an entry for each task: a record with the members alone that
    decide which indexes the task is in. An entry is written when a task starts or ends, when its end is acknowledged,
    and with its heartbeats. :meth:`prune` corrects entries that are still out of date.
    """

    def __init__(self, statuses: Storage, tasks: Storage) -> None:
        #: The storage of the statuses.
        self.statuses = statuses
        #: The storage of the indexes, with an entry for each task.
        self.tasks = tasks
        lingers = (statuses.default_linger, tasks.default_linger)
        self.watch_interval = statuses.watch_interval
        self.default_linger = min((linger for linger in lingers if linger is not None), default=None)

    @property
    def broke_at(self) -> float | None:
        return self.statuses.broke_at

    def start(self, progress_id: str, record: Record, expire: float, mode: Start = Start.ANY) -> bool:
        started = self.statuses.start(progress_id, record, expire, mode)
        if started:
            self._mirror([progress_id], expire)
        return started

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self.statuses.update(progress_id, changes, expire)
        # A change may end a task, or take its end back.
        self._mirror([progress_id], expire)

    def update_active(
        self, changes: Mapping[str, Record], expire: float, runs: Mapping[str, str] | None = None
    ) -> dict[str, Activity]:
        activities = self.statuses.update_active(changes, expire, runs)
        # A heartbeat also restores the entry: its store may have been down, or have lost it.
        self._mirror([progress_id for progress_id in activities if renews_entries(changes[progress_id])], expire)
        return activities

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        return self.statuses.get_many_serialized(progress_ids)

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        acknowledged = self.statuses.acknowledge(progress_id, linger)
        if acknowledged:
            self._mirror([progress_id], linger)
        return acknowledged

    def delete(self, progress_id: str, run: str | None = None) -> bool:
        deleted = self.statuses.delete(progress_id, run)
        self.prune(RUNNING_KEY, [progress_id])
        return deleted

    def list_entries(self, keys: Sequence[str], limit: int, before: Entry | None = None) -> list[Entry]:
        return self.tasks.list_entries(keys, limit, before)

    def prune(self, key: str, progress_ids: Sequence[str]) -> None:
        entries = self.tasks.get_many(progress_ids)
        for progress_id, entry in entries.items():
            self._mirror([progress_id], float(entry[_EXPIRE]))
        self.tasks.prune(key, [progress_id for progress_id in progress_ids if progress_id not in entries])

    def running_ids(self) -> set[str]:
        ids = self.tasks.running_ids()
        records = self.statuses.get_many(list(ids)) if ids else {}
        listed = {progress_id for progress_id, record in records.items() if is_listed(record)}
        try:
            self.prune(RUNNING_KEY, list(ids - listed))
        except StorageError:
            log.debug('Entries that are out of date cannot be removed', exc_info=True)
        return listed

    def start_part(
        self, progress_id: str, number: int, *, task_run: str, part_run: str, heartbeat: str, expire: float
    ) -> Activity | None:
        activity = self.statuses.start_part(
            progress_id, number, task_run=task_run, part_run=part_run, heartbeat=heartbeat, expire=expire
        )
        self._mirror([progress_id], expire)
        return activity

    def update_part(
        self, progress_id: str, number: int, changes: Record, *, task_run: str, part_run: str, expire: float
    ) -> Activity | None:
        activity = self.statuses.update_part(
            progress_id, number, changes, task_run=task_run, part_run=part_run, expire=expire
        )
        if renews_entries(changes):
            self._mirror([progress_id], expire)
        return activity

    def now(self) -> float:
        return self.statuses.now()

    def close(self) -> None:
        self.statuses.close()
        self.tasks.close()

    def _mirror(self, progress_ids: Iterable[str], expire: float) -> None:
        """Make entries agree with the statuses.

        :param expire: the lifetime of the statuses since their last change
        """
        remaining = list(progress_ids)
        for _ in range(_MAX_MIRROR_ROUNDS):
            if not remaining:
                return
            records = self.statuses.get_many(remaining)
            entries = self.tasks.get_many(remaining)
            now = self.statuses.now()
            changed = []
            for progress_id in remaining:
                record, entry = records.get(progress_id), entries.get(progress_id)
                if record is None or is_bare(record):
                    if entry is not None:
                        self.tasks.delete(progress_id)
                        changed.append(progress_id)
                elif entry is None or not _is_current(entry, record, now):
                    # Twice the record's lifetime: a change writes the entry again only after one lifetime.
                    self.tasks.start(progress_id, _entry(record, now, expire), 2 * expire)
                    changed.append(progress_id)
            # Between the read and the write, another process may have changed the status and written its entry: what
            # was written is compared again. A store that drops writes without an error never agrees.
            remaining = changed


def _entry(record: Record, now: float, expire: float) -> Record:
    names = ('status', 'owner', 'started', RUN, ACKNOWLEDGED)
    entry = {name: record[name] for name in names if name in record}
    return entry | {_WRITTEN: repr(now), _EXPIRE: repr(expire)}


def _is_current(entry: Record, record: Record, now: float) -> bool:
    """Return whether an entry need not be written again."""
    is_recent = now - float(entry[_WRITTEN]) < float(entry[_EXPIRE])
    return is_recent and entry.get(RUN) == record.get(RUN) and index_keys(entry) == index_keys(record)
