"""Celery tasks, and what their bars show: real workers take them from a real broker."""

import builtins
import os
import re
import signal
import uuid

import pytest
from pyramid import testing
from pyramid.i18n import TranslationString
from support.waiting import wait_until
from webtest import TestApp

from pyramid_progress import (
    ProgressError,
    StorageError,
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
)
from pyramid_progress.model.record import CANCEL, CANCELLABLE
from pyramid_progress.model.status import record_to_status
from pyramid_progress.runtime import current_store

pytest.importorskip('celery')

from celery import Task, signals
from celery.exceptions import TaskRevokedError
from kombu.exceptions import OperationalError

Customers = TranslationString('customers', default='Customers')

WAITS = 'This task waits for its next run.'
UNEXPECTED = 'An unexpected error ended this task.'
INTERRUPTED = 'This task was interrupted.'

needs_groups = pytest.mark.skipif(not hasattr(builtins, 'ExceptionGroup'), reason='Python 3.10 has no exception groups')


def status_of(result, later=0):
    """Return a status, as it is some seconds *later* without a change. Its end is not acknowledged."""
    storage = current_store().storage
    record = storage.get_many([result.id]).get(result.id)
    return record_to_status(record, lambda: storage.now() + later) if record else {'status': 'unknown'}


def shows(result, /, **values):
    """Wait until a status has these values, and return it."""
    status = {}

    def is_there():
        nonlocal status
        status = status_of(result)
        return values.items() <= status.items()

    try:
        wait_until(is_there)
    except AssertionError:
        pytest.fail(f'the status does not become {values}: it is {status}')
    return status


def runs(result):
    """Wait until an export waits at its gate; return the id of its process."""
    found = wait_until(lambda: re.search(r'Writing in (\d+)', str(status_of(result).get('message'))))
    return int(found[1])


def ask_to_stop(result):
    current_store().storage.update_active({result.id: {CANCEL: 'true'}}, 60)


@pytest.fixture
def gate(shop):
    """Return the name of a gate that is shut."""
    return uuid.uuid4().hex


@pytest.fixture
def pass_gate(shop, gate):
    """Return a function that opens it."""
    return (shop.gates / gate).touch


@pytest.fixture(scope='module')
def orphan(_shop, start_worker):
    """Return a task whose worker was killed. It is sent at once, since it takes 15 seconds to be stalled."""
    configure(_shop.settings)
    worker = start_worker('fragile', '--pool', 'prefork', '--concurrency', '1')
    result = _shop.export.apply_async(['orphan'], queue='fragile', progress={'owner': 'ann'})
    runs(result)
    worker.kill()
    return result


def test_a_task_whose_worker_died_is_stalled_after_15_seconds(shop, orphan):
    assert status_of(orphan)['status'] == 'running'
    assert status_of(orphan, later=16)['status'] == 'stalled'


class TestLife:
    def test_a_task_that_is_sent_is_pending_for_as_long_as_it_takes(self, shop):
        result = shop.export.apply_async(
            ['any'], queue='unread', progress={'label': 'Customers', 'owner': 'ann', 'tags': ['x']}
        )
        status = status_of(result, later=80000)
        assert status.pop('started')
        assert status == {
            'status': 'pending',
            'owner': 'ann',
            'label': 'Customers',
            'tags': ['x'],
            'length': None,
            'current': 0,
            'message': None,
        }
        assert result.id in get_running_tasks()

    def test_its_name_is_its_label_where_it_has_none(self, shop):
        status = status_of(shop.export.apply_async(['any'], queue='unread'))
        assert (status['label'], status['owner'], status['tags']) == ('shop.tasks.export', None, None)

    def test_from_the_queue_to_the_result(self, shop, worker, gate, pass_gate):
        result = shop.export.apply_async([gate], progress={'label': 'Customers', 'owner': 'ann'})
        started = status_of(result)['started']
        runs(result)
        status = shows(result, status='running', label='Customers', owner='ann', current=3, length=4, started=started)
        pass_gate()
        status = shows(result, status='finished')
        assert result.ready(), 'the result is there before the bar shows the end'
        assert status.pop('result') == result.get() == {'url': '/customers.csv', 'text': '3 customers'}
        assert status == {
            'status': 'finished',
            'owner': 'ann',
            'label': 'Customers',
            'tags': None,
            'length': 4,
            'current': 4,
            'message': None,
            'started': started,
        }

    def test_a_task_has_heartbeats_while_it_runs(self, shop, worker, gate, pass_gate):
        result = shop.export.apply_async([gate])
        runs(result)
        assert status_of(result, later=14)['status'] == 'running'
        assert status_of(result, later=16)['status'] == 'stalled'
        pass_gate()
        shows(result, status='finished')

    @pytest.mark.parametrize(
        ('how', 'expected'),
        [
            ('a number', {'status': 'finished', 'message': None, 'result': None}),
            ('another dict', {'status': 'finished', 'message': None, 'result': None}),
            ('its own result', {'status': 'finished', 'message': 'All is well', 'result': {'text': 'OK'}}),
            ('what cannot be sent', {'status': 'failed', 'message': UNEXPECTED, 'result': None}),
            ('ProgressError', {'status': 'failed', 'message': 'The bank is closed.', 'result': None}),
            ('another error', {'status': 'failed', 'message': UNEXPECTED, 'result': None}),
            ('Ignore', {'status': 'cancelled', 'message': None, 'result': None}),
            ('Reject', {'status': 'failed', 'message': UNEXPECTED, 'result': None}),
            ('Reject in vain', {'status': 'failed', 'message': UNEXPECTED, 'result': None}),
        ],
    )
    def test_every_end(self, shop, worker, how, expected):
        result = shop.end.apply_async([how])
        status = shows(result, status=expected['status'], current=7)
        assert status | {'result': status.get('result')} == status | expected

    @needs_groups
    @pytest.mark.parametrize(
        ('how', 'status', 'message'),
        [
            ('a group of cancels', 'cancelled', None),
            ('a group with a ProgressError', 'failed', 'The bank is closed.'),
            ('a group with another error', 'failed', UNEXPECTED),
        ],
    )
    def test_a_group_of_exceptions(self, shop, worker, how, status, message):
        result = shop.end.apply_async([how])
        shows(result, status=status, message=message, current=7)
        if status == 'cancelled':
            with pytest.raises(TaskRevokedError, match='cancelled'):
                result.get(timeout=10)

    def test_before_it_begins(self, shop, worker):
        shows(shop.unlucky.apply_async(), status='failed', message='Not today.')

    def test_tqdm_feeds_it(self, shop, worker):
        shows(shop.library.apply_async(), status='finished', current=5, length=5)

    def test_a_task_that_calls_itself_counts_on(self, shop, worker):
        assert shows(shop.count.apply_async([3]), status='finished')['current'] == 3


class TestAgain:
    def test_a_retry_keeps_the_record(self, shop, worker):
        result = shop.fetch.apply_async(['open'], progress={'label': 'Bank', 'owner': 'ann'})
        started = status_of(result)['started']
        waiting = shows(result, status='pending', message=WAITS)
        assert (waiting['current'], waiting['owner'], waiting['started']) == (1, 'ann', started)
        assert status_of(result, later=80000)['status'] == 'pending'
        again = shows(result, status='finished', message=None, label='Bank', owner='ann', started=started)
        assert again['current'] == 2

    def test_the_last_retry_fails(self, shop, worker):
        result = shop.fetch.apply_async(['closed'])
        shows(result, status='pending', message=WAITS)
        assert shows(result, status='failed', current=2)['message'] == 'The bank is closed.'

    def test_a_task_that_is_put_back_runs_again(self, shop, worker, gate):
        result = shop.put_back.apply_async([gate])
        shows(result, status='finished')
        assert (shop.gates / gate).exists()

    def test_a_task_that_has_ended_and_is_delivered_again(self, shop, worker, gate, pass_gate):
        result = shop.export.apply_async([gate], countdown=0.5)
        set_progress_status(result.id, 'failed')
        runs(result)
        shows(result, status='running')
        pass_gate()
        shows(result, status='finished')

    def test_a_replaced_task_keeps_the_record(self, shop, worker, gate, pass_gate):
        result = shop.replaced.apply_async([gate], progress={'label': 'Customers', 'owner': 'ann'})
        runs(result)
        shows(result, status='running', label='Customers', owner='ann')
        pass_gate()
        shows(result, status='finished')

    def test_what_a_task_sends_belongs_to_its_owner(self, shop, worker, gate, pass_gate):
        workflow = shop.export.s(gate).set(progress={'label': 'Customers', 'owner': 'ann'}) | shop.mail.s()
        pass_gate()
        result = workflow.apply_async()
        shows(result, status='finished', message='3 customers', owner='ann', label='shop.tasks.mail')
        assert status_of(result.parent)['owner'] == 'ann'


class TestCancel:
    @pytest.mark.parametrize('name', ['export', 'catching', 'retrying'])
    def test_a_running_task_stops(self, shop, worker, name, gate):
        result = getattr(shop, name).apply_async([gate])
        shows(result, status='running')
        ask_to_stop(result)
        shows(result, status='cancelled', message=None)
        assert result.id not in get_running_tasks()
        with pytest.raises(TaskRevokedError, match='cancelled'):
            result.get(timeout=10)

    def test_a_task_that_waits_is_never_begun(self, shop, worker, gate):
        result = shop.put_back.apply_async([gate], countdown=1)
        ask_to_stop(result)
        assert status_of(result)['status'] == 'cancelling'
        shows(result, status='cancelled')
        assert result.id not in get_running_tasks()
        with pytest.raises(TaskRevokedError, match='cancelled'):
            result.get(timeout=10)
        assert not (shop.gates / gate).exists()

    def test_a_task_that_was_set_to_cancelled_is_never_begun(self, shop, worker, gate):
        result = shop.put_back.apply_async([gate], countdown=1)
        set_progress_status(result.id, 'cancelled')
        with pytest.raises(TaskRevokedError, match='cancelled'):
            result.get(timeout=10)
        assert not (shop.gates / gate).exists()

    def test_a_cancelled_task_is_not_retried(self, shop, worker):
        result = shop.fetch.apply_async(['closed'])
        shows(result, status='pending', message=WAITS)
        ask_to_stop(result)
        assert status_of(result)['status'] == 'cancelling'
        assert shows(result, status='cancelled')['current'] == 1

    def test_a_visitor_cancels(self, shop, worker, gate):
        from shop import main

        web = TestApp(main({}, **shop.settings))
        ann, ben = ({'REMOTE_USER': name, 'HTTP_SEC_FETCH_SITE': 'same-origin'} for name in ('ann', 'ben'))
        progress_id = web.post('/export', {'gate': gate}, extra_environ=ann).json['progress_id']
        url = f'/progress_status?progress_id={progress_id}'

        def shown(environ):
            return web.get(url, extra_environ=environ).json

        status = wait_until(lambda: (answer := shown(ann))['status'] == 'running' and answer)
        assert (status['label'], status['tags'], status['cancellable']) == ('Customers', ['export'], True)
        assert shown(ben) == {'status': 'unknown'}
        web.post('/progress_cancel', {'progress_id': progress_id}, extra_environ=ann)
        wait_until(lambda: shown(ann)['status'] == 'cancelled')


class TestRevoke:
    def test_before_the_start(self, shop, worker, gate):
        result = shop.put_back.apply_async([gate], countdown=1)
        result.revoke()
        shows(result, status='cancelled')
        assert not (shop.gates / gate).exists()

    def test_while_it_runs(self, shop, worker, gate):
        result = shop.export.apply_async([gate])
        runs(result)
        result.revoke(terminate=True)
        shows(result, status='cancelled')

    def test_too_late(self, shop, worker, gate):
        result = shop.put_back.apply_async([gate], countdown=0.5, expires=0.1)
        shows(result, status='failed', message='This task was not started in time.')
        assert not (shop.gates / gate).exists()


class TestSend:
    @pytest.mark.parametrize(('userid', 'owner'), [(7, '7'), (None, None)])
    def test_for_the_user_of_a_request(self, shop, userid, owner):
        with testing.testConfig() as config:
            config.testing_securitypolicy(userid=userid)
            result = shop.export.apply_for(
                testing.DummyRequest(), kwargs={'gate': 'any'}, cancellable=False, queue='unread'
            )
        assert status_of(result)['owner'] == owner
        assert CANCELLABLE not in current_store().storage.get_many([result.id])[result.id]

    def test_an_id_that_is_in_use_by_another_owner(self, shop):
        init_progress_status('used', 'ben', 'Mine')
        with pytest.raises(ValueError, match="progress_id 'used' is in use by another owner"):
            shop.export.apply_async(['any'], task_id='used', queue='unread', progress={'owner': 'ann'})
        assert get_progress_status('used')['label'] == 'Mine'

    @pytest.mark.parametrize(
        ('progress', 'complaint'), [({'lable': 'x'}, 'lable'), ({'label': object()}, 'label must be a JSON value')]
    )
    def test_an_invalid_option_is_refused(self, shop, progress, complaint):
        with pytest.raises(TypeError, match=complaint):
            shop.export.apply_async(['any'], queue='unread', progress=progress)

    def test_a_broker_that_is_down(self, shop, free_port):
        nowhere = shop.app.connection(
            f'redis://127.0.0.1:{free_port()}/0', transport_options={'max_retries': 1, 'interval_start': 0}
        )
        with pytest.raises(OperationalError):
            shop.export.apply_async(['any'], task_id='unsent', connection=nowhere, retry=False)
        assert get_progress_status('unsent')['status'] == 'failed'

    def test_by_name(self, shop, worker, gate, pass_gate):
        progress_id = uuid.uuid4().hex
        init_progress_status(progress_id, 'ann', 'Customers')
        result = shop.app.send_task('shop.tasks.export', [gate], task_id=progress_id)
        runs(result)
        pass_gate()
        shows(result, status='finished', label='Customers', owner='ann')


class TestWithoutWorker:
    def test_a_plain_call_is_a_task_of_its_own(self, shop):
        before = get_running_tasks()
        assert shop.end('a number') == 42
        (progress_id,) = get_running_tasks() - before
        status = get_progress_status(progress_id)
        assert (status['status'], status['label'], status['current']) == ('finished', 'shop.tasks.end', 7)

    def test_there_is_no_progress_outside(self, shop):
        with pytest.raises(RuntimeError, match=r'shop\.tasks\.end is not running here'):
            shop.end.progress  # noqa: B018

    def test_eager(self, shop):
        seen = []

        def look(sender, **_):
            seen.append(status_of(sender.request))

        shop.app.conf.task_always_eager = True
        signals.task_postrun.connect(look)
        try:
            shop.fetch.apply_async(['open'], progress={'owner': 'ann'})
        finally:
            signals.task_postrun.disconnect(look)
            shop.app.conf.task_always_eager = False
        told = [(status['status'], status['message'], status['current'], status['owner']) for status in seen]
        assert told == [('pending', WAITS, 1, 'ann'), ('finished', None, 2, 'ann')]

    @pytest.mark.parametrize(
        ('how', 'error', 'message'),
        [
            ('ProgressError', ProgressError, 'The bank is closed.'),
            ('another error', ValueError, UNEXPECTED),
            pytest.param('a group with a ProgressError', Exception, 'The bank is closed.', marks=needs_groups),
        ],
    )
    def test_an_eager_task_whose_errors_propagate_has_failed(self, shop, how, error, message):
        shop.app.conf.update(task_always_eager=True, task_eager_propagates=True)
        try:
            with pytest.raises(error):
                shop.end.apply_async([how], task_id='eager')
        finally:
            shop.app.conf.update(task_always_eager=False, task_eager_propagates=False)
        assert (get_progress_status('eager')['status'], get_progress_status('eager')['message']) == ('failed', message)

    def test_an_eager_task_that_exits_is_interrupted(self, shop, gate, pass_gate):
        pass_gate()
        with pytest.raises(SystemExit):
            shop.leave.apply([gate], task_id='exits')
        wait_until(lambda: get_progress_status('exits').get('message') == INTERRUPTED)

    def test_a_task_that_is_put_back_is_pending(self, shop, gate):
        shows(shop.put_back.apply([gate]), status='pending', message=WAITS)


@pytest.mark.parametrize('pool', ['threads', 'solo'])
def test_another_pool(shop, start_worker, gate, pass_gate, pool):
    start_worker(pool, '--pool', pool, '--concurrency', '2')
    cancelled = shop.export.apply_async(['shut'], queue=pool)
    finished = shop.export.apply_async([gate], queue=pool)
    runs(cancelled)
    ask_to_stop(cancelled)
    shows(cancelled, status='cancelled')
    pass_gate()
    shows(finished, status='finished', current=4)


class TestOutage:
    def test_the_work_goes_on_while_the_store_is_down(self, shop, worker, gate, pass_gate, store_server):
        result = shop.export.apply_async([gate])
        runs(result)
        with store_server.down():
            pass_gate()
            assert result.get(timeout=20)['text'] == '3 customers'
        shows(result, status='finished')

    def test_a_task_is_sent_and_begun_while_the_store_is_down(self, shop, worker, gate, pass_gate, store_server):
        with store_server.down():
            result = shop.export.apply_async([gate], progress={'label': Customers, 'owner': 'ann'})
            with pytest.raises(StorageError):
                status_of(result)
            pass_gate()
            assert result.get(timeout=20)['text'] == '3 customers'
        shows(result, status='finished', label='Customers', owner='ann')

    def test_a_status_that_the_store_lost(self, shop, worker, gate, pass_gate):
        result = shop.export.apply_async([gate], countdown=0.5, progress={'label': Customers, 'owner': 'ann'})
        current_store().storage.delete(result.id)
        runs(result)
        shows(result, status='running', label='Customers', owner='ann', current=3)
        pass_gate()
        shows(result, status='finished')

    def test_a_child_that_is_gone_before_the_store_took_an_end_says_so(
        self, shop, worker, gate, pass_gate, store_server
    ):
        result = shop.leave.apply_async([gate])
        shows(result, status='running')
        with store_server.down():
            pass_gate()
            sentence = f'The process ends before the store has taken the end of these tasks: {result.id}'
            wait_until(lambda: sentence in worker.log.read_text())


class TestLoss:
    def test_a_child_of_the_worker_is_killed(self, shop, worker, gate):
        result = shop.export.apply_async([gate])
        os.kill(runs(result), signal.SIGKILL)
        shows(result, status='failed', message=INTERRUPTED)

    def test_a_child_that_ends_itself(self, shop, worker, gate, pass_gate):
        pass_gate()
        shows(shop.leave.apply_async([gate]), status='failed', message=INTERRUPTED)

    @pytest.mark.skipif(not hasattr(Task, 'retry_on_worker_lost'), reason='Celery does so from version 5.7 on')
    def test_a_task_that_is_tried_again_when_its_child_is_killed(self, shop, worker, gate, pass_gate):
        result = shop.careful.apply_async([gate], progress={'owner': 'ann'})
        started = status_of(result)['started']
        pid = runs(result)
        os.kill(pid, signal.SIGKILL)
        shows(result, status='pending', message=WAITS)
        assert status_of(result, later=80000)['status'] == 'pending'
        wait_until(lambda: runs(result) != pid)
        pass_gate()
        shows(result, status='finished', owner='ann', started=started)

    def test_a_worker_is_killed_and_another_gets_the_task(self, shop, orphan, start_worker):
        status = wait_until(lambda: (status := status_of(orphan))['status'] == 'stalled' and status, 20)
        # The broker gives the message to the next worker, since it was not acknowledged.
        start_worker('fragile', '--pool', 'prefork', '--concurrency', '1', SHOP_VISIBILITY_TIMEOUT='1')
        runs(orphan)
        shows(orphan, status='running', owner='ann', started=status['started'])
        (shop.gates / 'orphan').touch()
        assert shows(orphan, status='finished')['result']['text'] == '3 customers'
