"""Progress bars for the long-running tasks of Pyramid applications."""

import importlib
import warnings

with warnings.catch_warnings():
    # This module of Pyramid imports pkg_resources, which warns of itself since setuptools 80.9. A command such as
    # `pprogress` would print that at each start, and can filter nothing before Python imports this package.
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
    importlib.import_module('pyramid.path')

from .configuration import includeme
from .progress import (
    ANY,
    cancel_task,
    forget_task,
    get_progress_status,
    get_progress_status_view,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    set_progress_status,
)
from .runtime import configure
from .storage import StorageError
from .version import __version__
from .work.errors import ProgressError, TaskCancelled
from .work.events import TaskEnded
from .work.requests import new_request
from .work.run import new_progress_id
from .work.task import Part, Task, current_task, start_task

__all__ = [
    'ANY',
    'Part',
    'ProgressError',
    'StorageError',
    'Task',
    'TaskCancelled',
    'TaskEnded',
    '__version__',
    'cancel_task',
    'configure',
    'current_task',
    'forget_task',
    'get_progress_status',
    'get_progress_status_view',
    'get_running_tasks',
    'includeme',
    'init_progress_status',
    'list_tasks',
    'new_progress_id',
    'new_request',
    'set_progress_status',
    'start_task',
]
