"""A panel for the debug toolbar: the tasks, and where they are kept.

::

    debugtoolbar.includes = pyramid_progress.toolbar
"""

from typing import Any

from pyramid_debugtoolbar.panels import DebugPanel

from .model.status import Status
from .queries import find_tasks
from .runtime import get_runtime
from .storage import StorageError
from .web.rendering import PACKAGE

#: How many tasks the panel shows.
MAX_TASKS = 100


class ProgressPanel(DebugPanel):  # type: ignore[misc]  # the toolbar has no types
    """The newest tasks of all owners, running and ended; the regions, and their driver."""

    name = 'progress'
    title = nav_title = 'Progress'
    template = f'{PACKAGE}:web/templates/toolbar.dbtmako'
    has_content = True

    def render_vars(self, request: Any) -> dict[str, Any]:
        """Return what the template shows, as it is when the panel is opened."""
        runtime = get_runtime(getattr(request.registry, 'parent_registry', None))
        storage, expire, linger = runtime.store()
        settings = runtime.settings
        tasks: list[tuple[str, Status]] = []
        has_more, trouble = False, None
        try:
            page = find_tasks(storage, limit=MAX_TASKS)
            tasks = [(found.progress_id, found.status) for found in page.tasks]
            has_more = page.next is not None
        except StorageError as error:
            trouble = str(error)
        types = runtime.region_types()
        return {
            'driver': type(storage).__name__,
            'expire': expire,
            'linger': linger,
            'has_more': has_more,
            # Not the other options of a region: a URL may contain a password.
            'regions': [
                (settings.status_region, types[settings.status_region], 'the status of each task'),
                (settings.tasks_region, types[settings.tasks_region], 'the running list'),
            ],
            'tasks': tasks,
            'trouble': trouble,
        }


def includeme(config: Any) -> None:
    """Add the panel, in the toolbar's own configuration."""
    config.add_debugtoolbar_panel(ProgressPanel, is_global=True)
