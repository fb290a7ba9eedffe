"""The slow work of the demo, and the function that runs it on worker threads of the application."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyramid.request import Request

from pyramid_progress import Task

from .census import offered_packages, take_census
from .csv_import import import_csv
from .store import Store

#: A function that gets the task object, and arguments that are all text, as a message queue needs them.
Job = Callable[..., None]


def import_file(task: Task, data_dir: str, pages_path: str, path: str) -> None:
    """Import a CSV file, and remove it.

    :param task: the task object
    :param data_dir: the directory of the :class:`.Store`
    :param pages_path: the prefix of the paths of task pages; the task's id follows it
    :param path: the path of the CSV file
    """
    store = Store(data_dir)
    try:
        result = import_csv(task, Path(path), store.rows_path(task.id))
    finally:
        Path(path).unlink()
    store.save_result(task.id, result)  # before the end: a page that sees the end fetches the result at once
    task.finish(f'Rows: {result["rows"]:,}', {'url': pages_path + task.id, 'text': 'Look at the rows'})


def count_code(task: Task, data_dir: str, pages_path: str, package: str) -> None:
    """Count files, lines, functions and classes of a package.

    :param task: the task object
    :param data_dir: the directory of the :class:`.Store`
    :param pages_path: as for :func:`import_file`
    :param package: a key of :func:`.offered_packages`
    """
    result = take_census(task, offered_packages()[package])
    Store(data_dir).save_result(task.id, result)
    task.finish(f'Lines: {result["lines"]:,}', {'url': pages_path + task.id, 'text': 'Look at all parts'})


def submit(request: Request, job: Job, *args: str, **options: Any) -> str:
    """Run a job on the worker threads of the application, and return its progress id.

    :func:`.worker.submit` has the same signature and sends it to Celery.

    :param request: the current request
    :param job: a function of this module
    :param args: its arguments without the task object
    :param options: the ``label`` and the ``tags`` of the task
    """
    progress_id: str = request.progress.submit(job, *args, **options)
    return progress_id
