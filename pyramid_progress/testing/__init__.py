"""Help for the test suites of applications.

Fixtures for pytest, with the application of the whole session, whose settings contain ``progress.threads = 0``::

    from pyramid_progress import testing

    @pytest.fixture(autouse=True)
    def progress(app):
        with testing.isolated(app):
            yield
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any

import pyramid.testing
from pyramid.config import global_registries
from pyramid.registry import Registry, global_registry

from ..model.record import TERMINAL_STATUSES
from ..model.settings import Settings
from ..model.status import UNKNOWN, Status, decode, to_status
from ..runtime import REGISTRY_KEY, Runtime, get_runtime, isolated_runtime, set_runtime
from ..web.request import THREADS_KEY, Progress
from ..work.publisher import publisher
from ..work.threads import WorkerThreads

#: Seconds between two reads of :func:`wait_for`.
_PAUSE = 0.01


@contextmanager
def isolated(app: Any = None) -> Iterator[None]:
    """Run the block as in a process that has just started: no Beaker region is set up, and no task is published.

    After the block, the earlier regions and default runtime are back. Tasks that were started in it have no effect any
    more.

    :param app: an application that was made before the block: a WSGI application of Pyramid, or its configurator. In
        the block, it keeps tasks in the memory of this process, whatever its regions are, and begins with none; the
        functions of :mod:`pyramid_progress` see the same tasks, and :func:`pyramid_progress.new_request` returns
        requests for it
    """
    with isolated_runtime(), _current(app) if app is not None else nullcontext():
        publisher.forget_all()
        try:
            yield
        finally:
            publisher.forget_all()


@contextmanager
def _current(app: Any) -> Iterator[None]:
    """Give an application a store of its own, and make it the application of this process, during the block."""
    registry, last = app.registry, global_registries.last
    is_known = registry in global_registries
    before = registry[REGISTRY_KEY]
    set_runtime(registry, _memory_runtime(before.settings))
    global_registries.add(registry)
    try:
        yield
    finally:
        registry[REGISTRY_KEY] = before
        if not is_known:
            global_registries.remove(registry)
        if last is not None:
            global_registries.add(last)


def wait_for(progress_id: str, status: str = 'finished', timeout: float = 10.0) -> Status:
    """Wait until a task has a status, and return what readers see of it. This does not acknowledge its end.

    The tasks are those of the current application, or else of the default one, as for the other functions. A task whose
    end was acknowledged before is seen as long as it lingers.

    :param progress_id: the task's id
    :param status: the status to wait for: 'pending', 'running', 'finished', 'failed', 'cancelled', any word that the
        application sets, or 'unknown' for a task that is removed
    :param timeout: how long to wait, in seconds
    :return: the status, as :func:`.get_progress_status` returns it
    :raises AssertionError: if the task ends otherwise, or the time is over, with the last status that was seen
    """
    deadline = time.monotonic() + timeout
    while True:
        seen = _look_at(progress_id)
        if seen['status'] == status:
            return seen
        if seen['status'] in TERMINAL_STATUSES:
            raise AssertionError(f'task {progress_id!r} was expected to be {status!r}, and has ended: {seen}')
        if time.monotonic() >= deadline:
            raise AssertionError(f'task {progress_id!r} was not {status!r} within {timeout:g} s: {seen}')
        time.sleep(_PAUSE)


class DummyRequest(pyramid.testing.DummyRequest):  # type: ignore[misc]
    """A :class:`pyramid.testing.DummyRequest` with ``progress``, for tests that call a view as a function.

    If the current registry does not include pyramid_progress, its tasks are kept in memory, and submitted work is
    run by ``submit`` itself. Its bars need the routes that including pyramid_progress adds.
    """

    registry: Any

    @cached_property
    def progress(self) -> Progress:
        """What ``request.progress`` is in the application."""
        if self.registry is global_registry:
            self.registry = Registry('testing')
        if REGISTRY_KEY not in self.registry:
            set_runtime(self.registry, _memory_runtime(Settings(threads=0)))
        if THREADS_KEY not in self.registry:
            self.registry[THREADS_KEY] = WorkerThreads(0, self.registry)
        return Progress(self)


def _memory_runtime(settings: Settings) -> Runtime:
    """Return a runtime with regions of its own, in the memory of this process."""
    return Runtime(settings, {name: {'type': 'memory'} for name in (settings.tasks_region, settings.status_region)})


def _look_at(progress_id: str) -> Status:
    """Return the status of a task, whether its end was acknowledged or not."""
    storage = get_runtime().store().storage
    text = storage.get_many_serialized((progress_id,)).get(progress_id)
    return dict(UNKNOWN) if text is None else to_status(decode(text), storage.now)
