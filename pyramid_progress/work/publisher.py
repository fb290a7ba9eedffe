"""The thread that publishes the progress of tasks to their stores."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from weakref import WeakSet

from ..model.record import Activity, Record, Start, has_ended
from ..runtime import Runtime
from ..storage import StorageError
from ..system import process
from .published import PartEnd, Published, PublishedPart, TaskMissing

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


class _Ended:
    """What is needed to write the end of a run again, without references to objects of the calling code."""

    def __init__(self, task: Published) -> None:
        self.id = task.id
        self.number = task.number
        self.runtime = task.runtime
        self.is_superseded = task.is_superseded
        self._record = task.record()
        self._changes = task.last_changes()

    def last_changes(self) -> Record:
        """Return what is written at the end."""
        return self._changes

    def record(self) -> Record:
        """Return the whole record."""
        return self._record


def _taken(task: Published | _Ended) -> _Ended:
    return task if isinstance(task, _Ended) else _Ended(task)


class _End:
    """The end of a run that the store has not taken yet, or may have lost."""

    def __init__(self, task: Published | _Ended | PartEnd) -> None:
        self.task = task
        self.deadline = time.monotonic() + END_TIMEOUT


class Publisher(process.Participant):
    """Publishes the tasks of this process. Its daemon thread runs while there are any.

    A round is one ``update_active`` for all tasks of a runtime: it sends what changed, with a heartbeat if one is due,
    and returns whether a task was asked to stop. A record that the store lost is written again. A store that does not
    answer is logged once, and never disturbs the work. A task or an end that the store refuses does not hold back the
    others. A run that a newer one of its id superseded is not published any more, but can still be asked to stop.

    Each part that has changed is written in a call of its own. One call reads the activity of all other parts.
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
        #: Ends that stores accepted but may lose, and when they were sent, by :func:`time.monotonic`.
        self._taken: deque[tuple[float, _Ended | PartEnd]] = deque()
        #: Ends that the thread announces, once it has written them.
        self._unannounced: deque[Published] = deque()
        self._thread: threading.Thread | None = None
        self._down: WeakSet[Runtime] = WeakSet()
        self._faulty: WeakSet[Published] = WeakSet()
        #: The ids of tasks that their store refused while it took others.
        self._refused: set[str] = set()
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
        # The round may be about to write a heartbeat of a task that has not ended, but rests.
        with nullcontext() if 'status' in task.last_changes() else self._round_lock:
            is_written = (
                at_once and task.runtime not in self._down and self._attempt(task.runtime, partial(self._write, end))
            )
        # The end of a part is the end of its task if the store says so.
        is_announced = at_once and (is_written or not isinstance(task, PartEnd))
        if is_announced:
            task.announce_end()
        with self._condition:
            if not is_written:
                self._ends.append(end)
                if not is_announced:
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

    def flush(self, task: Published) -> None:
        """Write what changed of a task now."""
        with self._round_lock:
            self._attempt(task.runtime, partial(self._publish, task.runtime, [[task]]))

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
        try:
            self._run_rounds()
        finally:
            # Also after a fault in this class: then the next task starts another thread.
            with self._condition:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _run_rounds(self) -> None:
        while True:
            with self._condition:
                is_needed = self._condition.wait_for(
                    lambda: self._tasks or self._ends or self._unannounced,
                    _CHECK_INTERVAL if self._taken else IDLE_TIMEOUT,
                )
                if not is_needed and not self._taken:
                    self._thread = None  # in this block, so that no task counts on the thread any more
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
        unwritten: list[object] = [end.task for end in self._ends if isinstance(end.task, PartEnd)]
        for task in list(self._unannounced):
            if task in unwritten:
                continue
            try:
                task.announce_end()
            except BaseException:  # the thread goes on, whatever a subscriber raises
                log.exception('The end of task %s cannot be announced', task.id)
            with self._condition:
                if task in self._unannounced:  # otherwise it was forgotten in the meantime
                    self._unannounced.remove(task)
                self._condition.notify_all()

    def _attempt(self, runtime: Runtime, call: Callable[[], None]) -> bool:
        """Call the store of a runtime; return whether it answered. No exception may stop the work, or the thread."""
        try:
            call()
        except TaskMissing:
            return False
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
            parts: list[PublishedPart] = []
            for task in tasks:
                if task.runtime is not runtime:
                    continue
                if isinstance(task, PublishedPart):
                    parts.append(task)
                else:
                    by_id.setdefault(task.id, []).append(task)
            if by_id:
                self._attempt(runtime, partial(self._publish_all, runtime, list(by_id.values())))
            if parts:
                self._attempt(runtime, partial(self._publish_parts, runtime, parts))

    def _publish_parts(self, runtime: Runtime, parts: list[PublishedPart]) -> None:
        storage, expire, _ = runtime.store()
        now = storage.now()
        failure: StorageError | None = None
        deadline = time.monotonic() + runtime.settings.timeout
        idle = []
        for part in parts:
            changes = {} if part.is_superseded else self._changes(part, now)
            if not changes:
                idle.append(part)
                continue
            try:
                self._follow_part(part, changes, part.write(changes))
            except StorageError as error:  # it does not hold back the others, unless the store does not answer
                failure = error
                if time.monotonic() >= deadline:
                    raise
        if idle:
            activities = storage.update_active({part.id: {} for part in idle}, expire)
            for part in idle:
                self._follow_part(part, {}, activities.get(part.id))
        if failure is not None:
            raise failure

    def _follow_part(self, part: PublishedPart, changes: Record, activity: Activity | None) -> None:
        if activity is None:
            part.note_loss()
            return
        part.follow(activity)
        if activity & Activity.SUPERSEDED:
            self._supersede(part)
        elif activity & Activity.ENDED:
            self._forget([part])
        else:
            part.published(changes)

    def _publish_all(self, runtime: Runtime, groups: list[list[Published]]) -> None:
        """Publish tasks, grouped by id, in one call; if the store refuses that, each group in a call of its own."""
        try:
            self._publish(runtime, groups)
            self._refused.clear()
            return
        except StorageError as error:
            failure = error
        deadline = time.monotonic() + runtime.settings.timeout
        refused = self._refused
        # Those that were refused before come last: each of them may take long.
        for group in sorted(groups, key=lambda group: group[0].id in refused) if len(groups) > 1 else ():
            try:
                self._publish(runtime, [group])
                refused.discard(group[0].id)
            except StorageError as error:
                failure = error
                refused.add(group[0].id)
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
            elif activity is None and task is not None and not task.lose():
                self._restore(task)
                task.published(changes[progress_id])
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
    def _supersede(task: Published | _Ended | PartEnd) -> None:
        if not task.is_superseded:
            task.is_superseded = True
            what = 'A part of task' if isinstance(task, PartEnd) else 'Task'
            log.info('%s %s was started anew: its earlier run is no longer published.', what, task.id)

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
                try:
                    broke_at = task.runtime.store().storage.broke_at
                except Exception:  # such as a region that is not set up any more
                    log.exception('It cannot be checked whether the store has lost the end of task %s', task.id)
                    self._taken.remove((moment, task))
                    continue
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
        record, began = task.record(), time.monotonic()
        activity: Activity | None
        if isinstance(task, PartEnd):
            activity = task.write_end()
        else:
            changes, runs = {task.id: task.last_changes()}, {task.id: task.number}
            activity = storage.update_active(changes, expire, runs).get(task.id)
            if activity is None and not storage.start(task.id, record, expire, Start.RESTORE):
                # It was restored in the meantime, or a newer run is there.
                activity = storage.update_active(changes, expire, runs).get(task.id)
        if activity and activity & Activity.SUPERSEDED:
            self._supersede(task)
        elif storage.broke_at is not None and has_ended(record):  # a released task has not
            self._taken.append((began, task.ended() if isinstance(task, PartEnd) else _taken(task)))

    @staticmethod
    def _remove(task: Published) -> None:
        storage, _, _ = task.runtime.store()
        storage.delete(task.id, task.number)


#: The publisher of this process.
publisher = Publisher()
