"""`apply_for` sends its message after the commit of the request's transaction, or never."""

import logging
import time

import pytest
from pyramid.response import Response
from support.shop import Conflict

from pyramid_progress import cancel_task, get_progress_status, list_tasks, new_request
from pyramid_progress.runtime import current_store
from pyramid_progress.testing import wait_for

pytest.importorskip('celery')

from celery import Celery

from pyramid_progress.celery import ProgressTask, apply_group


@pytest.fixture
def celery():
    """Return a function that makes a Celery application with one task, `export`."""
    apps = []

    def make(broker='memory://', **settings):
        app = Celery('shop', broker=broker, set_as_current=False)
        app.conf.update(settings)
        apps.append(app)

        @app.task(base=ProgressTask, bind=True, name='export', shared=False)
        def export(self, country):
            with new_request() as request:
                return {'url': request.route_url('work', _query={'country': country})}

        return app

    yield make
    for app in apps:
        with app.connection() as connection:
            if connection.transport_cls == 'memory':
                connection.default_channel.queue_purge('celery')
        app.close()


def messages(app):
    """Return the ids of the tasks in the queue."""
    with app.connection() as connection, connection.SimpleQueue('celery') as queue:
        found = []
        while True:
            try:
                message = queue.get_nowait()
            except queue.Empty:
                return found
            message.ack()
            found.append(message.headers['id'])


def send(shop, app, request, **options):
    result = app.tasks['export'].apply_for(request, ['FR'], label='Export', **options)
    shop.ids.append(result.id)


def test_after_the_commit(shop, celery):
    app = celery()

    def view(request):
        send(shop, app, request)
        assert messages(app) == []
        record = current_store().storage.get_many(shop.ids)[shop.ids[0]]
        assert (record['status'], float(record['_heartbeat'])) == ('"pending"', pytest.approx(time.time(), abs=5))
        return Response()

    assert shop.post(view) is None
    assert messages(app) == shop.ids
    time.sleep(0.4)
    record = current_store().storage.get_many(shop.ids)[shop.ids[0]]
    assert (record['status'], float(record['_heartbeat'])) == ('"pending"', float('inf')), 'it waits in the queue'


def test_never_without_a_commit(shop, celery):
    app = celery()

    def view(request):
        send(shop, app, request)
        raise RuntimeError

    shop.post(view)
    assert shop.is_discarded()
    assert messages(app) == []


@pytest.mark.parametrize('is_committed', [True, False])
def test_a_group(shop, celery, is_committed):
    app = celery()
    results = []

    def view(request):
        results.append(apply_group(request, [app.tasks['export'].s(name) for name in ('FR', 'DE')], label='Export'))
        assert messages(app) == []
        assert get_progress_status(results[0].id)['status'] == 'pending'
        if not is_committed:
            raise RuntimeError
        return Response()

    shop.post(view)
    status = get_progress_status(results[0].id)
    if is_committed:
        assert messages(app) == [result.id for result in results[0].results]
        assert (status['status'], status['parts']) == ('pending', {'ended': 0, 'total': 2})
    else:
        assert (messages(app), status) == ([], {'status': 'unknown'})


def test_at_once_if_the_view_asks_for_it(shop, celery):
    app = celery()

    def view(request):
        send(shop, app, request, after_commit=False)
        raise RuntimeError

    shop.post(view)
    assert messages(app) == shop.ids


def test_once_for_several_attempts(shop, celery):
    app = celery()

    def view(request):
        send(shop, app, request)
        if len(shop.ids) < 3:
            raise Conflict
        return Response()

    shop.post(view)
    assert messages(app) == [shop.ids[2]]
    assert [task['progress_id'] for task in list_tasks()] == [shop.ids[2]]


def test_a_cancelled_task_is_not_sent(shop, celery):
    app = celery()

    def view(request):
        send(shop, app, request)
        assert cancel_task(shop.ids[0])
        wait_for(shop.ids[0], 'cancelled')
        return Response()

    shop.post(view)
    assert messages(app) == []


def test_a_broker_that_is_down(shop, celery, free_port, caplog):
    app = celery(f'redis://127.0.0.1:{free_port()}/0', task_publish_retry=False)

    def view(request):
        send(shop, app, request)
        return Response()

    assert shop.post(view) is None, 'the transaction has committed'
    assert wait_for(shop.ids[0], 'failed')['message'] == 'An unexpected error ended this task.'
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR and record.name != 'txn']
    assert (record.name, record.progress_id) == ('pyramid_progress', shop.ids[0])
    assert record.exc_info


def test_an_eager_task_runs_after_the_transaction_and_has_the_host_of_its_request(shop, celery):
    app = celery(task_always_eager=True)

    def view(request):
        send(shop, app, request)
        assert get_progress_status(shop.ids[0])['status'] == 'pending'
        return Response()

    shop.view = view
    shop.app.post('/work', extra_environ={'HTTP_HOST': 'shop.example', 'SCRIPT_NAME': '/eu'})
    assert wait_for(shop.ids[0])['result'] == {'url': 'http://shop.example/eu/work?country=FR'}


def test_an_eager_task_that_fails(shop, celery):
    app = celery(task_always_eager=True, task_eager_propagates=True)

    def view(request):
        result = app.tasks['export'].apply_for(request, [], label='Export')
        shop.ids.append(result.id)
        return Response()

    assert isinstance(shop.post(view), TypeError)
    wait_for(shop.ids[0], 'failed')
