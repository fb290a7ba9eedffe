"""The thread that tells the store how tasks get on."""

import atexit
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple, Protocol

from .regions import store
from .storage import Storage, StorageError
from .storage.record import CANCEL, Record, has_ended

log = logging.getLogger(__name__)

#: Seconds between two rounds.
INTERVAL = 0.2

#: Seconds for which the end of a task is tried again where the store does not take it.
_PATIENCE = 60.0

#: Seconds that ends may take when the process ends.
_FAREWELL = 1.5


class Published(Protocol):
    """What the publisher asks of a task. None of this may block for long."""

    id: str

    def changes(self, now: float) -> Record:
        """Return what the store does not know yet, with a heartbeat where one is due."""

    def published(self, changes: Record) -> None:
        """Take note that the store knows these *changes* now."""

    def record(self) -> Record:
        """Return all that the store should know."""

    def cancel(self) -> None:
        """Make the work stop at its next step."""

    def interrupt(self) -> None:
        """End the task, because its process ends."""


class _End(NamedTuple):
    progress_id: str
    record: Record
    deadline: float


class Publisher:
    """One a process. Its daemon thread starts with the first task, and rests while there is none.

    A round is one ``amend`` for all tasks: what changed goes, with a heartbeat where one is due, and whether somebody
    asked for a cancel comes back. A record that the store lost is written again. A store that does not answer is
    logged once, and never disturbs the work.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._tasks: set[Published] = set()
        self._ends: deque[_End] = deque()
        self._thread: threading.Thread | None = None
        self._is_down = False
        self._turn = threading.Lock()  # a round's, or that of who must not write in the middle of one
        atexit.register(self.close)

    def watch(self, task: Published) -> None:
        """Publish a task until it ends."""
        with self._condition:
            # An end of an earlier task of that id that the store did not take must not end this one.
            self._ends = deque(end for end in self._ends if end.progress_id != task.id)
            self._tasks.add(task)
            self._wake()

    def end(self, task: Published, *, at_once: bool = True) -> None:
        """Write the end of a task, and write it again where the store does not take it.

        :param task: a task that has ended
        :param at_once: whether the caller may wait for the store; otherwise the thread does it all
        """
        with self._condition:
            self._tasks.discard(task)
        end = _End(task.id, task.record(), time.monotonic() + _PATIENCE)
        if not at_once or self._is_down or not self._try(lambda: self._write(end)):
            with self._condition:
                self._ends.append(end)
                self._wake()

    def hand_over(self, task: Published) -> None:
        """Write a task for the last time, and only once: another process goes on with it."""
        with self._condition:
            self._tasks.discard(task)
        with self._turn:
            self._try(lambda: self._write(_End(task.id, task.record(), time.monotonic())))

    def close(self) -> None:
        """End what still runs as interrupted; give the store a moment to take all that has ended."""
        if self is not current():
            return  # a fork of the process: its parent tells of these tasks
        with self._condition:
            tasks = list(self._tasks)
        for task in tasks:
            task.interrupt()
        with self._condition:
            self._condition.wait_for(lambda: not self._ends, _FAREWELL)
            left = [end.progress_id for end in self._ends]
        # Not while holding what a log handler might wait for.
        if left:
            log.error('The process ends before the store took the end of %s.', left)

    def _wake(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name='pyramid_progress', daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # there are too many; the next task tries again
                log.error('The progress of tasks cannot be published: %s', error)
                return
            self._thread = thread
        self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._tasks or self._ends)
            with self._turn:
                self._try(self._round)
            time.sleep(INTERVAL)

    def _try(self, speak: Callable[[], None]) -> bool:
        """Speak to the store; return whether it answered. Nothing that happens there may stop a work, or the thread."""
        try:
            speak()
        except Exception as error:
            if not self._is_down:
                # A store that does not answer has said all in its message; the rest is a fault of somebody's.
                log.warning(
                    'The store of progress does not answer; the work goes on: %s',
                    error,
                    exc_info=not isinstance(error, StorageError),
                )
            self._is_down = True
            return False
        if self._is_down:
            log.warning('The store of progress answers again.')
        self._is_down = False
        return True

    def _round(self) -> None:
        self._write_ends()
        with self._condition:
            tasks = list(self._tasks)
        storage, expire, _ = store()
        now = storage.now()
        changes = {task.id: task.changes(now) for task in tasks}
        records = storage.amend(changes, expire) if changes else {}
        for task in tasks:
            task.published(changes[task.id])
            record = records.get(task.id)
            if record is None:
                self._restore(storage, task, expire)
            elif has_ended(record):
                self._forget(task)
            elif CANCEL in record:
                task.cancel()

    def _restore(self, storage: Storage, task: Published, expire: float) -> None:
        """Write a task that the store lost, or never took."""
        with self._condition:
            if task not in self._tasks:
                return  # it has ended in the meantime
        if not storage.start(task.id, task.record(), expire):
            log.warning('The id of task %s belongs to another owner now: it is published no more.', task.id)
            self._forget(task)

    def _forget(self, task: Published) -> None:
        with self._condition:
            self._tasks.discard(task)

    def _write_ends(self) -> None:
        while self._ends:
            end = self._ends[0]
            if time.monotonic() > end.deadline:
                log.error('The store did not take the end of task %s: %s', end.progress_id, end.record)
            else:
                self._write(end)
            with self._condition:
                if end in self._ends:
                    self._ends.remove(end)
                self._condition.notify_all()

    def _write(self, end: _End) -> None:
        storage, expire, _ = store()
        if end.progress_id not in storage.amend({end.progress_id: end.record}, expire):
            storage.start(end.progress_id, end.record, expire)


_current = Publisher()


def current() -> Publisher:
    """Return the publisher of this process."""
    return _current


def _after_fork() -> None:
    # The parent's thread is not here, and its tasks are not ours: start afresh.
    global _current
    _current = Publisher()


os.register_at_fork(after_in_child=_after_fork)


def end_at_sigterm() -> None:
    """See to it that SIGTERM, which runs no exit handler, ends what still runs as interrupted, and then does its work.

    An application server that handles the signal itself, and a thread that may not set handlers, are left alone.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    try:
        current().close()
    finally:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    raise SystemExit(128 + number)  # the first process of a container is spared the signal
