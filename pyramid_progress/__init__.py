"""Progress bars for the long-running tasks of Pyramid applications."""

from importlib.metadata import version
from typing import Any

from pyramid.security import NO_PERMISSION_REQUIRED

from .progress import (
    get_progress_status,
    get_progress_status_view,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
)
from .publisher import end_at_sigterm
from .regions import configure
from .storage import StorageError
from .task import ProgressError, Task, TaskCancelled, current_task, new_progress_id, start_task
from .workers import Workers

__all__ = [
    'ProgressError',
    'StorageError',
    'Task',
    'TaskCancelled',
    'configure',
    'current_task',
    'get_progress_status',
    'get_progress_status_view',
    'get_running_tasks',
    'includeme',
    'init_progress_status',
    'new_progress_id',
    'set_progress_status',
    'start_task',
]


def includeme(config: Any) -> None:
    """Set up the add-on: ``config.include('pyramid_progress')``.

    Sets up the two regions; adds the routes ``progress_status``, ``progress_cancel`` and ``progress_tasks``, the static
    files under a path that holds the version, so that no page mixes the modules of two versions, ``request.progress``
    with its worker threads, pyramid_chameleon, and a page for :class:`TaskCancelled`. Where nobody handles SIGTERM, a
    handler ends what still runs as interrupted before the process goes.

    :param config: the application's :class:`pyramid.config.Configurator`
    :raises pyramid.exceptions.ConfigurationError: for a setting that will not do, naming it and its value
    """
    settings = configure(config.registry.settings)
    config.registry['pyramid_progress'] = settings
    config.include('pyramid_chameleon')
    config.add_translation_dirs('pyramid_progress:locale')
    config.registry['pyramid_progress.workers'] = Workers(settings.threads, config.registry)
    end_at_sigterm()
    options = {
        'permission': settings.permission or NO_PERMISSION_REQUIRED,
        'decorator': 'pyramid_progress.views.answered',
        'require_csrf': False,  # pyramid_progress.csrf checks what needs it
    }
    config.add_route('progress_status', 'progress_status', request_method='GET')
    config.add_view(get_progress_status_view, route_name='progress_status', renderer='json', **options)
    config.add_route('progress_cancel', 'progress_cancel', request_method='POST')
    config.add_view('pyramid_progress.views.cancel', route_name='progress_cancel', renderer='json', **options)
    config.add_route('progress_tasks', 'progress_tasks', request_method='GET')
    config.add_view(
        'pyramid_progress.views.tasks_page',
        route_name='progress_tasks',
        renderer='pyramid_progress:templates/tasks_page.pt',
        accept='text/html',
        **options,
    )
    config.add_view(
        'pyramid_progress.views.tasks',
        route_name='progress_tasks',
        renderer='json',
        **options,
    )
    config.add_exception_view('pyramid_progress.views.cancelled', context=TaskCancelled)
    config.add_static_view(
        f'pyramid_progress/{version("pyramid_progress")}', 'pyramid_progress:static', cache_max_age=86400
    )
    config.add_request_method('pyramid_progress.request.Progress', 'progress', reify=True)
