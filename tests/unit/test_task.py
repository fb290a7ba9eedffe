"""The task object: what it tells of a work, and how it ends."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from decimal import Decimal
from fractions import Fraction

import pytest

from pyramid_progress import (
    ProgressError,
    StorageError,
    TaskCancelled,
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    new_progress_id,
    set_progress_status,
    start_task,
)
from pyramid_progress.regions import store
from pyramid_progress.storage.record import BEAT, CANCEL, public
from pyramid_progress.task import open_task
from pyramid_progress.workers import Workers


@pytest.fixture(autouse=True)
def _memory():
    configure({'cache.regions': 'default, persistent', 'cache.type': 'memory'})


def wait_for(condition, seconds=5):
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, 'it did not happen in time'
        time.sleep(0.01)
    return result


def status_of(task):
    """Look at a status, without taking the end."""
    storage = store().storage
    record = storage.read([task.id]).get(task.id)
    return public(record, storage.now) if record else {'status': 'unknown'}


def published(task, **values):
    """Wait until the store knows these values of a task."""
    return wait_for(lambda: values.items() <= status_of(task).items() and status_of(task))


def ask_to_cancel(task):
    store().storage.amend({task.id: {CANCEL: 'true'}}, 60)


class TestLife:
    def test_a_task_exists_from_the_call_on(self):
        task = start_task('Import', owner='mary', length=10, tags=['x'])
        assert task.id in get_running_tasks()
        status = get_progress_status(task.id)
        assert status.pop('started')
        assert status == {
            'status': 'running',
            'owner': 'mary',
            'label': 'Import',
            'tags': ['x'],
            'length': 10,
            'current': 0,
            'message': None,
        }
        task.finish()

    def test_leaving_the_block_finishes_it(self):
        with start_task('Import') as task:
            task.message = 'Row 1'
        status = get_progress_status(task.id)
        assert (status['status'], status['message']) == ('finished', None)
        assert get_progress_status(task.id) == {'status': 'unknown'}

    def test_finish_tells_of_a_result(self):
        task = start_task('Export')
        task.finish('Done', {'url': '/export.csv', 'text': 'The file'})
        status = get_progress_status(task.id)
        assert status['message'] == 'Done'
        assert status['result'] == {'url': '/export.csv', 'text': 'The file'}

    def test_only_the_first_end_counts(self):
        with start_task('Export') as task:
            task.finish('Done')
            task.finish('Done twice')
        assert status_of(task)['message'] == 'Done'

    def test_an_exception_makes_it_failed_and_goes_on_up(self, caplog):
        with pytest.raises(ZeroDivisionError), start_task('Import') as task:
            raise ZeroDivisionError('for my eyes only')
        status = status_of(task)
        assert status['status'] == 'failed'
        assert 'my eyes' not in status['message']
        assert 'for my eyes only' in caplog.text
        assert task.id not in get_running_tasks()

    def test_a_progress_error_is_for_the_visitor(self):
        with pytest.raises(ProgressError), start_task('Import') as task:
            raise ProgressError('Line 3 has two columns')
        assert status_of(task)['message'] == 'Line 3 has two columns'

    def test_a_dropped_task_is_failed(self):
        task = start_task('Import')
        progress_id = task.id
        del task
        gc.collect()
        wait_for(lambda: get_progress_status(progress_id)['status'] == 'failed')

    def test_a_loop_holds_its_task(self):
        steps = start_task('Import', progress_id='held').track(range(3))
        next(steps)
        gc.collect()
        time.sleep(0.3)
        assert get_progress_status('held')['status'] == 'running'
        del steps
        gc.collect()
        wait_for(lambda: get_progress_status('held')['status'] == 'failed')

    def test_an_id_of_another_owner_is_refused(self):
        init_progress_status('taken', 'mary', 'Import')
        with pytest.raises(ValueError, match='in use by another owner'):
            start_task('Import', owner='john', progress_id='taken')

    def test_ids_cannot_be_guessed(self):
        assert len({new_progress_id() for _ in range(100)}) == 100
        assert len(bytes.fromhex(new_progress_id())) == 16

    @pytest.mark.parametrize(
        ('use', 'error', 'name'),
        [
            (lambda: start_task({1, 2}), TypeError, 'label'),
            (lambda: start_task('x', length='3'), TypeError, 'length'),
            (lambda: start_task('x', length=float('nan')), ValueError, 'length'),
            (lambda: start_task('x', progress_id=''), ValueError, 'progress_id'),
            (lambda: setattr(start_task('x'), 'message', object()), TypeError, 'message'),
            (lambda: setattr(start_task('x'), 'current', 'three'), TypeError, 'current'),
            (lambda: setattr(start_task('x'), 'length', 'three'), TypeError, 'length'),
            (lambda: start_task('x').finish(result={'url': b'x'}), TypeError, 'result'),
            (lambda: start_task('x').finish(result='/export'), TypeError, 'result'),
            (lambda: start_task('x').stage('y', weight='heavy').__enter__(), TypeError, 'weight'),
        ],
    )
    def test_bad_values_are_told_where_they_are_given(self, use, error, name):
        with pytest.raises(error, match=name):
            use()


class TestPosition:
    def test_the_publisher_tells_of_it(self):
        with start_task('Import', length=10) as task:
            task.advance()
            task.advance(2.5)
            task.message = 'Row 3'
            published(task, current=3.5, message='Row 3')
            task.current = 7
            task.length = 20
            published(task, current=7, length=20)

    @pytest.mark.parametrize(
        ('step', 'current'), [(Fraction(1, 2), 0.5), (float('inf'), None), (float('nan'), None), (Decimal(3), 3.0)]
    )
    def test_numbers_that_json_does_not_have_disturb_nobody(self, step, current):
        with start_task('Import') as task, start_task('Other') as other:
            task.advance(step)
            other.advance()
            published(task, current=current)
            published(other, current=1)

    def test_track_counts_what_is_completed(self):
        with start_task('Import') as task:
            seen = []
            for item in task.track('abc'):
                seen.append((item, task.current))
            assert seen == [('a', 0), ('b', 1), ('c', 2)]
            assert (task.current, task.length) == (3, 3)

    def test_track_goes_on_over_many_batches(self):
        with start_task('Import') as task:
            for number in task.track(range(10_000)):
                if number in (4095, 4096, 9_999):
                    assert task.current == number
            assert task.current == 10_000

    def test_a_loop_that_stalls_shows_its_position(self):
        with start_task('Import') as task:
            for number in task.track(range(10)):
                if number == 4:
                    published(task, current=4, length=10)

    def test_a_loop_that_is_left_keeps_what_it_completed(self):
        with start_task('Import', length=10) as task:
            for number in task.track(range(10)):
                if number == 4:
                    break
            gc.collect()
            assert task.current == 4
            task.advance()
            assert task.current == 5

    def test_lengths_of_loops_add_up(self):
        with start_task('Import') as task:
            list(task.track('abc'))
            list(task.track('de'))
            assert (task.current, task.length) == (5, 5)

    def test_a_length_that_was_set_stays(self):
        with start_task('Import') as task:
            task.length = 3
            list(task.track('abc'))
            assert (task.current, task.length) == (3, 3)
            with task.stage('Reading'):
                task.length = 50
                list(task.track(range(50)))
                assert task.length == 50

    def test_a_message_that_is_changed_afterwards_disturbs_nobody(self):
        with start_task('Import') as task, start_task('Other') as other:
            message = {'a': 1}
            task.message = message
            message['b'] = object()
            other.advance()
            published(other, current=1)
        assert status_of(task)['status'] == 'finished'

    def test_an_iterable_without_length_is_indeterminate(self):
        with start_task('Import') as task:
            list(task.track(iter('abc')))
            assert (task.current, task.length) == (3, None)

    def test_threads_lose_nothing(self):
        with start_task('Import') as task:

            def work():
                for _ in task.track(range(5_000)):
                    task.advance()

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert task.current == 40_000

    def test_two_tasks_do_not_mix(self):
        with start_task('One', length=5) as one, start_task('Two', length=5) as two:
            for _ in zip(one.track(range(5)), two.track(range(3)), strict=False):
                pass
            two.advance(10)
            assert (one.current, two.current) == (3, 13)


class TestStages:
    def test_a_stage_counts_by_its_weight(self):
        with start_task('Import', length=4) as task:
            with task.stage('Reading', 3):
                for number in task.track(range(6)):
                    if number == 2:
                        published(task, current=1, length=4, message='Reading')
            published(task, current=3, message=None)
            with task.stage('Writing', 1):
                task.length = 10
                task.advance(5)
                task.message = 'Table 1'
                published(task, current=3.5, message='Writing: Table 1')
            assert task.current == 4

    def test_stages_nest(self):
        with start_task('Import', length=1) as task, task.stage('Outer', 1):
            task.length = 2
            with task.stage('Inner', 1):
                task.length = 2
                task.advance()
                published(task, current=0.25, message='Outer: Inner')
            published(task, current=0.5, message='Outer')

    def test_without_a_length_stages_set_the_message(self):
        with start_task('Import') as task, task.stage('Reading', 3):
            list(task.track('abc'))
            published(task, current=0, length=None, message='Reading')

    def test_stages_in_two_threads_do_not_break_the_work(self):
        with start_task('Import', length=2) as task:
            first, second = task.stage('A', 1), task.stage('B', 1)
            first.__enter__()
            second.__enter__()
            first.__exit__(None, None, None)
            second.__exit__(None, None, None)
            assert task.current == 1

    def test_a_stage_that_is_left_by_an_exception_does_not_count(self):
        with start_task('Import', length=4) as task:
            with pytest.raises(KeyError), task.stage('Reading', 3):
                raise KeyError
            assert task.current == 0


class TestCancel:
    @pytest.mark.parametrize(
        'work',
        [
            lambda task: [None for _ in task.track(iter(int, 1))],
            lambda task: [task.advance() for _ in iter(int, 1)],
        ],
        ids=['track', 'advance'],
    )
    def test_it_is_raised_in_the_loop_within_half_a_second(self, work):
        with pytest.raises(TaskCancelled), start_task('Import') as task:
            asked = time.monotonic()
            threading.Timer(0.1, ask_to_cancel, [task]).start()
            work(task)
        assert time.monotonic() - asked < 0.1 + 0.5
        assert status_of(task)['status'] == 'cancelled'
        assert task.id not in get_running_tasks()

    def test_it_is_raised_at_every_later_step(self):
        with start_task('Import') as task:
            ask_to_cancel(task)
            with pytest.raises(TaskCancelled):
                for _ in task.track(iter(int, 1)):
                    pass
            steps = task.track('abc')
            for _ in range(2):
                with pytest.raises(TaskCancelled):
                    next(steps)
            for step in (task.advance, lambda: next(task.track('abc')), task.stage('x').__enter__):
                with pytest.raises(TaskCancelled):
                    step()

    def test_until_then_it_is_cancelling(self):
        with start_task('Import') as task:
            ask_to_cancel(task)
            assert get_progress_status(task.id)['status'] == 'cancelling'

    def test_the_position_stays_where_it_was(self):
        with pytest.raises(TaskCancelled), start_task('Import') as task:
            for number in task.track(range(10**9)):
                if number == 5_000:
                    ask_to_cancel(task)
                    wait_for(lambda: task._state.is_cancelled)
                    assert task.current == 5_000
        assert status_of(task)['current'] == 5_000

    def test_a_task_that_is_not_cancellable_goes_on(self):
        with start_task('Import', cancellable=False) as task:
            ask_to_cancel(task)
            time.sleep(0.5)
            task.advance()


class TestStorageTrouble:
    @pytest.fixture
    def broken(self, monkeypatch):
        """Make the store fail, and return what mends it."""
        storage = store().storage

        def fail(*args):
            raise StorageError('down')

        for name in ('start', 'update', 'amend'):
            monkeypatch.setattr(storage, name, fail)
        return monkeypatch.undo

    def test_work_goes_on_and_the_end_is_told_when_it_is_back(self, broken, caplog):
        with start_task('Import') as task:
            for _ in task.track(range(1000)):
                pass
            time.sleep(0.5)
        broken()
        status = wait_for(lambda: status_of(task)['status'] == 'finished' and status_of(task))
        assert status['current'] == 1000
        assert len([record for record in caplog.records if 'does not answer; the work' in record.message]) == 1

    def test_a_running_task_appears_when_it_is_back(self, broken):
        with start_task('Import') as task:
            task.advance(3)
            broken()
            published(task, status='running', current=3)
            assert task.id in get_running_tasks()

    def test_a_record_that_got_lost_comes_back(self):
        with start_task('Import', owner='mary') as task:
            task.advance(3)
            store().storage.discard(task.id)
            published(task, current=3, owner='mary')

    def test_a_late_end_does_not_end_the_next_task(self, broken):
        start_task('Import', progress_id='again').finish()
        with start_task('Again', progress_id='again') as task:
            broken()
            published(task, status='running', label='Again')
            time.sleep(0.5)
            assert status_of(task)['status'] == 'running'

    def test_nothing_is_written_after_the_end(self):
        configure({'cache.regions': 'default, persistent', 'cache.type': 'memory', 'progress.linger': '0'})
        with start_task('Import') as task:
            task.advance()
        assert get_progress_status(task.id)['status'] == 'finished'
        time.sleep(0.5)
        assert get_progress_status(task.id) == {'status': 'unknown'}

    def test_an_end_from_elsewhere_stays(self):
        with start_task('Import') as task:
            set_progress_status(task.id, 'failed', message='I said so')
            time.sleep(0.5)
            task.advance()
        assert status_of(task)['message'] == 'I said so'


class TestHeartbeat:
    def test_three_missed_beats_are_a_stall(self):
        task = start_task('Import')
        record = store().storage.read([task.id])[task.id]
        init_progress_status('dead', None, 'Import')
        now = store().storage.now()
        for age, expected in ((14, 'running'), (16, 'stalled')):
            store().storage.amend({'dead': record | {BEAT: repr(now - age)}}, 60)
            assert get_progress_status('dead')['status'] == expected
        task.finish()

    def test_a_status_without_a_heart_never_stalls(self):
        init_progress_status('plain', None, 'Import')
        assert BEAT not in store().storage.read(['plain'])['plain']

    def test_bookkeeping_does_not_show(self):
        with start_task('Import') as task:
            assert not [name for name in get_progress_status(task.id) if name.startswith('_')]


#: Each of these ends while a task runs, and prints the task's id first.
ENDINGS = {
    'exit': 'sys.exit()',
    'sigterm': 'pyramid_progress.publisher.end_at_sigterm(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)',
    'exception': 'raise ValueError',
}


@pytest.mark.parametrize('ending', ENDINGS)
def test_the_end_of_the_process_is_an_interruption(tmp_path, ending):
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'file', 'cache.data_dir': str(tmp_path)}
    script = f"""
        import os, signal, sys, time, pyramid_progress, pyramid_progress.publisher
        pyramid_progress.configure({settings!r})
        task = pyramid_progress.start_task('Import')
        print(task.id, flush=True)
        {ENDINGS[ending]}
    """
    started = time.monotonic()
    process = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(script)], capture_output=True, text=True, timeout=20, check=False
    )
    assert time.monotonic() - started < 10
    assert process.returncode == {'exit': 0, 'sigterm': -15, 'exception': 1}[ending]
    configure(settings)
    status = get_progress_status(process.stdout.strip())
    assert (status['status'], status['message']) == ('failed', 'This task was interrupted.')


@pytest.mark.filterwarnings('ignore:.*multi-threaded, use of fork:DeprecationWarning')
def test_a_forked_child_publishes_nothing_of_its_parents(tmp_path):
    configure({'cache.regions': 'default, persistent', 'cache.type': 'file', 'cache.data_dir': str(tmp_path)})
    with start_task('Import') as task:
        pid = os.fork()
        if pid == 0:
            task.advance(100)
            task.finish('I am the child')
            own = start_task('Of the child', progress_id='child')
            own.advance(5)
            time.sleep(0.5)
            os._exit(0)
        os.waitpid(pid, 0)
        task.advance()
        published(task, current=1, status='running')
        assert get_progress_status('child')['current'] == 5


@pytest.mark.filterwarnings('ignore:.*multi-threaded, use of fork:DeprecationWarning')
def test_a_forked_child_has_workers_of_its_own():
    go_on = threading.Event()
    workers = Workers(1, None)
    workers.submit(open_task('pending', 'Of the parent'), lambda task: go_on.wait(5))
    workers.submit(open_task('pending', 'Waits'), lambda task: None)
    pid = os.fork()
    if pid == 0:
        done = []
        workers.submit(open_task('pending', 'Of the child'), lambda task: done.append(task))
        deadline = time.monotonic() + 5
        while not done and time.monotonic() < deadline:
            time.sleep(0.01)
        os._exit(len(done) - 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    go_on.set()
