"""The thread that publishes the progress of tasks to their stores."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol
from weakref import WeakSet

from ..model.record import Activity, Record
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

#: Seconds that ends may take when the process ends.
STOP_TIMEOUT = 1.5


class Published(Protocol):
    """What the publisher needs of a task. Only :meth:`interrupt` may be called while the process ends."""

    id: str
    runtime: Runtime

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


class _End(NamedTuple):
    progress_id: str
    runtime: Runtime
    record: Record
    deadline: float


class Publisher(process.Participant):
    """Publishes the tasks of this process. Its daemon thread runs while there are any.

    A round is one ``update_active`` for all tasks of a runtime: it sends what changed, with a heartbeat if one is due,
    and returns whether a task was asked to stop. A record that the store lost is written again. A store that does not
    answer is logged once, and never disturbs the work. A task or an end that the store refuses does not hold back the
    others.
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
        self._thread: threading.Thread | None = None
        self._down: WeakSet[Runtime] = WeakSet()
        self._round_lock = threading.Lock()  # held during a round, and by what must not write in the middle of one

    def after_fork_in_child(self) -> None:
        self._reset()

    def publish(self, task: Published) -> None:
        """Publish a task until it ends."""
        with self._condition:
            # An end of an earlier task of this id that the store has not taken must not end this one.
            self._ends = deque(end for end in self._ends if not self._is_end_of(end, task))
            self._tasks.add(task)
            self._wake()

    def end(self, task: Published, *, at_once: bool = True) -> None:
        """Write the end of a task; if the store does not take it, write it again during :data:`END_TIMEOUT` seconds.

        :param task: a task that has ended
        :param at_once: whether to write it in the calling thread; otherwise the publisher's thread does
        """
        with self._condition:
            self._tasks.discard(task)
        end = _End(task.id, task.runtime, task.record(), time.monotonic() + END_TIMEOUT)
        if not at_once or task.runtime in self._down or not self._attempt(task.runtime, partial(self._write, end)):
            with self._condition:
                self._ends.append(end)
                self._wake()

    def release(self, task: Published) -> None:
        """Write a task for the last time, and only once: another process goes on with it."""
        with self._condition:
            self._tasks.discard(task)
        end = _End(task.id, task.runtime, task.record(), time.monotonic())
        with self._round_lock:
            self._attempt(task.runtime, partial(self._write, end))

    def stop(self) -> None:
        """End what still runs as interrupted, and wait up to :data:`STOP_TIMEOUT` seconds for the stores to take it."""
        with self._condition:
            tasks = list(self._tasks)
        for task in tasks:
            task.interrupt()
        with self._condition:
            self._condition.wait_for(lambda: not self._ends or self._thread is None, STOP_TIMEOUT)
        if self._thread is None:  # and a process that ends can start no other
            self._write_ends()
        # Without the lock, which a log handler might need.
        left = [end.progress_id for end in self._ends]
        if left:
            log.error('The process ends before the store has taken the end of these tasks: %s', ', '.join(left))

    def forget_all(self) -> None:
        """Publish none of the tasks and ends known so far. What their users do with them has no effect from now on."""
        with self._round_lock, self._condition:
            self.epoch = object()
            self._tasks.clear()
            self._ends.clear()
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
                if not self._condition.wait_for(lambda: self._tasks or self._ends, IDLE_TIMEOUT):
                    self._thread = None
                    return
            with self._round_lock:
                self._write_ends()
                self._round()
            time.sleep(INTERVAL)

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
            group = [task for task in tasks if task.runtime is runtime]
            self._attempt(runtime, partial(self._publish_all, runtime, group))

    def _publish_all(self, runtime: Runtime, tasks: list[Published]) -> None:
        """Publish tasks in one call; if the store refuses that, each in a call of its own."""
        try:
            self._publish(runtime, tasks)
            return
        except StorageError as error:
            failure = error
        deadline = time.monotonic() + runtime.settings.timeout
        for task in tasks if len(tasks) > 1 else ():
            try:
                self._publish(runtime, [task])
            except StorageError as error:
                failure = error
                if time.monotonic() >= deadline:  # it was no refusal: the store does not answer
                    break
        raise failure

    def _publish(self, runtime: Runtime, tasks: list[Published]) -> None:
        storage, expire, _ = runtime.store()
        now = storage.now()
        changes = {task.id: task.changes(now) for task in tasks}
        activities = storage.update_active(changes, expire)
        for task in tasks:
            task.published(changes[task.id])
            activity = activities.get(task.id)
            if activity is None:
                self._restore(task)
            elif activity is Activity.ENDED:
                self._forget(task)
            elif activity is Activity.CANCELLING:
                task.cancel()

    def _restore(self, task: Published) -> None:
        """Write a task that the store lost, or never took."""
        with self._condition:
            if task not in self._tasks:
                return  # it has ended in the meantime
        storage, expire, _ = task.runtime.store()
        if not storage.start(task.id, task.record(), expire):
            log.warning('The id of task %s belongs to another owner now: it is no longer published.', task.id)
            self._forget(task)

    def _forget(self, task: Published) -> None:
        with self._condition:
            self._tasks.discard(task)

    def _write_ends(self) -> None:
        """Write each end once; those that their stores do not take stay for the next round."""
        unreachable: set[Runtime] = set()
        for end in list(self._ends):
            if time.monotonic() > end.deadline:
                log.error('The store did not take the end of task %s: %s', end.progress_id, end.record)
            elif end.runtime in unreachable:
                continue
            else:
                began = time.monotonic()
                if not self._attempt(end.runtime, partial(self._write, end)):
                    if time.monotonic() - began >= end.runtime.settings.timeout / 2:
                        unreachable.add(end.runtime)
                    continue
            with self._condition:
                if end in self._ends:
                    self._ends.remove(end)
                self._condition.notify_all()

    @staticmethod
    def _write(end: _End) -> None:
        storage, expire, _ = end.runtime.store()
        if end.progress_id not in storage.update_active({end.progress_id: end.record}, expire):
            storage.start(end.progress_id, end.record, expire)

    @staticmethod
    def _is_end_of(end: _End, task: Published) -> bool:
        return end.progress_id == task.id and end.runtime is task.runtime


#: The publisher of this process.
publisher = Publisher()
