"""What ``config.include('pyramid_progress')`` sets up."""

import builtins
from pathlib import Path
from typing import Any

from pyramid.renderers import JSON
from pyramid.security import NO_PERMISSION_REQUIRED

from .runtime import Runtime, set_runtime
from .system import process
from .version import __version__
from .web import views
from .web.answers import answers, not_allowed
from .web.rendering import PACKAGE
from .web.request import THREADS_KEY, Progress
from .web.streams.places import Places
from .web.streams.wsgi import PLACES_KEY, progress_events
from .work.errors import TaskCancelled
from .work.threads import WorkerThreads

#: The renderer of the add-on's JSON views: an application may replace the renderer ``json``.
_RENDERER = 'pyramid_progress_json'


def includeme(config: Any) -> None:
    """Set up the add-on: ``config.include('pyramid_progress')``.

    Sets up the two regions; adds the routes ``progress_status``, ``progress_events``, ``progress_cancel``,
    ``progress_remove`` and ``progress_tasks``, the static files under a path that contains the version, so that no page
    mixes the modules of two versions, ``request.progress`` with its worker threads, pyramid_chameleon, and a page for
    :class:`.TaskCancelled`, alone or in a group. A handler for SIGTERM marks unfinished tasks as interrupted before the
    process ends (setting ``progress.sigterm``).

    :param config: the application's :class:`pyramid.config.Configurator`
    :raises pyramid.exceptions.ConfigurationError: for an invalid setting, naming it and its value
    """
    runtime = Runtime.from_settings(config.registry.settings)
    settings = runtime.settings
    _register(config, runtime)
    config.include('pyramid_chameleon')
    config.add_translation_dirs(f'{PACKAGE}:locale')
    config.add_renderer(_RENDERER, JSON())
    options = {
        # answers() checks the setting progress.permission itself, so that a JSON client gets the error as JSON.
        'permission': NO_PERMISSION_REQUIRED,
        'decorator': answers(settings.permission),
        'require_csrf': False,  # pyramid_progress.web.csrf checks what needs it
    }
    for name, view, method in (
        ('progress_status', views.get_progress_status_view, 'GET'),
        ('progress_cancel', views.cancel, 'POST'),
        ('progress_remove', views.remove, 'POST'),
        ('progress_tasks', views.tasks, 'GET'),
        ('progress_events', progress_events, 'GET'),
    ):
        config.add_route(name, name)
        config.add_view(view, route_name=name, request_method=method, renderer=_RENDERER, **options)
        allowed = 'GET, HEAD' if method == 'GET' else method
        config.add_view(not_allowed(allowed), route_name=name, **options)
    config.add_view(
        views.tasks_page,
        route_name='progress_tasks',
        request_method='GET',
        renderer=f'{PACKAGE}:web/templates/tasks_page.pt',
        accept='text/html',
        **options,
    )
    config.add_exception_view(views.cancelled, context=TaskCancelled)
    if hasattr(builtins, 'ExceptionGroup'):  # from Python 3.11 on
        config.add_exception_view(views.cancelled, context=builtins.ExceptionGroup)
    _find_static_files(config)
    config.add_static_view(f'pyramid_progress/{__version__}', f'{PACKAGE}:static', cache_max_age=86400)
    config.add_request_method(Progress, 'progress', reify=True)
    process.handle_sigterm(settings.sigterm)
    if settings.streams:
        process.end_responses_at_interrupt()


def _find_static_files(config: Any) -> None:
    """Make ``static/`` a directory of the package in a checkout without symbolic links as well.

    An installation has it in the package. A checkout has it beside the package, with a symbolic link in the package, of
    which git makes a text file on platforms without symbolic links.
    """
    package = Path(__file__).parent
    if not (package / 'static').is_dir():
        config.override_asset(f'{PACKAGE}:static/', str(package.parent / 'static'))


def _register(config: Any, runtime: Runtime) -> None:
    """Put the runtime and the worker threads into the application's registry, as one action of its configuration."""
    registry = config.registry

    def register() -> None:
        set_runtime(registry, runtime)
        registry[PLACES_KEY] = Places(runtime, runtime.settings.streams)
        registry[THREADS_KEY] = WorkerThreads(runtime.settings.threads, registry, runtime.settings.drain)

    introspectable = config.introspectable(
        'pyramid_progress', 'runtime', 'the storage of progress', 'pyramid_progress runtime'
    )
    introspectable.update({'settings': runtime.settings, 'regions': runtime.region_types()})
    config.action('pyramid_progress', register, introspectables=(introspectable,))
