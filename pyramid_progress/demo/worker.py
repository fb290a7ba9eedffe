"""The demo's jobs on Celery, for the workers of ``production.ini`` and the application that sends them."""

# Celery and plaster have no types.
# mypy: disable-error-code="import-untyped, untyped-decorator"

import os

from celery import Celery
from plaster import get_settings

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
