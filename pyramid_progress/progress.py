"""The functions of ``pyramid_progress``, and its JSON view."""

from .statuses import get_progress_status, get_running_tasks, init_progress_status, set_progress_status
from .web.views import get_progress_status_view

__all__ = [
    'get_progress_status',
    'get_progress_status_view',
    'get_running_tasks',
    'init_progress_status',
    'set_progress_status',
]
