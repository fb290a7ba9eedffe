"""Groups and chords of Celery tasks with one bar: real workers take them from a real broker."""

import os
import re
import signal
import uuid

import pytest
from pyramid import testing
from support.waiting import wait_until

from pyramid_progress import cancel_task, get_progress_status, list_tasks
from pyramid_progress.model.status import record_to_status
from pyramid_progress.runtime import current_store

pytest.importorskip('celery')

from celery.exceptions import ChordError, TaskRevokedError

from pyramid_progress.celery import apply_group

INTERRUPTED = 'This task was interrupted.'


@pytest.fixture
def gate(shop):
    """Return the name of a gate that is shut; it is opened after the test."""
    name = uuid.uuid4().hex
    yield name
    (shop.gates / name).touch()


def send(signatures, callback=None, **options):
    """Send a group for ann."""
    with testing.testConfig() as config:
        config.testing_securitypolicy(userid='ann')
        return apply_group(testing.DummyRequest(), signatures, label='Customers', callback=callback, **options)


def status_of(result, later=0.0):
    """Return a status, as it is some seconds *later* without a change."""
    storage = current_store().storage
    return record_to_status(storage.get_many([result.id])[result.id], lambda: storage.now() + later)


def shows(result, ended, /, **values):
    """Wait until so many parts have ended and a status has these values, and return it."""
    status = {}

    def is_there():
        nonlocal status
        status = status_of(result)
        return status['parts']['ended'] == ended and values.items() <= status.items()

    try:
        wait_until(is_there, 20)
    except AssertionError:
        pytest.fail(f'the status does not become {values} with {ended} ended parts: it is {status}')
    return status


def runs(result):
    """Wait until an export waits at its gate; return the id of its process."""
    return int(wait_until(lambda: re.search(r'Writing in (\d+)', str(status_of(result)['message'])))[1])


class TestLife:
    def test_a_group_is_one_task(self, shop, worker, gate):
        result = send([shop.load.s('FR'), shop.export.s(gate)], tags=[gate])
        status = status_of(result)
        assert (status['label'], status['owner'], status['tags']) == ('Customers', 'ann', [gate])
        assert [task['progress_id'] for task in list_tasks(owner='ann', tag=gate)] == [result.id]
        shows(result, 1, status='running', length=2)
        runs(result)
        (shop.gates / gate).touch()
        status = shows(result, 2, status='finished', current=2)
        assert 'result' not in status, 'it is no callback that returned one'
        assert result.get(timeout=10)[0] == {'text': 'FR'}

    def test_a_group_that_waits_is_pending(self, shop):
        result = send([shop.load.s('FR').set(queue='unread'), shop.load.s('DE').set(queue='unread')])
        assert status_of(result, later=80000)['status'] == 'pending'
        assert status_of(result)['parts'] == {'ended': 0, 'total': 2}

    @pytest.mark.parametrize('countries', [['FR', 'DE', 'IT'], pytest.param(['FR'], marks=pytest.mark.slow)])
    def test_a_chord(self, shop, worker, countries):
        result = send([shop.load.s(country) for country in countries], shop.pack.s())
        total = len(countries) + 1
        status = shows(result, total, status='finished', current=total)
        assert status['result']['url'] == '/all.zip'
        assert {*status['result']['text'].split(', ')} == {*countries}
        assert result.results[-1].get(timeout=10) == status['result']

    def test_a_retry_starts_its_part_again(self, shop, worker):
        result = send([shop.fetch.s('open'), shop.load.s('FR')])
        shows(result, 1, status='running', message='This task waits for its next run.')
        assert status_of(result, later=80000)['status'] == 'running', 'it waits for a minute, or for a day'
        shows(result, 2, status='finished')

    def test_a_replaced_task(self, shop, worker, gate):
        result = send([shop.replaced.s(gate), shop.load.s('FR')])
        runs(result)
        (shop.gates / gate).touch()
        shows(result, 2, status='finished')

    def test_a_task_that_is_put_back(self, shop, worker, gate):
        result = send([shop.put_back.s(gate), shop.load.s('FR')])
        shows(result, 2, status='finished')


class TestFailure:
    @pytest.mark.parametrize(('how', 'message'), [
        ('ProgressError', 'The bank is closed.'), ('another error', 'An unexpected error ended this task.'),
    ])  # fmt: skip
    def test_a_task_of_a_chord_fails(self, shop, worker, how, message):
        result = send([shop.end.s(how), shop.load.s('FR')], shop.pack.s())
        shows(result, 3, status='failed', message=message)
        with pytest.raises(ChordError):
            result.results[-1].get(timeout=10)

    def test_the_callback_fails(self, shop, worker):
        result = send([shop.load.s('FR')], shop.end.si('ProgressError'))
        shows(result, 2, status='failed', message='The bank is closed.')

    def test_a_child_of_the_worker_is_killed(self, shop, worker, gate):
        result = send([shop.export.s(gate)], shop.pack.s())
        os.kill(runs(result), signal.SIGKILL)
        shows(result, 2, status='failed', message=INTERRUPTED)

    @pytest.mark.parametrize('how', ['retry', 'replace'])
    def test_its_next_message_cannot_be_sent(self, shop, worker, how):
        result = send([shop.unsent.s(how), shop.load.s('FR')], shop.pack.s())
        shows(result, 3, status='failed', message='An unexpected error ended this task.')

    def test_before_it_begins(self, shop, worker):
        shows(send([shop.unlucky.s(), shop.load.s('FR')]), 2, status='failed', message='Not today.')

    def test_a_broker_that_is_down(self, shop, free_port):
        nowhere = shop.app.connection(
            f'redis://127.0.0.1:{free_port()}/0', transport_options={'max_retries': 1, 'interval_start': 0}
        )
        signature = shop.load.s('FR').set(connection=nowhere, retry=False)
        with pytest.raises(Exception, match='refused'):
            send([signature], tags=['unsent'])
        (task,) = list_tasks(tag='unsent')
        assert task['status'] == 'failed'

    def test_what_cannot_be_sent(self, shop):
        with pytest.raises(TypeError, match='ProgressTask'):
            send([shop.plain.s()])
        with pytest.raises(TypeError, match='ProgressTask'):
            send([shop.load.s('FR') | shop.pack.s()])
        with pytest.raises(ValueError, match='at least one'):
            send([])


class TestCancel:
    def test_while_half_of_it_waits(self, shop, worker, gate):
        result = send([shop.export.s(gate) for _ in range(6)], shop.pack.s())
        runs(result)
        assert cancel_task(result.id)
        shows(result, 7, status='cancelled')
        with pytest.raises(TaskRevokedError):
            result.results[5].get(timeout=10)

    def test_a_task_is_revoked(self, shop, worker):
        result = send([shop.load.s('FR').set(countdown=1), shop.load.s('DE')], shop.pack.s())
        result.results[0].revoke()
        shows(result, 3, status='cancelled')

    @pytest.mark.slow
    def test_a_running_task_is_revoked(self, shop, worker, gate):
        result = send([shop.export.s(gate), shop.load.s('DE').set(countdown=3)])
        runs(result)
        result.results[0].revoke(terminate=True)
        shows(result, 2, status='cancelled')

    def test_a_task_expires(self, shop, worker):
        result = send([shop.load.s('FR').set(countdown=0.5, expires=0.1)], shop.pack.s())
        shows(result, 2, status='failed', message='This task was not started in time.')


class TestEager:
    @pytest.fixture(autouse=True)
    def _eager(self, shop):
        shop.app.conf.task_always_eager = True
        yield
        shop.app.conf.update(task_always_eager=False, task_eager_propagates=False)

    def test_a_chord(self, shop):
        status = get_progress_status(send([shop.load.s('FR'), shop.load.s('DE')], shop.pack.s()).id)
        assert (status['status'], status['current'], status['result']['text']) == ('finished', 3, 'FR, DE')

    def test_a_group_with_a_failure(self, shop):
        result = send([shop.load.s('FR'), shop.end.s('ProgressError')])
        assert get_progress_status(result.id)['message'] == 'The bank is closed.'

    def test_a_chord_whose_failure_propagates(self, shop):
        shop.app.conf.task_eager_propagates = True
        with pytest.raises(Exception, match='The bank is closed'):
            send([shop.end.s('ProgressError'), shop.load.s('FR')], shop.pack.s(), tags=['propagates'])
        (task,) = list_tasks(tag='propagates')
        assert (task['status'], task['message']) == ('failed', 'The bank is closed.')


@pytest.mark.slow
@pytest.mark.parametrize('pool', ['threads', 'solo', 'gevent'])
def test_another_pool(shop, start_worker, pool):
    start_worker(f'group-{pool}', '--pool', pool, '--concurrency', '2')
    options = {'queue': f'group-{pool}'}
    tasks = [shop.load.s(country).set(**options) for country in ('FR', 'DE', 'IT')]
    shows(send(tasks, shop.pack.s().set(**options)), 4, status='finished')
    result = send([shop.export.s('shut').set(**options) for _ in range(4)], shop.pack.s().set(**options))
    runs(result)
    assert cancel_task(result.id)
    shows(result, 5, status='cancelled')


@pytest.mark.slow
def test_a_worker_is_killed_and_another_gets_the_part(shop, start_worker, gate):
    queue = 'fragile-group'
    worker = start_worker(queue, '--pool', 'prefork', '--concurrency', '1')
    result = send([shop.export.s(gate).set(queue=queue)], shop.pack.s().set(queue=queue))
    runs(result)
    worker.kill()
    assert status_of(result, later=16)['status'] == 'stalled'
    start_worker(queue, '--pool', 'prefork', '--concurrency', '1', SHOP_VISIBILITY_TIMEOUT='1')
    (shop.gates / gate).touch()
    shows(result, 2, status='finished', current=2)
