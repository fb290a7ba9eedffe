"""The functions of ``pyramid_progress``, and its JSON view."""

from .queries import ANY, list_tasks
from .statuses import (
    cancel_task,
    forget_task,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
)
from .web.views import get_progress_status_view

__all__ = [
    'ANY',
    'cancel_task',
    'forget_task',
    'get_progress_status',
    'get_progress_status_view',
    'get_running_tasks',
    'init_progress_status',
    'list_tasks',
    'set_progress_status',
]
