"""Records in the memory of this process, for its threads."""

import heapq
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby, islice
from threading import Lock
from typing import Any, NamedTuple

from ..model import record as rules
from ..model.record import Activity, Record, Start
from ..system import process
from .interface import Entry, StorageError
from .parts import PartRule, PartStorage

#: Expired tasks are looked for only if there are at least this many tasks.
_MIN_SWEEP = 64


#: Seconds that a fork waits for a thread that is making a change.
_FORK_TIMEOUT = 1.0


class _Task(NamedTuple):
    """A task. It is replaced and never modified, so that readers need no lock."""

    record: Record
    #: the time of its expiry, by the monotonic clock
    expires: float
    #: the records of its parts by number
    parts: dict[int, Record]


#: Makes a task of a tuple, in a third of the time that the class takes: every change makes one.
_task: Callable[[tuple[Record, float, dict[int, Record]]], _Task] = partial(tuple.__new__, _Task)


class _Namespace:
    """The tasks of one namespace, and their indexes. They change under the lock of the memory only."""

    def __init__(self) -> None:
        self.tasks: dict[str, _Task] = {}
        #: Ascending entries by key.
        self.indexes: dict[str, list[Entry]] = {}

    def put(self, progress_id: str, task: _Task | None) -> None:
        """Replace a task, even one that has expired; None removes it."""
        old = self.tasks.get(progress_id)
        if task is None:
            self.tasks.pop(progress_id, None)
        else:
            self.tasks[progress_id] = task
        before, after = old.record if old else None, task.record if task else None
        if after is None or rules.is_moved(before, after):
            self._move(progress_id, before, after)

    def newest(self, keys: Sequence[str], limit: int, before: Entry | None) -> list[Entry]:
        """Return what :meth:`.Storage.list_entries` promises."""
        newest: list[Iterator[Entry]] = []
        for key in keys:
            index = self.indexes.get(key, [])
            end = len(index) if before is None else bisect_left(index, before)
            newest.append(map(index.__getitem__, range(end - 1, -1, -1)))
        merged = heapq.merge(*newest, reverse=True)
        return list(islice((entry for entry, _ in groupby(merged)), limit))

    def _move(self, progress_id: str, old: Record | None, new: Record | None) -> None:
        for key in rules.index_keys(old) if old else ():
            index = self.indexes[key]
            del index[bisect_left(index, Entry(rules.start_time(old or {}), progress_id))]
            if not index:
                del self.indexes[key]
        for key in rules.index_keys(new) if new else ():
            insort(self.indexes.setdefault(key, []), Entry(rules.start_time(new or {}), progress_id))


class Memory(process.Participant):
    """What the regions of the type ``memory`` of one runtime hold."""

    def __init__(self) -> None:
        self.namespaces: dict[str, _Namespace] = {}
        #: Held during every change.
        self.lock = Lock()
        self._is_held = False
        process.register(self)

    def before_fork(self) -> None:
        # A child must not inherit half a change.
        self._is_held = self.lock.acquire(timeout=_FORK_TIMEOUT)

    def after_fork_in_parent(self) -> None:
        if self._is_held:
            self._is_held = False
            self.lock.release()

    def after_fork_in_child(self) -> None:
        self._is_held = False
        self.lock = Lock()


class MemoryStorage(PartStorage):
    """A region of the type ``memory``.

    :param region: the region's options; ``memory`` is the :class:`Memory` to use, by default a new one
    :param namespace: separates our tasks from others in the same memory
    :param timeout: seconds to wait for a thread that is making a change
    """

    def __init__(self, region: Mapping[str, Any], namespace: str, timeout: float) -> None:
        self._memory: Memory = region.get('memory') or Memory()
        self._space = self._memory.namespaces.setdefault(namespace, _Namespace())
        self._timeout = timeout
        self._next_sweep = _MIN_SWEEP

    def start(self, progress_id: str, record: Record, expire: float, mode: Start = Start.ANY) -> bool:
        def rule(old: Record | None) -> Record | None:
            return dict(record) if rules.may_start(old, record, mode, time.time()) else None

        return self._change(progress_id, rule, expire, keeps_parts=False)

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._change(progress_id, lambda old: rules.updated(old, changes), expire)

    def update_active(
        self, changes: Mapping[str, Record], expire: float, runs: Mapping[str, str] | None = None
    ) -> dict[str, Activity]:
        activities = {}
        for progress_id, change in changes.items():
            run = runs.get(progress_id) if runs else None
            if change:
                self._change(progress_id, partial(rules.updated_active, changes=change, run=run), expire)
            activity = rules.activity(self._record(progress_id), run)
            if activity is not None:
                activities[progress_id] = activity
        return activities

    def get_many(self, progress_ids: Sequence[str]) -> dict[str, Record]:
        return {progress_id: dict(record) for progress_id in progress_ids if (record := self._record(progress_id))}

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        return {
            progress_id: rules.dump(record) for progress_id in progress_ids if (record := self._record(progress_id))
        }

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        if linger:
            return self._change(progress_id, rules.acknowledged, linger)
        with self._locked():
            task = self._task(progress_id)
            if task is None or rules.acknowledged(task.record) is None:
                return False
            self._space.put(progress_id, None)
            return True

    def delete(self, progress_id: str, run: str | None = None) -> bool:
        with self._locked():
            task = self._task(progress_id)
            if task is None or not rules.is_of_run(task.record, run):
                return False
            self._space.put(progress_id, None)
            return True

    def list_entries(self, keys: Sequence[str], limit: int, before: Entry | None = None) -> list[Entry]:
        with self._locked():
            return self._space.newest(keys, limit, before)

    def running_ids(self) -> set[str]:
        now = time.monotonic()
        return {
            progress_id
            for progress_id, task in self._space.tasks.copy().items()
            if now < task.expires and rules.is_listed(task.record)
        }

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        """Do nothing: the tasks may be used by another storage of the same runtime."""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self._memory.lock
        if not lock.acquire(True, self._timeout):
            raise StorageError(f'another thread held the lock for {self._timeout:g} s')
        try:
            yield
        finally:
            lock.release()

    def _task(self, progress_id: str) -> _Task | None:
        task = self._space.tasks.get(progress_id)
        return task if task and time.monotonic() < task.expires else None

    def _record(self, progress_id: str) -> Record | None:
        task = self._task(progress_id)
        return task.record if task else None

    def _change(
        self,
        progress_id: str,
        rule: Callable[[Record | None], Record | None],
        expire: float,
        *,
        keeps_parts: bool = True,
    ) -> bool:
        """Store the record that a rule returns; return False if that is None."""
        # Not _locked(): a generator's context manager would take as long as the rest.
        lock = self._memory.lock
        if not lock.acquire(True, self._timeout):
            raise StorageError(f'another thread held the lock for {self._timeout:g} s')
        try:
            now = time.monotonic()
            tasks = self._space.tasks
            task = tasks.get(progress_id)
            if task and now >= task.expires:
                task = None
            old = task.record if task else None
            record = rule(old)
            if record is None:
                return False
            if task is None:
                self._sweep_if_due()
            new = _task((record, now + expire, task.parts if task and keeps_parts else {}))
            if rules.is_moved(old, record):
                self._space.put(progress_id, new)
            else:
                tasks[progress_id] = new
            return True
        finally:
            lock.release()

    def _change_part(self, progress_id: str, number: int, rule: PartRule, expire: float) -> Activity | None:
        with self._locked():
            task = self._task(progress_id)
            change = rule(task.record if task else None, task.parts.get(number) if task else None)
            if task and change.task is not None and change.part is not None:
                # The dict of parts is modified: no reader uses it.
                task.parts[number] = change.part
                self._space.put(progress_id, _Task(change.task, time.monotonic() + expire, task.parts))
            return change.activity

    def _sweep_if_due(self) -> None:
        """Remove expired tasks; the next sweep is due at twice the number of tasks that are left."""
        tasks = self._space.tasks
        if len(tasks) < self._next_sweep:
            return
        now = time.monotonic()
        for expired in [progress_id for progress_id, task in tasks.items() if task.expires <= now]:
            self._space.put(expired, None)
        self._next_sweep = max(_MIN_SWEEP, 2 * len(tasks))
