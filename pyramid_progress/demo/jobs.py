"""The slow work, and the one place that decides where it is done: on the application's threads, or on Celery."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyramid.request import Request

from pyramid_progress import Task

from .census import offered_packages, take_census
from .csv_import import import_csv
from .store import Store


def import_file(task: Task, data_dir: str, pages: str, path: str) -> None:
    """Import a CSV file, and remove it.

    ``pages`` and the task's id are the URL of the task's page. All arguments but the task are text, for a queue.
    """
    store = Store(data_dir)
    try:
        result = import_csv(task, Path(path), store.rows_path(task.id))
    finally:
        Path(path).unlink()
    store.keep(task.id, result)  # before the end: whoever hears of that comes for it at once
    task.finish(f'Rows: {result["rows"]:,}', {'url': pages + task.id, 'text': 'Look at the rows'})


def count_code(task: Task, data_dir: str, pages: str, package: str) -> None:
    """Count what one of the :func:`offered_packages` is made of."""
    result = take_census(task, offered_packages()[package])
    Store(data_dir).keep(task.id, result)
    task.finish(f'Lines: {result["lines"]:,}', {'url': pages + task.id, 'text': 'Look at all parts'})


def start(request: Request, job: Callable[..., None], arg: str, *, label: str, kind: str) -> str:
    """Start a job for this visitor, and return its progress id. ``kind`` chooses the template of the result."""
    args = (str(request.store.data_dir), request.route_path('task', task_id=''), arg)
    told: dict[str, Any] = {'label': label, 'tags': ['demo', kind]}
    if 'demo.celery_broker' in request.registry.settings:
        from . import worker  # which needs Celery

        task_id: str = getattr(worker, job.__name__).apply_for(request, args, **told).id
    else:
        task_id = request.progress.submit(job, *args, **told)
    request.store.add(task_id, request.authenticated_userid, kind, label)
    return task_id
