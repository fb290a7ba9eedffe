"""The worker threads of an application, which run submitted work."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import ref

from pyramid.threadlocal import manager

from ..system import process
from .task import Task

#: ``func(task, *args)``.
Work = Callable[..., object]

#: Seconds after which a thread without work ends.
IDLE_TIMEOUT = 5.0


class _Job(NamedTuple):
    task: Task
    func: Work
    args: tuple[Any, ...]
    # Held while the job waits and runs, so that the registry outlives its work.
    registry: Any


class WorkerThreads(process.Participant):
    """A pool of daemon threads, which, unlike those of ``concurrent.futures``, do not keep the process alive.

    :param size: the maximum number of threads; they start as they are needed
    :param registry: the application's registry, which :func:`pyramid.threadlocal.get_current_registry` returns in them
    """

    def __init__(self, size: int, registry: Any) -> None:
        self._size = size
        self._registry = ref(registry)
        self._reset()
        process.register(self)

    def _reset(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0

    def after_fork_in_child(self) -> None:
        # The parent's threads do not exist here, and the parent does its jobs.
        self._reset()

    def submit(self, task: Task, func: Work, *args: Any) -> None:
        """Run ``func(task, *args)`` as soon as a thread is free. Until then the task is pending."""
        with self._lock:
            self._jobs.put(_Job(task, func, args, self._registry()))
            if self._threads < self._size:
                threading.Thread(target=self._work, name=f'progress-{self._threads + 1}', daemon=True).start()
                self._threads += 1

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_TIMEOUT)
            except queue.Empty:
                with self._lock:
                    if not self._jobs.empty():
                        continue
                    self._threads -= 1
                    return
            self._run(job)
            del job  # so that the waiting thread references neither the task nor the registry

    @staticmethod
    def _run(job: _Job) -> None:
        if not job.task.run.begin():
            return  # it was cancelled while it waited
        # Not the request, which belongs to another thread and has ended.
        manager.push({'registry': job.registry, 'request': None})
        try:
            # The task's block reports an exception; the thread goes on with the next job.
            with suppress(BaseException), job.task:
                job.func(job.task, *job.args)
        finally:
            manager.pop()
