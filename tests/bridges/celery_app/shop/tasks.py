"""The Celery application: tasks for every end. What they wait for is a gate: a file that a test makes."""

import os
import time
from functools import partial
from pathlib import Path

from celery import Celery
from celery.exceptions import Ignore, Reject
from plaster import get_settings

import pyramid_progress
from pyramid_progress import ProgressError, TaskCancelled, new_request
from pyramid_progress.celery import ProgressTask
from pyramid_progress.tqdm import trange

from . import main

settings = get_settings(os.environ['SHOP_INI'], 'app:main')
pyramid_progress.configure(settings)
app = Celery('shop', broker=settings['celery.broker'], backend=settings['celery.broker'])
app.conf.broker_transport_options = {'visibility_timeout': int(os.environ.get('SHOP_VISIBILITY_TIMEOUT', 3600))}
app.conf.broker_connection_retry_on_startup = True

gates = Path(settings['shop.gates'])


def wait_at(gate, task):
    """Wait until a gate is open, or the task is cancelled."""
    while not (gates / gate).exists():
        task.progress.advance(0)
        time.sleep(0.02)


@app.task(base=ProgressTask, bind=True, acks_late=True)
def export(self, gate):
    self.progress.length = 4
    with self.progress.stage('Reading', weight=3):
        for name in self.progress.track(['Ann', 'Ben', 'Cem']):
            self.progress.message = name
    self.progress.message = f'Writing in {os.getpid()}'
    wait_at(gate, self)
    self.progress.advance()
    return {'url': '/customers.csv', 'text': '3 customers'}


#: Groups of exceptions that :func:`end` raises.
GROUPS = {
    'a group of cancels': (TaskCancelled, TaskCancelled),
    'a group with a ProgressError': (TaskCancelled, partial(ProgressError, 'The bank is closed.')),
    'a group with another error': (TaskCancelled, partial(ProgressError, 'The bank is closed.'), ValueError),
}


@app.task(base=ProgressTask, bind=True)
def end(self, how):
    self.progress.current = 7
    if how == 'a number':
        return 42
    if how == 'another dict':
        return {'url': '/', 'password': 'secret'}
    if how == 'its own result':
        self.progress.finish('All is well', {'text': 'OK'})
        return 42
    if how == 'what cannot be sent':
        return object()
    if how in GROUPS:
        raise ExceptionGroup('several errors', [error() for error in GROUPS[how]])  # noqa: F821  # from Python 3.11 on
    raise {
        'ProgressError': ProgressError('The bank is closed.'),
        'another error': ValueError('secret'),
        'Ignore': Ignore(),
        'Reject': Reject('secret', requeue=False),
        'Reject in vain': Reject('it is acknowledged', requeue=True),
    }[how]


@app.task(base=ProgressTask, bind=True)
def leave(self, gate):
    wait_at(gate, self)
    raise SystemExit(3)


@app.task(base=ProgressTask, bind=True, default_retry_delay=1, max_retries=1)
def fetch(self, bank):
    self.progress.current = 1 + self.request.retries
    if bank == 'closed' or not self.request.retries:
        raise self.retry(exc=ProgressError('The bank is closed.'))


@app.task(base=ProgressTask, bind=True, acks_late=True)
def put_back(self, gate):
    if not (gates / gate).exists():
        (gates / gate).touch()
        raise Reject('once more', requeue=True)


@app.task(base=ProgressTask, bind=True)
def catching(self, gate):
    try:
        wait_at(gate, self)
    except Exception as error:
        raise self.retry(exc=error) from error


@app.task(base=ProgressTask, bind=True, autoretry_for=(Exception,))
def retrying(self, gate):
    wait_at(gate, self)


@app.task(base=ProgressTask, bind=True)
def replaced(self, gate):
    raise self.replace(export.s(gate))


@app.task(base=ProgressTask, bind=True)
def unsent(self, how):
    signature = export.s(object())  # no serializer of messages takes it
    if how == 'retry':
        raise self.retry(args=signature.args)
    raise self.replace(signature)


@app.task(base=ProgressTask, bind=True)
def mail(self, exported):
    self.progress.finish(exported['text'])


@app.task(base=ProgressTask)
def library():
    for _ in trange(5):
        pass


@app.task(base=ProgressTask, bind=True)
def count(self, depth):
    self.progress.advance()
    if depth > 1:
        self(depth - 1)


@app.task(base=ProgressTask, bind=True, retry_on_worker_lost=True, default_retry_delay=1)
def careful(self, gate):
    self.progress.message = f'Writing in {os.getpid()}'
    wait_at(gate, self)


class Unlucky(ProgressTask):
    def before_start(self, task_id, args, kwargs):
        raise ProgressError('Not today.')


@app.task(base=Unlucky)
def unlucky():
    pass


@app.task(base=ProgressTask, bind=True)
def link(self, makes_application):
    if makes_application:
        main({}, **settings)
    with new_request() as request:
        self.progress.finish(request.locale_name, {'url': request.route_url('export')})


@app.task(base=ProgressTask, bind=True)
def finish_and_fail(self):
    self.progress.finish('Done', {'text': 'secret'})
    raise ValueError('the commit failed')


@app.task(base=ProgressTask, bind=True)
def load(self, country):
    for _ in self.progress.track(range(4)):
        pass
    return {'text': country}


@app.task(base=ProgressTask, bind=True)
def pack(self, results):
    self.progress.message = 'Packing'
    return {'url': '/all.zip', 'text': ', '.join(result['text'] for result in results)}


@app.task
def plain():
    pass
