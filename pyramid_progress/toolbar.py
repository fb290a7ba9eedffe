"""A panel for the debug toolbar: the tasks, and where they are kept.

::

    debugtoolbar.includes = pyramid_progress.toolbar
"""

from typing import Any

from beaker.cache import cache_regions
from pyramid_debugtoolbar.panels import DebugPanel

from .regions import store
from .storage import StorageError
from .storage.record import is_listed, public

#: How many tasks the panel shows.
MOST_TASKS = 100


class ProgressPanel(DebugPanel):  # type: ignore[misc]  # the toolbar has no types
    """The tasks on the list, newest first, whoever they belong to; the regions, and their driver. It only looks."""

    name = 'progress'
    title = nav_title = 'Progress'
    template = 'pyramid_progress:templates/toolbar.dbtmako'
    has_content = True

    def render_vars(self, request: Any) -> dict[str, Any]:
        """Return what the template shows, as it is when the panel is opened."""
        storage, expire, settings = store()
        tasks: list[tuple[str, dict[str, Any]]] = []
        trouble = None
        try:
            records = storage.read(list(storage.tasks()))
            tasks = [
                (progress_id, public(record, storage.now))
                for progress_id, record in records.items()
                if is_listed(record)
            ]
        except StorageError as error:
            trouble = str(error)
        tasks.sort(key=lambda task: str(task[1]['started']), reverse=True)
        return {
            'driver': type(storage).__name__,
            'expire': expire,
            'more': max(len(tasks) - MOST_TASKS, 0),
            # Not the rest of a region's options: a URL may hold a password.
            'regions': [
                (region, cache_regions[region]['type'], purpose)
                for region, purpose in (
                    (settings.status_region, 'the status of each task'),
                    (settings.tasks_region, 'the list of tasks'),
                )
            ],
            'tasks': tasks[:MOST_TASKS],
            'trouble': trouble,
        }


def includeme(config: Any) -> None:
    """Add the panel, in the toolbar's own configuration."""
    config.add_debugtoolbar_panel(ProgressPanel, is_global=True)
