"""The functions that cancel, forget and read tasks."""

import pytest
from support.storages import faulty_storage
from support.waiting import wait_until

from pyramid_progress import (
    StorageError,
    TaskCancelled,
    cancel_task,
    forget_task,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    set_progress_status,
    start_task,
)


@pytest.fixture(autouse=True)
def storage():
    return faulty_storage()


class TestCancelTask:
    def test_the_task_is_asked_to_stop(self):
        with pytest.raises(TaskCancelled), start_task('Import', progress_id='job') as task:
            assert cancel_task('job') is True
            assert get_progress_status('job')['status'] == 'cancelling'
            assert cancel_task('job') is True, 'once more'
            wait_until(task.advance, 2)
        assert get_progress_status('job')['status'] == 'cancelled'
        assert get_running_tasks() == set()

    @pytest.mark.parametrize('status', ['finished', 'failed', 'cancelled'])
    def test_a_task_that_has_ended_is_not(self, status):
        task = start_task('Import', progress_id='job')
        set_progress_status('job', status)
        assert cancel_task('job') is False
        assert get_progress_status('job')['status'] == status
        task.finish()

    def test_a_task_that_is_not_cancellable_is_not(self):
        init_progress_status('plain', None, 'Import')
        set_progress_status('bare')
        with start_task('Import', progress_id='job', cancellable=False) as task:
            assert [cancel_task(name) for name in ('job', 'plain', 'bare', 'no-such')] == [False] * 4
            task.advance()
        assert [get_progress_status(name)['status'] for name in ('plain', 'bare')] == ['running', 'running']

    def test_a_store_that_is_down_is_an_error(self, storage):
        storage.is_down = True
        with pytest.raises(StorageError):
            cancel_task('job')

    def test_the_task_object_cancels_itself(self):
        with pytest.raises(TaskCancelled), start_task('Import', progress_id='job') as task:
            assert task.cancel() is True
            assert get_progress_status('job')['status'] == 'cancelling'
            assert task.cancel() is True
            task.advance()
        assert get_progress_status('job')['status'] == 'cancelled'
        assert task.cancel() is False

    def test_a_loop_of_a_task_object_that_is_cancelled_stops_at_its_next_step(self):
        done = []
        with pytest.raises(TaskCancelled), start_task('Import') as task:
            for number in task.track(range(100)):
                done.append(number)
                if number == 7:
                    task.cancel()
        assert done == list(range(8))
        assert get_progress_status(task.id)['current'] == 7

    def test_a_task_object_that_is_not_cancellable_goes_on(self):
        with start_task('Import', cancellable=False) as task:
            assert task.cancel() is False
            task.advance()
        assert get_progress_status(task.id)['status'] == 'finished'

    def test_a_task_object_stops_while_the_store_is_down(self, storage):
        with pytest.raises(TaskCancelled), start_task('Import', progress_id='job') as task:
            storage.is_down = True
            assert task.cancel() is True
            task.advance()
        storage.is_down = False
        wait_until(lambda: get_progress_status('job')['status'] == 'cancelled')


class TestForgetTask:
    @pytest.mark.parametrize('status', ['running', 'finished', 'failed', 'cancelled', 'packing'])
    def test_the_record_is_removed(self, status):
        init_progress_status('job', 'mary', 'Import')
        set_progress_status('job', status)
        assert forget_task('job') is True
        assert get_progress_status('job') == {'status': 'unknown'}
        assert get_running_tasks() == set()
        assert list_tasks() == []
        assert forget_task('job') is False

    def test_an_acknowledged_record_is_removed(self):
        init_progress_status('job', 'mary', 'Import')
        set_progress_status('job', 'finished')
        get_progress_status('job')
        assert [status['progress_id'] for status in list_tasks()] == ['job']
        assert forget_task('job') is True
        assert list_tasks() == []

    def test_a_bare_record_is_removed(self):
        set_progress_status('job')
        assert forget_task('job') is True
        assert get_progress_status('job') == {'status': 'unknown'}

    def test_its_id_is_free_for_another_owner(self):
        init_progress_status('job', 'mary', 'Import')
        with pytest.raises(ValueError, match="progress_id 'job' is in use by another owner"):
            init_progress_status('job', 'john', 'Import')
        forget_task('job')
        init_progress_status('job', 'john', 'Import')
        assert get_progress_status('job')['owner'] == 'john'


@pytest.mark.parametrize('function', [cancel_task, forget_task])
@pytest.mark.parametrize(('progress_id', 'error'), [(None, TypeError), ('', ValueError), ('a\n', ValueError)])
def test_an_invalid_id_is_refused(function, progress_id, error):
    with pytest.raises(error, match='progress_id'):
        function(progress_id)


class TestAcknowledge:
    @pytest.fixture(autouse=True)
    def _finished(self):
        init_progress_status('job', 'mary', 'Import')
        set_progress_status('job', 'finished')

    def test_a_reader_may_leave_the_end_unacknowledged(self):
        for _ in range(2):
            assert get_progress_status('job', acknowledge=False)['status'] == 'finished'
        assert get_running_tasks() == {'job'}
        assert get_progress_status('job')['status'] == 'finished'
        assert get_progress_status('job', acknowledge=False) == {'status': 'unknown'}

    def test_a_store_that_cannot_be_written_is_read_all_the_same(self, storage, caplog):
        storage.refused.add('job')
        for _ in range(2):
            assert get_progress_status('job')['status'] == 'finished'
        assert 'The end of task job cannot be acknowledged' in caplog.text
        storage.refused.clear()
        assert get_progress_status('job')['status'] == 'finished'
        assert get_progress_status('job') == {'status': 'unknown'}

    @pytest.mark.parametrize('status', ['finished', 'failed', 'cancelled'])
    def test_another_owner_may_reuse_an_id_after_the_end(self, status):
        init_progress_status('other', 'mary', 'Import')
        set_progress_status('other', status)
        init_progress_status('other', 'john', 'Export')
        assert (get_progress_status('other')['owner'], get_progress_status('other')['status']) == ('john', 'running')
