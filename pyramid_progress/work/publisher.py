"""The thread that publishes the progress of tasks to their stores."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol
from weakref import WeakSet

from ..model.record import Activity, Record, Start, has_ended
from ..runtime import Runtime
from ..storage import StorageError
from ..system import process

log = logging.getLogger(__name__)

#: Seconds between two rounds.
INTERVAL = 0.2

#: Seconds after which the thread ends if there are no tasks; the next task starts it again.
IDLE_TIMEOUT = 5.0

#: Seconds during which the end of a task is written again if the store does not take it.
END_TIMEOUT = 60.0

#: Seconds during which an end that the store took may be lost, if the connection to the store breaks.
LOSS_WINDOW = 10.0

#: Seconds between two checks whether it broke, while there is nothing else to do.
_CHECK_INTERVAL = 1.0

#: Seconds that ends may take when the process ends.
STOP_TIMEOUT = 1.5


class Published(Protocol):
    """What the publisher needs of the run of a task."""

    id: str
    #: the number of the run (:func:`.record.new_run`)
    number: str
    runtime: Runtime
    #: whether a newer run of the id exists; set by the publisher
    is_superseded: bool

    def changes(self, now: float) -> Record:
        """Return the members that the store does not have yet, with a heartbeat if one is due."""

    def published(self, changes: Record) -> None:
        """Note that the store has these *changes* now."""

    def record(self) -> Record:
        """Return the whole record."""

    def cancel(self) -> None:
        """Make the work stop at its next step."""

    def interrupt(self) -> None:
        """End the task, because its process ends."""

    def announce_end(self) -> None:
        """Log the end, and notify its subscribers."""


class _Ended:
    """What is needed to write the end of a run again, without the task and what its user refers to."""

    def __init__(self, task: Published) -> None:
        self.id = task.id
        self.number = task.number
        self.runtime = task.runtime
        self.is_superseded = task.is_superseded
        self._record = task.record()

    def record(self) -> Record:
        """Return the whole record."""
        return self._record


class _End:
    """The end of a run that the store has not taken yet, or may have lost."""

    def __init__(self, task: Published | _Ended) -> None:
        self.task = task
        self.deadline = time.monotonic() + END_TIMEOUT


class Publisher(process.Participant):
    """Publishes the tasks of this process. Its daemon thread runs while there are any.

    A round is one ``update_active`` for all tasks of a runtime: it sends what changed, with a heartbeat if one is due,
    and returns whether a task was asked to stop. A record that the store lost is written again. A store that does not
    answer is logged once, and never disturbs the work. A task or an end that the store refuses does not hold back the
    others. A run that a newer one of its id superseded is not published any more, but can still be asked to stop.
    """

    def __init__(self) -> None:
        self._reset()
        process.register(self)

    def _reset(self) -> None:
        #: Replaced in a forked child: a task that was started under another epoch is the parent's.
        self.epoch = object()
        self._condition = threading.Condition()
        self._tasks: set[Published] = set()
        self._ends: deque[_End] = deque()
        #: Ends that stores took, which may lose them, and when they were sent, by :func:`time.monotonic`.
        self._taken: deque[tuple[float, _Ended]] = deque()
        #: Ends that the thread announces, once it has written them.
        self._unannounced: deque[Published] = deque()
        self._thread: threading.Thread | None = None
        self._down: WeakSet[Runtime] = WeakSet()
        self._faulty: WeakSet[Published] = WeakSet()
        self._round_lock = threading.Lock()  # held during a round, and by what must not write in the middle of one

    def after_fork_in_child(self) -> None:
        self._reset()

    def publish(self, task: Published) -> None:
        """Publish a task until it ends."""
        with self._condition:
            self._tasks.add(task)
            self._wake()

    def end(self, task: Published, *, at_once: bool = True) -> None:
        """Write the end of a task, then announce it.

        If the store does not take it, it is written again during :data:`END_TIMEOUT` seconds.

        :param task: a task that has ended
        :param at_once: whether to do this in the calling thread; otherwise the publisher's thread does
        """
        with self._condition:
            self._tasks.discard(task)
        end = _End(task)
        is_written = (
            at_once and task.runtime not in self._down and self._attempt(task.runtime, partial(self._write, end))
        )
        if at_once:
            task.announce_end()
        with self._condition:
            if not is_written:
                self._ends.append(end)
                if not at_once:
                    self._unannounced.append(task)
            if not is_written or self._taken:
                self._wake()

    def release(self, task: Published) -> None:
        """Write a task for the last time, and only once: another process goes on with it."""
        with self._condition:
            self._tasks.discard(task)
        with self._round_lock:
            self._attempt(task.runtime, partial(self._write, _End(task)))

    def remove(self, task: Published) -> None:
        """Remove the record of a task, unless it is that of a newer run."""
        with self._condition:
            self._tasks.discard(task)
        with self._round_lock:
            self._attempt(task.runtime, partial(self._remove, task))

    def stop(self) -> None:
        """End what still runs as interrupted, and wait up to :data:`STOP_TIMEOUT` seconds for the stores to take it."""
        with self._condition:
            tasks = list(self._tasks)
        for task in tasks:
            try:
                task.interrupt()
            except Exception:  # a fault in one task must not keep the others from their ends
                log.exception('Task %s cannot be marked as interrupted', task.id)
        with self._condition:
            self._condition.wait_for(
                lambda: not (self._ends or self._unannounced) or self._thread is None, STOP_TIMEOUT
            )
        if self._thread is None:  # and a process that ends can start no other
            self._write_ends()
            self._announce_ends()
        # Without the lock, which a log handler might need.
        left = [end.task.id for end in self._ends]
        if left:
            log.error('The process ends before the store has taken the end of these tasks: %s', ', '.join(left))

    def forget_all(self) -> None:
        """Publish none of the tasks and ends known so far. What their users do with them has no effect from now on."""
        with self._round_lock, self._condition:
            self.epoch = object()
            self._tasks.clear()
            self._ends.clear()
            self._taken.clear()
            self._unannounced.clear()
            self._down.clear()

    def _wake(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name='pyramid_progress', daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # there are too many threads; the next task tries again
                log.error('The progress of tasks cannot be published: %s', error)
                return
            self._thread = thread
        self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                is_needed = self._condition.wait_for(
                    lambda: self._tasks or self._ends or self._unannounced,
                    _CHECK_INTERVAL if self._taken else IDLE_TIMEOUT,
                )
                if not is_needed and not self._taken:
                    self._thread = None
                    return
            self._recall_ends()
            if not is_needed:
                continue
            with self._round_lock:
                self._write_ends()
                self._round()
            self._announce_ends()
            time.sleep(INTERVAL)

    def _announce_ends(self) -> None:
        """Announce the ends that were written. A subscriber may be slow: no lock is held."""
        while self._unannounced:
            task = self._unannounced[0]
            try:
                task.announce_end()
            except BaseException:  # the thread goes on, whatever a subscriber raises
                log.exception('The end of task %s cannot be announced', task.id)
            with self._condition:
                self._unannounced.popleft()
                self._condition.notify_all()

    def _attempt(self, runtime: Runtime, call: Callable[[], None]) -> bool:
        """Call the store of a runtime; return whether it answered. No exception may stop the work, or the thread."""
        try:
            call()
        except Exception as error:
            if runtime not in self._down:
                # A StorageError says all in its message; anything else is a fault in a program.
                log.warning(
                    'The store of progress does not answer; the work goes on: %s',
                    error,
                    exc_info=not isinstance(error, StorageError),
                )
            self._down.add(runtime)
            return False
        if runtime in self._down:
            log.warning('The store of progress answers again.')
            self._down.discard(runtime)
        return True

    def _round(self) -> None:
        with self._condition:
            tasks = list(self._tasks)
        for runtime in {task.runtime for task in tasks}:
            by_id: dict[str, list[Published]] = {}
            for task in tasks:
                if task.runtime is runtime:
                    by_id.setdefault(task.id, []).append(task)
            self._attempt(runtime, partial(self._publish_all, runtime, list(by_id.values())))

    def _publish_all(self, runtime: Runtime, groups: list[list[Published]]) -> None:
        """Publish tasks, grouped by id, in one call; if the store refuses that, each group in a call of its own."""
        try:
            self._publish(runtime, groups)
            return
        except StorageError as error:
            failure = error
        deadline = time.monotonic() + runtime.settings.timeout
        for group in groups if len(groups) > 1 else ():
            try:
                self._publish(runtime, [group])
            except StorageError as error:
                failure = error
                if time.monotonic() >= deadline:  # it was no refusal: the store does not answer
                    break
        raise failure

    def _publish(self, runtime: Runtime, groups: list[list[Published]]) -> None:
        storage, expire, _ = runtime.store()
        now = storage.now()
        latest = {group[0].id: self._latest(group) for group in groups}
        changes = {progress_id: self._changes(task, now) if task else {} for progress_id, task in latest.items()}
        runs = {progress_id: task.number for progress_id, task in latest.items() if task}
        activities = storage.update_active(changes, expire, runs)
        for group in groups:
            progress_id = group[0].id
            task, activity = latest[progress_id], activities.get(progress_id)
            if activity is not None and not activity & Activity.ENDED:
                self._follow(group, task, changes[progress_id], activity)
            elif activity is None and task is not None:
                task.published(changes[progress_id])
                self._restore(task)
            else:
                self._forget(group)

    def _changes(self, task: Published, now: float) -> Record:
        """Return the changes of a task; none, which is logged once, if a fault in its values prevents that."""
        try:
            return task.changes(now)
        except Exception:
            if task not in self._faulty:
                self._faulty.add(task)
                log.exception('The progress of task %s cannot be published', task.id)
            return {}

    def _latest(self, group: list[Published]) -> Published | None:
        """Return the one task of an id that is published: that of the newest run, unless it is superseded, too."""
        latest = max(group, key=lambda task: task.number)
        for task in group:
            if task is not latest:
                self._supersede(task)
        return None if latest.is_superseded else latest

    def _follow(self, group: list[Published], task: Published | None, changes: Record, activity: Activity) -> None:
        if task and activity & Activity.SUPERSEDED:
            self._supersede(task)
        elif task:
            task.published(changes)
        if activity & Activity.CANCELLING:
            for each in group:
                each.cancel()

    @staticmethod
    def _supersede(task: Published | _Ended) -> None:
        if not task.is_superseded:
            task.is_superseded = True
            log.info('Task %s was started anew: its earlier run is no longer published.', task.id)

    def _restore(self, task: Published) -> None:
        """Write a task that the store lost, or never took."""
        with self._condition:
            if task not in self._tasks:
                return  # it has ended in the meantime
        storage, expire, _ = task.runtime.store()
        # If it does not start, the next round finds out whether a newer run is there.
        storage.start(task.id, task.record(), expire, Start.RESTORE)

    def _forget(self, tasks: Iterable[Published]) -> None:
        with self._condition:
            self._tasks.difference_update(tasks)

    def _write_ends(self) -> None:
        """Write each end once; those that their stores do not take stay for the next round."""
        unreachable: set[Runtime] = set()
        for end in list(self._ends):
            runtime = end.task.runtime
            began = time.monotonic()
            if began > end.deadline:
                log.error('The store did not take the end of task %s: %s', end.task.id, end.task.record())
            elif runtime in unreachable:
                continue
            elif not self._attempt(runtime, partial(self._write, end)):
                if time.monotonic() - began >= runtime.settings.timeout / 2:
                    unreachable.add(runtime)
                continue
            with self._condition:
                if end in self._ends:
                    self._ends.remove(end)
                self._condition.notify_all()

    def _recall_ends(self) -> None:
        """Write ends again that a store took shortly before the connection to it broke."""
        now = time.monotonic()
        with self._condition:
            for moment, task in [*self._taken]:
                broke_at = task.runtime.store().storage.broke_at
                is_lost = broke_at is not None and 0 <= broke_at - moment <= LOSS_WINDOW
                if is_lost:
                    self._ends.append(_End(task))
                if is_lost or now - moment > LOSS_WINDOW:
                    self._taken.remove((moment, task))

    def _write(self, end: _End) -> None:
        task = end.task
        if task.is_superseded:
            return
        storage, expire, _ = task.runtime.store()
        record, runs, began = task.record(), {task.id: task.number}, time.monotonic()
        activity = storage.update_active({task.id: record}, expire, runs).get(task.id)
        if activity is None and not storage.start(task.id, record, expire, Start.RESTORE):
            # It was restored in the meantime, or a newer run is there.
            activity = storage.update_active({task.id: record}, expire, runs).get(task.id)
        if activity and activity & Activity.SUPERSEDED:
            self._supersede(task)
        elif storage.broke_at is not None and has_ended(record):  # a released task has not
            self._taken.append((began, task if isinstance(task, _Ended) else _Ended(task)))

    @staticmethod
    def _remove(task: Published) -> None:
        storage, _, _ = task.runtime.store()
        storage.delete(task.id, task.number)


#: The publisher of this process.
publisher = Publisher()
