"""The ends of tasks in the log, and as an event of Pyramid."""

import builtins
import gc
import logging
import threading
from contextlib import suppress

import pytest
from pyramid.config import Configurator
from support.storages import FAULTY
from support.waiting import wait_until

from pyramid_progress import ProgressError, TaskCancelled, TaskEnded, set_progress_status, start_task
from pyramid_progress.runtime import current_store
from pyramid_progress.work.publisher import publisher

needs_groups = pytest.mark.skipif(not hasattr(builtins, 'ExceptionGroup'), reason='Python 3.10 has no exception groups')


class Ended(list):
    """The events of an application, as pairs of the event and the thread in which it was notified."""

    def __call__(self, event):
        self.append((event, threading.current_thread()))

    @property
    def only(self):
        """The one event."""
        ((event, _),) = self
        return event


def make(settings=FAULTY):
    """Return an application's configuration, and the events of its tasks."""
    config = Configurator(settings=settings)
    config.include('pyramid_progress')
    ended = Ended()
    config.add_subscriber(ended, 'pyramid_progress.TaskEnded')
    config.commit()
    return config, ended


@pytest.fixture
def ended():
    """Make an application the current one, and return the events of its tasks."""
    config, ended = make()
    config.begin()
    yield ended
    config.end()


@pytest.fixture
def records(caplog):
    """Return a function that returns the records of ends so far."""
    caplog.set_level(logging.INFO)
    return lambda: [record for record in caplog.records if record.name == 'pyramid_progress']


def end_by(error):
    with suppress(BaseException), start_task('Import', progress_id='job') as task:
        task.advance(3)
        raise error


def test_an_end_is_logged_with_its_fields(ended, records):
    with start_task('Import', owner='mary', tags=['x'], length=4, progress_id='job') as task:
        task.advance(3)
    (record,) = records()
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith('Task job (Import) of mary: finished after 0.')
    assert (record.progress_id, record.label, record.owner, record.tags) == ('job', 'Import', 'mary', ['x'])
    assert (record.status, record.current, record.length) == ('finished', 3, 4)
    assert 0 < record.duration < 5
    assert record.exc_info is None


def test_a_task_without_owner_is_logged_as_such(ended, records):
    start_task('Import', progress_id='job').finish()
    assert records()[0].getMessage().startswith('Task job (Import) of no owner: finished after ')
    assert records()[0].owner is None


def test_an_end_is_announced_with_its_fields(ended):
    task = start_task('Import', owner='mary', tags={'x': 1}, length=4, progress_id='job')
    task.current = 2.5
    task.finish('Done', {'text': '3 rows'})
    event, thread = ended[0]
    assert len(ended) == 1
    assert thread is threading.current_thread()
    assert isinstance(event, TaskEnded)
    assert 0 < event.duration < 5
    assert (event.progress_id, event.label, event.owner, event.tags) == ('job', 'Import', 'mary', {'x': 1})
    assert (event.status, event.message, event.current, event.length) == ('finished', 'Done', 2.5, 4)
    assert event.error is None


@pytest.mark.parametrize(
    ('error', 'status', 'level'),
    [
        (TaskCancelled(), 'cancelled', logging.INFO),
        (ProgressError('Line 3 has two columns'), 'failed', logging.WARNING),
        (SystemExit(1), 'failed', logging.WARNING),
        (KeyboardInterrupt(), 'failed', logging.WARNING),
        (ValueError('a fault'), 'failed', logging.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_the_level_depends_on_the_kind_of_end(ended, records, error, status, level):
    end_by(error)
    wait_until(lambda: ended)
    assert (ended.only.status, ended.only.error) == (status, error)
    (record,) = records()
    assert (record.levelno, record.status, record.current) == (level, status, 3)
    assert bool(record.exc_info) == (level == logging.ERROR)


@needs_groups
@pytest.mark.parametrize(
    ('errors', 'level'),
    [
        ([ProgressError('Line 3'), TaskCancelled()], logging.WARNING),
        ([TaskCancelled(), TaskCancelled()], logging.INFO),
        ([ProgressError('Line 3'), ValueError('a fault')], logging.ERROR),
    ],
)
def test_the_exceptions_in_a_group_decide_the_level(ended, records, errors, level):
    end_by(builtins.ExceptionGroup('several', errors))
    (record,) = records()
    assert (record.levelno, bool(record.exc_info)) == (level, level == logging.ERROR)


def test_the_traceback_is_in_the_log(ended, caplog):
    end_by(ZeroDivisionError('a fault'))
    assert 'in end_by' in caplog.text
    assert 'ZeroDivisionError: a fault' in caplog.text


def test_a_dropped_task_is_announced_in_the_publisher_s_thread(ended, records):
    task = start_task('Import', owner='mary', progress_id='job')
    del task
    gc.collect()
    wait_until(lambda: ended)
    event, thread = ended[0]
    assert (event.status, event.owner, event.error) == ('failed', 'mary', None)
    assert thread.name == 'pyramid_progress'
    assert [record.levelno for record in records()] == [logging.WARNING]


def test_an_interrupted_task_is_announced_in_the_publisher_s_thread(ended, records):
    task = start_task('Import', progress_id='job')
    publisher.stop()
    event, thread = ended[0]
    assert (event.progress_id, event.status) == ('job', 'failed')
    assert thread.name == 'pyramid_progress'
    task.finish()
    assert len(ended) == len(records()) == 1


def test_a_task_that_exits_is_announced_in_the_publisher_s_thread(ended):
    end_by(SystemExit())
    wait_until(lambda: ended)
    assert ended[0][1].name == 'pyramid_progress'


def test_only_the_first_end_of_a_task_is_announced(ended, records):
    task = start_task('Import')
    task.finish()
    task.finish()
    end_by(ValueError())
    assert [event.status for event, _ in ended] == ['finished', 'failed']
    assert len(records()) == 2


def test_an_end_by_the_functions_is_not_announced(ended, records):
    with start_task('Import', progress_id='job'):
        set_progress_status('job', 'failed')
        assert ended == records() == []


def test_an_end_that_the_store_refuses_is_announced_once(ended, records):
    task = start_task('Import', progress_id='job')
    storage = current_store().storage
    storage.refused.add('job')
    task.finish()
    assert [event.status for event, _ in ended] == ['finished']
    storage.refused.clear()
    wait_until(lambda: storage.get_many(['job'])['job']['status'] == '"finished"')
    assert len(ended) == len(records()) == 1


def test_subscribers_of_other_applications_are_not_notified(ended):
    other, of_other = make()
    with other:
        task = start_task('Import')
    task.finish()
    assert ended == []
    assert of_other.only.label == 'Import'


def test_a_subscriber_that_raises_breaks_nothing(caplog):
    config, ended = make()

    def fail(event):
        raise LookupError('no such mail server')

    config.add_subscriber(fail, 'pyramid_progress.TaskEnded')
    config.commit()
    with config:
        with start_task('Import', progress_id='job'):
            pass
        dropped = start_task('Export', progress_id='dropped')
        del dropped
        gc.collect()
        statuses = wait_until(lambda: len(ended) == 2 and current_store().storage.get_many(['job', 'dropped']))
        with pytest.raises(ValueError, match='a fault'), start_task('Mail'):
            raise ValueError('a fault')
        # The publisher's thread goes on.
        with start_task('Report', progress_id='next') as task:
            task.advance(2)
            wait_until(lambda: current_store().storage.get_many(['next'])['next']['current'] == '2')
    assert [statuses[name]['status'] for name in ('job', 'dropped')] == ['"finished"', '"failed"']
    assert 'A subscriber of TaskEnded raised an exception for task job' in caplog.text
    assert 'LookupError: no such mail server' in caplog.text
