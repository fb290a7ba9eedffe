"""Threads of the application that run slow work."""

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakSet

from pyramid.threadlocal import manager

from .task import Task

#: ``func(task, *args)``.
Work = Callable[..., object]


class _Job(NamedTuple):
    task: Task
    func: Work
    args: tuple[Any, ...]


class Workers:
    """A pool of daemon threads: unlike that of ``concurrent.futures``, it does not keep the process alive.

    :param size: how many threads there are, at most; they start as they are needed
    :param registry: the application's registry, which :func:`pyramid.threadlocal.get_current_registry` returns in them
    """

    def __init__(self, size: int, registry: Any) -> None:
        self._size = size
        self._registry = registry
        self.renew()
        _every.add(self)

    def renew(self) -> None:
        """Begin without threads and jobs: a forked child does not have its parent's threads, nor do its jobs."""
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0

    def submit(self, task: Task, func: Work, *args: Any) -> None:
        """Run ``func(task, *args)`` as soon as a thread is free. Until then the task is pending."""
        self._jobs.put(_Job(task, func, args))
        with self._lock:
            if self._threads < self._size:
                threading.Thread(target=self._work, name=f'progress-{self._threads + 1}', daemon=True).start()
                self._threads += 1

    def _work(self) -> None:
        # Never the request: it belongs to another thread, and is over.
        manager.push({'registry': self._registry, 'request': None})
        while True:
            job = self._jobs.get()
            self._run(job)
            del job  # while the thread waits for the next, nothing holds this task

    @staticmethod
    def _run(job: _Job) -> None:
        if not job.task.begin():
            return  # it was cancelled while it waited
        # The task's block has told what there is to tell of an exception; the thread goes on to the next job.
        with suppress(BaseException), job.task:
            job.func(job.task, *job.args)


_every: WeakSet[Workers] = WeakSet()


def _after_fork() -> None:
    for workers in _every:
        workers.renew()


os.register_at_fork(after_in_child=_after_fork)
