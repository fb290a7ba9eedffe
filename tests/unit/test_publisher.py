"""The publisher: stores that refuse or lose records, several runs of an id, and ends that are not taken."""

import gc
import logging
import threading
import time

import pytest
from beaker.cache import cache_regions
from support.storages import faulty_storage
from support.waiting import wait_until

import pyramid_progress.work.publisher as module
from pyramid_progress import (
    TaskCancelled,
    cancel_task,
    get_progress_status,
    init_progress_status,
    set_progress_status,
    start_task,
)
from pyramid_progress.model.record import HEARTBEAT, RUN, new_run
from pyramid_progress.work import run


@pytest.fixture
def storage():
    return faulty_storage()


def status_of(progress_id, name='status'):
    return get_progress_status(progress_id, acknowledge=False).get(name)


def rounds(count=2):
    """Wait for the publisher to do some rounds."""
    time.sleep((count + 0.5) * module.INTERVAL)


def messages(caplog, text):
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


class TestRefusals:
    def test_an_end_that_is_refused_holds_back_nothing_else(self, storage):
        bad, good, other = start_task('Bad', progress_id='bad'), start_task('Good'), start_task('Other')
        storage.refused.add('bad')
        bad.finish()
        for current in (1, 2):
            good.advance()
            wait_until(lambda: status_of(good.id, 'current') == current, 1)  # noqa: B023
        other.finish('Done')
        wait_until(lambda: status_of(other.id) == 'finished', 1)
        assert status_of('bad') == 'running'
        storage.refused.clear()
        wait_until(lambda: status_of('bad') == 'finished', 1)
        good.finish()

    def test_an_update_that_is_refused_holds_back_nothing_else(self, storage):
        with start_task('Bad', progress_id='bad') as bad, start_task('Good') as good:
            storage.refused.add('bad')
            bad.advance(5)
            good.advance(3)
            wait_until(lambda: status_of(good.id, 'current') == 3, 1)
            cancel_task(good.id)
            with pytest.raises(TaskCancelled):
                wait_until(good.advance, 1)
            assert status_of('bad', 'current') == 0
            storage.refused.clear()
            wait_until(lambda: status_of('bad', 'current') == 5, 1)

    def test_a_store_that_is_down_is_logged_once_and_so_is_its_recovery(self, storage, caplog):
        with start_task('Import', progress_id='job') as task:
            storage.is_down = True
            task.advance(2)
            rounds(3)
            storage.is_down = False
            wait_until(lambda: status_of('job', 'current') == 2, 1)
        assert len(messages(caplog, 'The store of progress does not answer; the work goes on')) == 1
        assert len(messages(caplog, 'The store of progress answers again')) == 1

    def test_a_task_that_starts_while_the_store_is_down_appears_later(self, storage):
        storage.is_down = True
        with start_task('Import', owner='mary', progress_id='job') as task:
            task.advance(2)
            rounds()
            storage.is_down = False
            wait_until(lambda: status_of('job', 'current') == 2, 1)
            assert (status_of('job', 'owner'), status_of('job', 'label')) == ('mary', 'Import')

    def test_an_end_that_is_never_taken_is_an_error_in_the_log(self, storage, caplog, monkeypatch):
        monkeypatch.setattr(module, 'END_TIMEOUT', 3 * module.INTERVAL)
        task = start_task('Import', progress_id='job')
        storage.refused.add('job')
        task.finish('Done')
        assert messages(caplog, 'did not take the end') == []
        (record,) = wait_until(lambda: [each for each in caplog.records if 'did not take' in each.getMessage()], 3)
        assert record.levelno == logging.ERROR
        assert record.getMessage().startswith('The store did not take the end of task job: ')
        assert '"finished"' in record.getMessage()
        assert '"Done"' in record.getMessage()
        # It is given up.
        storage.refused.clear()
        rounds()
        assert status_of('job') == 'running'
        assert len(messages(caplog, 'did not take the end')) == 1

    def test_those_that_were_refused_do_not_delay_the_others_in_the_next_round(self, storage, monkeypatch):
        """As tasks of a cluster whose server is down, while other servers answer."""
        order, update = [], storage.update_active
        monkeypatch.setattr(
            storage, 'update_active', lambda changes, *args: order.append([*changes]) or update(changes, *args)
        )
        names = [f'task {number}' for number in range(5)]
        tasks = [start_task('Work', progress_id=name) for name in names]
        storage.refused.update(names[:3])
        rounds(3)
        last = order[-order[::-1].index(next(call for call in order[::-1] if len(call) == 5)) :]
        assert {call[0] for call in last[:2]} <= {'task 3', 'task 4'}
        storage.refused.clear()
        for task in tasks:
            task.finish()

    def test_a_region_that_is_not_set_up_any_more_does_not_stop_the_thread(self, storage, caplog):
        with start_task('Ended'):
            pass
        regions = dict(cache_regions)
        cache_regions.clear()
        wait_until(lambda: messages(caplog, 'It cannot be checked'), 5)
        cache_regions.update(regions)
        with start_task('Other') as task:
            task.advance()
            wait_until(lambda: status_of(task.id, 'current') == 1, 5)


def test_a_heartbeat_that_is_being_written_does_not_wake_a_task_that_rests(storage, monkeypatch):
    is_writing, may_write, update = threading.Event(), threading.Event(), storage.update_active

    def slowly(changes, *args):
        is_heartbeat = any(HEARTBEAT in change for change in changes.values())
        if is_heartbeat and threading.current_thread().name == 'pyramid_progress' and not is_writing.is_set():
            is_writing.set()
            assert may_write.wait(5)
        return update(changes, *args)

    monkeypatch.setattr(run, 'HEARTBEAT_INTERVAL', 0.5)
    with start_task('Work', length=10) as task:
        parts = task.parts(2)
        monkeypatch.setattr(storage, 'update_active', slowly)
        assert is_writing.wait(10)  # at the next heartbeat
        threading.Timer(0.5, may_write.set).start()
    wait_until(lambda: storage.get_many([task.id])[task.id][HEARTBEAT] == run.AT_REST, 5)
    rounds()
    assert storage.get_many([task.id])[task.id][HEARTBEAT] == run.AT_REST
    for part in parts:
        with part.start():
            pass


class TestRuns:
    """A run never changes a newer one of its id."""

    def test_an_end_of_an_earlier_run_changes_nothing(self, storage, caplog):
        caplog.set_level(logging.INFO)
        old = start_task('Old', progress_id='nightly')
        with start_task('New', progress_id='nightly') as new:
            old.finish('Done')
            rounds()
            assert (status_of('nightly'), status_of('nightly', 'label')) == ('running', 'New')
            new.advance(4)
            wait_until(lambda: status_of('nightly', 'current') == 4, 1)
        assert (status_of('nightly'), status_of('nightly', 'message')) == ('finished', None)
        assert len(messages(caplog, 'Task nightly was started anew: its earlier run is no longer published.')) == 1

    def test_the_position_of_an_earlier_run_is_not_published(self, storage, caplog):
        caplog.set_level(logging.INFO)
        old = start_task('Old', progress_id='nightly')
        with start_task('New', progress_id='nightly'):
            old.current = 77
            old.message = 'From the old run'
            rounds(3)
            assert (status_of('nightly', 'current'), status_of('nightly', 'message')) == (0, None)
        assert len(messages(caplog, 'was started anew')) == 1

    def test_runs_that_start_in_the_same_millisecond_are_ordered(self):
        numbers = [new_run(1_700_000_000 + step / 1_000_000) for step in range(3000)]
        assert numbers == sorted(set(numbers))
        assert {len(number) for number in numbers} == {24}

    def test_an_earlier_run_that_is_dropped_changes_nothing(self, storage):
        """As in a notebook: ``task = start_task(…)`` is executed twice."""
        task = start_task('Import', progress_id='nightly')
        task = start_task('Import', progress_id='nightly')
        gc.collect()
        rounds()
        assert status_of('nightly') == 'running'
        task.finish()

    def test_an_earlier_run_is_superseded_by_the_functions_too(self, storage):
        with start_task('Old', progress_id='nightly') as old:
            init_progress_status('nightly', None, 'New', length=9)
            old.advance(3)
            rounds()
        assert (status_of('nightly'), status_of('nightly', 'label')) == ('running', 'New')
        assert (status_of('nightly', 'current'), status_of('nightly', 'length')) == (None, 9)

    def test_an_earlier_run_can_still_be_cancelled(self, storage):
        old, new = start_task('Old', progress_id='nightly'), start_task('New', progress_id='nightly')
        rounds()
        assert cancel_task('nightly')
        for task in (old, new):
            with pytest.raises(TaskCancelled):
                wait_until(task.advance, 2)
            task.finish()

    def test_an_earlier_run_whose_end_waits_for_the_store_changes_nothing(self, storage):
        old = start_task('Old', progress_id='nightly')
        storage.refused.add('nightly')
        old.finish('Done')
        rounds()
        storage.refused.clear()
        with start_task('New', progress_id='nightly'):
            rounds(3)
            assert (status_of('nightly'), status_of('nightly', 'label')) == ('running', 'New')


class TestRestore:
    """A run that the store lost is written again."""

    @pytest.fixture
    def task(self, storage):
        task = start_task('Import', owner='mary', tags=['x'], length=9, progress_id='job')
        task.advance(3)
        wait_until(lambda: status_of('job', 'current') == 3)
        yield task
        task.finish()

    def test_where_there_is_no_record(self, storage, task):
        storage.delete('job')
        wait_until(lambda: status_of('job', 'current') == 3, 1)
        assert (status_of('job', 'owner'), status_of('job', 'tags'), status_of('job', 'length')) == ('mary', ['x'], 9)

    def test_where_there_is_a_bare_record(self, storage, task):
        storage.delete('job')
        set_progress_status('job', message='bare')
        wait_until(lambda: status_of('job', 'owner') == 'mary', 1)
        assert status_of('job', 'message') is None

    @pytest.mark.parametrize(('age', 'label'), [(60, 'Import'), (-60, 'Another run')])
    def test_where_there_is_an_older_run_but_not_where_there_is_a_newer_one(self, storage, task, age, label):
        record = storage.get_many(['job'])['job'] | {RUN: new_run(time.time() - age), 'label': '"Another run"'}
        storage.delete('job')
        storage.start('job', record, 60)
        task.advance()
        rounds(3)
        assert status_of('job', 'label') == label

    def test_an_end_is_written_where_there_is_no_record(self, storage, task):
        storage.delete('job')
        task.finish('Done')
        assert (status_of('job'), status_of('job', 'message'), status_of('job', 'owner')) == (
            'finished',
            'Done',
            'mary',
        )

    def test_a_task_that_was_forgotten_is_written_again(self, storage, task):
        # Its publisher cannot know whether the store lost it.
        assert storage.delete('job')
        task.message = 'Row 4'
        wait_until(lambda: status_of('job', 'message') == 'Row 4', 1)
