"""The task object: its values, its ends, and what it does when the store fails."""

import asyncio
import builtins
import gc
import numbers
import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import pytest
from pyramid.i18n import TranslationStringFactory
from pyramid.registry import Registry
from support.waiting import wait_until

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
from pyramid_progress.model.record import CANCEL, HEARTBEAT
from pyramid_progress.model.status import record_to_status
from pyramid_progress.runtime import current_store
from pyramid_progress.work.task import open_task
from pyramid_progress.work.threads import WorkerThreads


@pytest.fixture(autouse=True)
def _memory():
    configure({'cache.regions': 'default, persistent', 'cache.type': 'memory'})


def status_of(task):
    """Return the status of a task without acknowledging its end."""
    storage = current_store().storage
    record = storage.get_many([task.id]).get(task.id)
    return record_to_status(record, storage.now) if record else {'status': 'unknown'}


def published(task, **values):
    """Wait until the store has these values of a task."""
    return wait_until(lambda: values.items() <= status_of(task).items() and status_of(task))


def ask_to_cancel(task):
    current_store().storage.update_active({task.id: {CANCEL: 'true'}}, 60)


_ = TranslationStringFactory('shop')

#: Built in from Python 3.11 on.
ExceptionGroup = getattr(builtins, 'ExceptionGroup', None)
needs_groups = pytest.mark.skipif(ExceptionGroup is None, reason='Python 3.10 has no exception groups')


UNEXPECTED = 'An unexpected error ended this task.'


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

    def test_finish_stores_a_message_and_a_result(self):
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

    def test_an_exception_makes_it_failed_and_propagates(self, caplog):
        with pytest.raises(ZeroDivisionError), start_task('Import') as task:
            raise ZeroDivisionError('a secret')
        status = status_of(task)
        assert status['status'] == 'failed'
        assert 'secret' not in status['message']
        assert 'a secret' in caplog.text
        assert task.id not in get_running_tasks()

    def test_the_text_of_a_progress_error_becomes_the_message(self):
        with pytest.raises(ProgressError), start_task('Import') as task:
            raise ProgressError('Line 3 has two columns')
        assert status_of(task)['message'] == 'Line 3 has two columns'

    def test_a_dropped_task_is_failed(self):
        task = start_task('Import')
        progress_id = task.id
        del task
        gc.collect()
        wait_until(lambda: get_progress_status(progress_id)['status'] == 'failed')

    def test_a_loop_holds_its_task(self):
        steps = start_task('Import', progress_id='held').track(range(3))
        next(steps)
        gc.collect()
        time.sleep(0.3)
        assert get_progress_status('held')['status'] == 'running'
        del steps
        gc.collect()
        wait_until(lambda: get_progress_status('held')['status'] == 'failed')

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
            (lambda: start_task('x', progress_id=''), ValueError, 'progress_id'),
            (lambda: setattr(start_task('x'), 'message', object()), TypeError, 'message'),
            (lambda: start_task('x').finish(result={'url': b'x'}), TypeError, 'result'),
            (lambda: start_task('x').finish(result='/export'), TypeError, 'result'),
            (lambda: start_task('x').stage({1}).__enter__(), TypeError, 'label'),
        ],
    )
    def test_an_invalid_value_is_refused_where_it_is_given(self, use, error, name):
        with pytest.raises(error, match=name):
            use()


class Unprintable(ProgressError):
    def __str__(self):
        raise RuntimeError('no text')


@needs_groups
@pytest.mark.parametrize(
    ('errors', 'status', 'message'),
    [
        (lambda: [TaskCancelled()], 'cancelled', None),
        (lambda: [TaskCancelled(), ExceptionGroup('', [TaskCancelled(), TaskCancelled()])], 'cancelled', None),
        (lambda: [ProgressError('Line 7')], 'failed', 'Line 7'),
        (
            lambda: [TaskCancelled(), ExceptionGroup('', [ProgressError('Line 7'), ProgressError('8')])],
            'failed',
            'Line 7',
        ),
        (lambda: [ProgressError('Line 7'), KeyError()], 'failed', UNEXPECTED),
        (lambda: [TaskCancelled(), ExceptionGroup('', [KeyError()])], 'failed', UNEXPECTED),
        (lambda: [Unprintable(), TaskCancelled()], 'failed', UNEXPECTED),
    ],
)
def test_a_group_of_exceptions_ends_a_task_as_what_is_in_it(errors, status, message):
    group = ExceptionGroup('several', errors())
    with pytest.raises(ExceptionGroup) as raised, start_task('Import') as task:
        raise group
    assert raised.value is group
    assert (status_of(task)['status'], status_of(task)['message']) == (status, message)


@needs_groups
def test_a_group_with_an_exit_interrupts_a_task():
    with pytest.raises(BaseExceptionGroup), start_task('Import') as task:  # noqa: F821
        raise BaseExceptionGroup('', [TaskCancelled(), SystemExit()])  # noqa: F821
    assert wait_until(lambda: has_ended(task))['message'] == 'This task was interrupted.'


@needs_groups
def test_a_cancel_in_an_asyncio_task_group_cancels_a_task():
    async def part(task):
        while True:
            task.advance()
            await asyncio.sleep(0.01)

    async def work(task):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(part(task))

    with pytest.raises(ExceptionGroup), start_task('Fetching') as task:
        ask_to_cancel(task)
        asyncio.run(asyncio.wait_for(work(task), 10))
    assert status_of(task)['status'] == 'cancelled'


def test_a_group_of_the_backport_for_python_3_10_is_recognised():
    class Group(Exception):
        exceptions = (TaskCancelled(), TaskCancelled())

    with pytest.raises(Group), start_task('Import') as task:
        raise Group
    assert status_of(task)['status'] == 'cancelled'


class TestText:
    @pytest.mark.parametrize(
        ('error', 'message'),
        [
            (ProgressError('Line 3'), 'Line 3'),
            (ProgressError(), ''),
            (ProgressError('Line', 3), "('Line', 3)"),
            (ProgressError(3), '3'),
            (ProgressError(_('bad-line', default='Line ${n} is bad', mapping={'n': 3})), 'Line 3 is bad'),
            (ProgressError(_('bad-line')), 'bad-line'),
            (ProgressError('a\ud800'), 'a\ufffd'),
        ],
    )
    def test_the_text_of_a_progress_error(self, error, message):
        with pytest.raises(ProgressError), start_task('Import') as task:
            raise error
        assert status_of(task)['message'] == message

    def test_a_subclass_may_have_a_text_of_its_own(self):
        class BadLine(ProgressError):
            def __str__(self):
                return f'Line {self.args[0]} is bad'

        with pytest.raises(BadLine), start_task('Import') as task:
            raise BadLine('3')
        assert status_of(task)['message'] == 'Line 3 is bad'

    @pytest.mark.parametrize(
        'error',
        [Unprintable(), ProgressError(_('x', default='${n}', mapping={'n': Unprintable()}))],
        ids=['str', 'mapping'],
    )
    def test_an_error_without_a_text_ends_the_task_and_propagates(self, error, caplog):
        with pytest.raises(ProgressError) as raised, start_task('Import') as task:
            raise error
        assert raised.value is error
        assert (status_of(task)['status'], status_of(task)['message']) == ('failed', UNEXPECTED)
        assert 'The text of a' in caplog.text


class TestPosition:
    def test_the_publisher_stores_it(self):
        with start_task('Import', length=10) as task:
            task.advance()
            task.advance(2.5)
            task.message = 'Row 3'
            published(task, current=3.5, message='Row 3')
            task.current = 7
            task.length = 20
            published(task, current=7, length=20)

    def test_an_int_of_any_size_stays_as_it_is(self):
        with start_task('Import', length=10**401) as task, start_task('Other') as other:
            task.current = 10**400
            published(task, current=10**400, length=10**401)
            task.advance(0.5)
            task.advance(1)
            published(task, current=10**400 + 1)
            with task.stage('Rest', 10**401):
                task.length = 10**400
                task.current = 0.25 * 10**300
                other.advance()
                published(other, current=1)
            assert task.current == 10**400 + 1 + 10**401

    def test_a_position_beyond_every_number_does_not_disturb_other_tasks(self):
        with start_task('Import') as task, start_task('Other') as other:
            task.advance(1e308)
            task.advance(1e308)
            published(task, current=None)
            task.advance(10**4299)
            task.current = 10**4299 * 9
            task.advance(10**4299 * 9)
            other.advance()
            published(task, current=None)
            published(other, current=1)
            task.current = 3
            published(task, current=3)

    def test_current_can_be_set_inside_a_loop(self):
        with start_task('Import') as task:
            for number in task.track(range(4)):
                if number == 2:
                    task.current = 0.5
                    assert task.current == 0.5
            assert task.current == 2.5

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

    def test_a_message_that_is_changed_afterwards_stays_as_it_was_set(self):
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

    def test_steps_of_several_threads_are_all_counted(self):
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


class Amount:
    """A number of another library, as numpy's are: registered, and without a base class of Python's."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f'Amount({self.value!r})'


class WholeAmount(Amount):
    def __index__(self):
        return self.value


class PartAmount(Amount):
    def __float__(self):
        return self.value


numbers.Integral.register(WholeAmount)
numbers.Real.register(PartAmount)


def _with_stage(weight):
    with start_task('Import', length=100) as task:
        with task.stage('Reading', weight):
            pass
        return task.current


def _advanced(value):
    with start_task('Import') as task:
        task.advance(value)
        return task.current


def _set(name, value):
    with start_task('Import') as task:
        setattr(task, name, value)
        return getattr(task, name)


#: Each use of a number: the name of the argument, and a function that returns what became of it.
USES = {
    'advance': ('n', _advanced),
    'current': ('current', lambda value: _set('current', value)),
    'length': ('length', lambda value: _set('length', value)),
    'start_task': ('length', lambda value: start_task('Import', length=value).length),
    'weight': ('weight', _with_stage),
    'init length': ('length', lambda value: _function(init_progress_status, None, 'Import', length=value)['length']),
    'init current': (
        'current',
        lambda value: _function(init_progress_status, None, 'Import', current=value)['current'],
    ),
    'set length': ('length', lambda value: _function(set_progress_status, length=value)['length']),
    'set current': ('current', lambda value: _function(set_progress_status, current=value)['current']),
}


def _function(function, *args, **values):
    progress_id = new_progress_id()
    function(progress_id, *args, **values)
    return get_progress_status(progress_id)


@pytest.mark.parametrize('use', USES)
class TestNumbers:
    @pytest.mark.parametrize(
        ('value', 'number'),
        [
            (7, 7),
            (2.5, 2.5),
            (10**400, 10**400),
            (WholeAmount(7), 7),
            (PartAmount(2.5), 2.5),
            (Fraction(1, 2), 0.5),
            (Fraction(4, 2), 2.0),
            (Decimal('2.5'), 2.5),
            (IntEnum('Amounts', {'SEVEN': 7}).SEVEN, 7),
        ],
        ids=repr,
    )
    def test_a_real_number_becomes_an_int_or_a_float(self, use, value, number):
        result = USES[use][1](value)
        assert (result, type(result)) == (number, type(number))

    def test_numbers_of_numpy(self, use):
        numpy = pytest.importorskip('numpy')
        for value, number in ((numpy.int64(7), 7), (numpy.uint8(7), 7), (numpy.float32(2.5), 2.5)):
            result = USES[use][1](value)
            assert (result, type(result)) == (number, type(number))
        for value in (numpy.bool_(True), numpy.timedelta64(5, 's'), numpy.array(7)):
            with pytest.raises(TypeError, match=f'^{USES[use][0]} must be a number'):
                USES[use][1](value)

    @pytest.mark.parametrize('value', [True, False, '7', b'7', [7], 7j, ..., Amount(7)], ids=repr)
    def test_anything_else_is_refused(self, use, value):
        with pytest.raises(TypeError, match=f'^{USES[use][0]} must be a number, not '):
            USES[use][1](value)

    @pytest.mark.parametrize(
        'value',
        [
            float('nan'),
            float('inf'),
            -float('inf'),
            PartAmount(float('nan')),
            Decimal('NaN'),
            Decimal('sNaN'),
            Decimal('-Infinity'),
            Decimal('1e400'),
            Fraction(10**400, 3),
        ],
    )
    def test_a_number_that_is_not_finite_or_too_large_is_refused(self, use, value):
        with pytest.raises(ValueError, match=f'^{USES[use][0]} must be a finite number'):
            USES[use][1](value)


@pytest.mark.parametrize('value', [Fraction(7, 2), 3.5])
def test_current_can_be_increased(value):
    with start_task('Import') as task:
        task.current += value
        task.current += value
        assert (task.current, type(task.current)) == (7.0, float)


def test_a_position_cannot_be_none():
    with start_task('Import') as task, pytest.raises(TypeError, match=r'^current must be a number, not None'):
        task.current = None


@pytest.mark.parametrize('name', ['current', 'length'])
def test_an_int_with_more_digits_than_python_writes_is_refused(name):
    with start_task('Import') as task, pytest.raises(ValueError, match=f'^{name} must be a finite number'):
        setattr(task, name, 10**5000)


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

    def test_a_stage_that_an_exception_leaves_at_its_start_does_not_count(self):
        with start_task('Import', length=4) as task:
            with pytest.raises(KeyError), task.stage('Reading', 3):
                raise KeyError
            assert task.current == 0

    @pytest.mark.parametrize('error', [KeyError, ProgressError, TaskCancelled, KeyboardInterrupt])
    def test_a_task_that_an_exception_ends_inside_a_stage_keeps_its_position(self, error):
        with pytest.raises(error), start_task('Census', length=1790) as task:
            task.current = 600
            with task.stage('Counting', 170):
                for number in task.track(range(200)):
                    if number == 100:
                        raise error
        assert wait_until(lambda: has_ended(task))['current'] == 685

    def test_a_task_that_is_cancelled_inside_nested_stages_keeps_its_position(self):
        with pytest.raises(TaskCancelled), start_task('Census', length=1000) as task, task.stage('Counting', 100):
            task.length = 10
            task.advance(2)
            with task.stage('North', 4):
                task.length = 8
                task.advance(6)
                ask_to_cancel(task)
                for _ in iter(int, 1):
                    task.advance(0)
        status = status_of(task)
        assert (status['status'], status['current'], status['length']) == ('cancelled', 50, 1000)

    def test_work_that_goes_on_after_a_failed_stage_keeps_what_that_completed(self):
        with start_task('Import', length=4) as task:
            with suppress(KeyError), task.stage('First file', 2):
                for row in task.track(range(10)):
                    if row == 5:
                        raise KeyError
            assert task.current == 1
            with task.stage('First file again', 2):
                pass
            assert task.current == 3

    @pytest.mark.parametrize(
        ('length', 'done', 'share'),
        [(None, 5, 0), (0, 0, 3), (-1, 0, 0), (10, -5, 0), (10, 20, 3), (10**400, 10**399, 0.3), (10**400, 0.5, 0)],
    )
    def test_a_stage_that_is_left_early_counts_for_what_is_completed(self, length, done, share):
        with start_task('Import', length=4) as task:
            with suppress(KeyError), task.stage('Reading', 3):
                task.length = length
                task.current = done
                raise KeyError
            assert task.current == pytest.approx(share, abs=1e-300)


def has_ended(task):
    """Return the status of a task that has failed or was cancelled."""
    status = status_of(task)
    return status if status['status'] in ('failed', 'cancelled') else None


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
                    wait_until(lambda: task.run.is_cancelled)
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
        """Make the store fail, and return a function that repairs it."""
        storage = current_store().storage

        def fail(*args):
            raise StorageError('down')

        for name in ('start', 'update', 'update_active'):
            monkeypatch.setattr(storage, name, fail)
        return monkeypatch.undo

    def test_work_goes_on_and_the_end_is_stored_when_it_is_back(self, broken, caplog):
        with start_task('Import') as task:
            for _ in task.track(range(1000)):
                pass
            time.sleep(0.5)
        broken()
        status = wait_until(lambda: status_of(task)['status'] == 'finished' and status_of(task))
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
            current_store().storage.delete(task.id)
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

    def test_an_end_that_another_process_stored_stays(self):
        with start_task('Import') as task:
            set_progress_status(task.id, 'failed', message='Stopped by hand')
            time.sleep(0.5)
            task.advance()
        assert status_of(task)['message'] == 'Stopped by hand'


class TestHeartbeat:
    def test_a_task_is_stalled_after_three_missed_heartbeats(self):
        task = start_task('Import')
        record = current_store().storage.get_many([task.id])[task.id]
        init_progress_status('dead', None, 'Import')
        now = current_store().storage.now()
        for age, expected in ((14, 'running'), (16, 'stalled')):
            current_store().storage.update_active({'dead': record | {HEARTBEAT: repr(now - age)}}, 60)
            assert get_progress_status('dead')['status'] == expected
        task.finish()

    def test_a_status_without_a_heartbeat_never_stalls(self):
        init_progress_status('plain', None, 'Import')
        assert HEARTBEAT not in current_store().storage.get_many(['plain'])['plain']

    def test_internal_members_are_not_in_a_status(self):
        with start_task('Import') as task:
            assert not [name for name in get_progress_status(task.id) if name.startswith('_')]


#: Each of these ends while a task runs, and prints the task's id first.
ENDINGS = {
    'exit': 'sys.exit()',
    'sigterm': 'process.handle_sigterm(True); os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)',
    'exception': 'raise ValueError',
}


@pytest.mark.parametrize('ending', ENDINGS)
def test_the_end_of_the_process_interrupts_a_task(tmp_path, ending):
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'file', 'cache.data_dir': str(tmp_path)}
    script = f"""
        import os, signal, sys, time, pyramid_progress
        from pyramid_progress.system import process
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
def test_a_forked_child_publishes_only_its_own_tasks(tmp_path):
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
def test_a_forked_child_has_worker_threads_of_its_own():
    go_on = threading.Event()
    registry = Registry()
    workers = WorkerThreads(1, registry)
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
