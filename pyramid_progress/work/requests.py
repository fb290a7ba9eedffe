"""Pyramid requests for work that runs outside a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyramid.config import global_registries
from pyramid.interfaces import IRequestFactory
from pyramid.request import Request, apply_request_extensions
from pyramid.threadlocal import RequestContext, get_current_registry

from ..runtime import REGISTRY_KEY
from .origin import Origin
from .task import current_tasks

_NO_APPLICATION = (
    'new_request() needs a Pyramid application that includes pyramid_progress, and this process has made none.'
    " A worker makes one when it starts, and keeps it: app = pyramid.paster.get_app('production.ini')"
)


@contextmanager
def new_request() -> Iterator[Any]:
    """Give submitted work a Pyramid request, which is the current one during the block.

    ::

        def import_rows(task, rows):
            with pyramid_progress.new_request() as request, request.tm:
                for row in task.track(rows):
                    request.dbsession.add(Customer(**row))

    The request is made by the application's request factory and has its registry and request extensions, such as
    ``request.dbsession``. In submitted functions, and in Celery tasks that ``apply_for`` sent, it has the locale, host,
    scheme and script name of the request that submitted the work, so that ``request.route_url`` returns the same URLs.
    Elsewhere the host is ``localhost``. It has no user, its path is ``/``, and no transaction is begun: ``with
    request.tm:`` begins one, and commits it. Its finished callbacks are called at the end of the block.

    The application is that of the current registry, or else the last one that this process has made.

    :return: a context manager, whose value is the request
    :raises RuntimeError: if this process has made no application that includes pyramid_progress
    """
    registry = _application()
    origin = _current_origin()
    factory = registry.queryUtility(IRequestFactory, default=Request)
    request = factory.blank('/', environ=origin.environ if origin else None)
    request.registry = registry
    if origin:
        request.locale_name = origin.locale_name
    with RequestContext(request):
        apply_request_extensions(request)
        try:
            yield request
        finally:
            while request.finished_callbacks:
                request.finished_callbacks.popleft()(request)


def _application() -> Any:
    """Return the registry of the application."""
    for registry in (get_current_registry(), global_registries.last):
        if registry is not None and REGISTRY_KEY in registry:
            return registry
    raise RuntimeError(_NO_APPLICATION)


def _current_origin() -> Origin | None:
    """Return the origin of the innermost task that has one."""
    origins = (task.run.origin for task in reversed(current_tasks.get()))
    return next((origin for origin in origins if origin), None)
