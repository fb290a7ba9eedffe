"""The Celery application, for the workers and for the web application, which sends the messages.

The environment variable ``SALES_INI`` is the path of the ini file. The web application sets it when it starts.
"""

import os
import time
from pathlib import Path
from zipfile import ZipFile

from celery import Celery
from celery.signals import worker_process_init
from plaster import get_settings
from pyramid.paster import get_app

import pyramid_progress
from pyramid_progress.celery import ProgressTask

settings = get_settings(os.environ['SALES_INI'], 'app:main')
pyramid_progress.configure(settings)

app = Celery('sales', broker=settings['celery.broker'], backend=settings['celery.broker'])
app.conf.broker_connection_retry_on_startup = True
# The message of a task that a killed worker has begun is delivered again. The tasks replace the files that they write.
app.conf.task_acks_late = True

data_dir = Path(settings['sales.data_dir'])


@worker_process_init.connect
def make_application(**_):
    """Make the Pyramid application in each process of a worker, for ``new_request()``, and keep it."""
    app.pyramid = get_app(os.environ['SALES_INI'])


def result_of(path, text):
    """Return the result of a task: the URL of a file, with the prefix of the request that sent the task."""
    with pyramid_progress.new_request() as request:
        return {'url': request.route_path('file', name=path.name), 'text': text}


@app.task(base=ProgressTask, bind=True)
def write_report(self, country):
    """Write the report of a country; return the result that the bar shows."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / f'{country}-{self.request.id}.csv'
    with path.open('w') as file:
        for month in self.progress.track(range(1, 13)):
            self.progress.message = f'{country}, month {month}'
            time.sleep(0.05)  # the work
            file.write(f'{country},{month}\n')
    return result_of(path, f'Sales of {country}')


@app.task(base=ProgressTask, bind=True)
def make_archive(self, reports):
    """Put reports into one file.

    :param reports: what :func:`write_report` has returned, for each of them
    """
    path = data_dir / f'sales-{self.request.id}.zip'
    with ZipFile(path, 'w') as archive:
        for report in self.progress.track(reports):
            name = report['url'].rpartition('/')[2]
            archive.write(data_dir / name, name)
    return result_of(path, f'{len(reports)} reports')
