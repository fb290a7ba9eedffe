"""The jobs of the demo as Celery tasks: for the workers of ``production.ini``, and for the application that sends them.

The environment variable ``DEMO_INI`` is the path of the ini file.
"""

# Celery and plaster have no types.
# mypy: disable-error-code="import-untyped, untyped-decorator"

import os
from typing import Any

from celery import Celery
from plaster import get_settings
from pyramid.request import Request

import pyramid_progress
from pyramid_progress.celery import ProgressTask

from . import jobs

settings = get_settings(os.environ['DEMO_INI'], 'app:main')
pyramid_progress.configure(settings)

app = Celery('demo', broker=settings['demo.celery_broker'])
app.conf.broker_connection_retry_on_startup = True


@app.task(base=ProgressTask, bind=True)
def import_file(self: ProgressTask, *args: str) -> None:
    """Import a CSV file."""
    jobs.import_file(self.progress, *args)


@app.task(base=ProgressTask, bind=True)
def count_code(self: ProgressTask, *args: str) -> None:
    """Take a code census."""
    jobs.count_code(self.progress, *args)


_TASKS = {jobs.import_file: import_file, jobs.count_code: count_code}


def submit(request: Request, job: jobs.Job, *args: str, **options: Any) -> str:
    """Send a job to the workers, and return its progress id. The parameters are those of :func:`.jobs.submit`."""
    progress_id: str = _TASKS[job].apply_for(request, args, **options).id
    return progress_id
