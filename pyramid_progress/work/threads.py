"""The worker threads of an application, which run submitted work."""

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import ref

from pyramid.threadlocal import manager

from ..system import process
from .errors import is_cancel
from .run import result_of
from .task import Task

log = logging.getLogger(__name__)

#: ``func(task, *args)``.
Work = Callable[..., object]

#: Seconds after which a thread without work ends.
IDLE_TIMEOUT = 5.0

#: The number of waiting tasks per thread at which a growing queue is logged; then at each doubling.
LONG_QUEUE = 10


class _Job(NamedTuple):
    task: Task
    func: Work
    args: tuple[Any, ...]
    # Held while the job waits and runs, so that the registry outlives its work.
    registry: Any

    def run(self) -> None:
        """Run the function in the block of its task, unless the task was cancelled while it waited."""
        if not self.task.run.begin():
            return
        # Not the request, which belongs to another thread or has ended.
        manager.push({'registry': self.registry, 'request': None})
        try:
            with self.task:
                self.task.finish(result=result_of(self.func(self.task, *self.args)))
        finally:
            manager.pop()


class WorkerThreads(process.Participant):
    """A pool of daemon threads, which, unlike those of ``concurrent.futures``, do not keep the process alive.

    :param size: the maximum number of threads; they start as they are needed. With 0, the caller of :meth:`submit` does
        the work
    :param registry: the application's registry, which :func:`pyramid.threadlocal.get_current_registry` returns in them
    :param drain: seconds that tasks get to finish when the process ends
    """

    def __init__(self, size: int, registry: Any, drain: float = 0.0) -> None:
        self.size = size
        self._registry = ref(registry)
        self._drain = drain
        self._reset()
        process.register(self)

    def _reset(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._condition = threading.Condition()
        self._threads = 0
        self._unfinished = 0
        self._next_warning = LONG_QUEUE * self.size

    def after_fork_in_child(self) -> None:
        # The parent's threads do not exist here, and the parent does its jobs.
        self._reset()

    def drain(self) -> None:
        # Once: an application may handle SIGTERM itself, and exit later.
        seconds, self._drain = self._drain, 0.0
        with self._condition:
            self._condition.wait_for(lambda: not self._unfinished, seconds)

    def submit(self, task: Task, func: Work, *args: Any) -> None:
        """Run ``func(task, *args)`` as soon as a thread is free. Until then the task is pending.

        Without threads it has ended when this returns, and any exception but :class:`.TaskCancelled` propagates.
        """
        job = _Job(task, func, args, self._registry())
        if not self.size:
            try:
                job.run()
            except Exception as error:
                if not is_cancel(error):
                    raise
            return
        with self._condition:
            if self._threads < self.size:
                thread = threading.Thread(target=self._work, name=f'progress-{self._threads + 1}', daemon=True)
                try:
                    thread.start()
                    self._threads += 1
                except RuntimeError:  # the system has too many threads
                    if not self._threads:
                        raise
            self._unfinished += 1
            self._jobs.put(job)
            waiting = self._unfinished - self.size
            must_warn = waiting >= self._next_warning
            if must_warn:
                self._next_warning = 2 * waiting
        if must_warn:  # without the lock, which a log handler might need
            log.warning('%d submitted tasks wait for one of %d threads (progress.threads)', waiting, self.size)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_TIMEOUT)
            except queue.Empty:
                with self._condition:
                    if not self._jobs.empty():
                        continue
                    self._threads -= 1
                    return
            # The task's block reports an exception; the thread goes on with the next job.
            with suppress(BaseException):
                job.run()
            del job  # so that the waiting thread references neither the task nor the registry
            with self._condition:
                self._unfinished -= 1
                if not self._unfinished:
                    self._next_warning = LONG_QUEUE * self.size
                    self._condition.notify_all()
