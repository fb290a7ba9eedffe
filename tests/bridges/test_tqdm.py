"""tqdm's bars feed the task: those of this package, and those of libraries that do not know it."""

import asyncio
import contextvars
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
from beaker.cache import cache_regions
from support.waiting import wait_until

from pyramid_progress import TaskCancelled, get_progress_status, get_running_tasks, start_task
from pyramid_progress.model.record import CANCEL
from pyramid_progress.runtime import current_store
from pyramid_progress.work.task import current_task

pytest.importorskip('tqdm')

import tqdm
import tqdm.asyncio
import tqdm.auto
import tqdm.contrib
import tqdm.contrib.concurrent

from pyramid_progress.tqdm import feeding
from pyramid_progress.tqdm import tqdm as our_tqdm
from pyramid_progress.tqdm import trange as our_trange


class OfALibrary(tqdm.tqdm):
    """A class of a library, made before there is a task."""

    def update(self, n=1):
        return super().update(n)


KINDS = {
    'ours': our_tqdm,
    'std': tqdm.tqdm,
    'auto': tqdm.auto.tqdm,
    'asyncio': tqdm.asyncio.tqdm_asyncio,
    'inherited': OfALibrary,
}


@pytest.fixture(autouse=True)
def _memory():
    cache_regions.update({'default': {'type': 'memory'}, 'persistent': {'type': 'memory'}})


@pytest.fixture(params=KINDS)
def kind(request):
    """A class of bars, in a block where they feed; our own needs no such block."""
    if request.param == 'ours':
        yield our_tqdm
    else:
        with feeding():
            yield KINDS[request.param]


@pytest.fixture
def bar(kind):
    """A function that makes a bar."""
    return lambda *args, **kwargs: kind(*args, **{'file': io.StringIO()} | kwargs)


@pytest.fixture
def task():
    with start_task('Importing') as task:
        yield task


def stand(task):
    return task.current, task.length


def ask_to_stop(task):
    storage, expire, _ = current_store()
    storage.update_active({task.id: {CANCEL: 'true'}}, expire)


class TestLoop:
    def test_counts_what_is_completed(self, task, bar):
        stands = [stand(task) for _ in bar(range(5))]
        assert stands == [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]
        assert stand(task) == (5, 5)

    def test_without_a_length(self, task, bar):
        for _ in bar(iter('abc')):
            assert task.length is None
        assert stand(task) == (3, None)

    def test_the_total_is_the_length(self, task, bar):
        for _ in bar(iter('abc'), total=4):
            assert task.length == 4
        assert stand(task) == (3, 4)

    def test_positional_arguments(self, task, bar):
        for _ in bar(iter('abc'), 'Letters', 26, False):
            assert (task.message, task.length) == ('Letters', 26)

    def test_initial_counts(self, task, bar):
        assert [task.current for _ in bar(range(2), initial=10, total=12)] == [10, 11]
        assert stand(task) == (12, 12)

    def test_one_after_another_adds_up(self, task, bar):
        for length in (3, 2):
            for _ in bar(range(length)):
                pass
        for _ in task.track('ab'):
            pass
        assert stand(task) == (7, 7)

    def test_a_length_of_its_own_stays(self, bar):
        with start_task('With a length', length=10) as task:
            for _ in bar(range(4)):
                pass
            assert stand(task) == (4, 10)

    def test_left_early(self, task, bar):
        for i in bar(range(10)):
            if i == 3:
                break
        for _ in bar(range(2)):
            pass
        assert stand(task) == (5, 12)

    def test_an_error_propagates(self, task, bar):
        with pytest.raises(ZeroDivisionError):
            for _ in bar(range(10)):
                1 / 0  # noqa: B018
        assert stand(task) == (0, 10)

    def test_an_error_that_is_kept_does_not_keep_a_bar_open(self, task, bar):
        def rows():
            yield 1
            raise ValueError

        with pytest.raises(ValueError) as kept:  # noqa: PT011
            list(bar(rows(), disable=True))
        with pytest.raises(ValueError) as kept_too:  # noqa: PT011
            list(bar(rows()))
        before = task.current
        for _ in bar(range(2)):
            pass
        assert task.current == before + 2
        del kept, kept_too

    def test_in_a_stage(self, task, bar):
        task.length = 4
        with task.stage('Reading', 3):
            for i in bar(range(6)):
                if i == 3:
                    assert stand(task) == (3, 6)
        assert stand(task) == (3, 4)

    def test_the_attributes_of_a_bar_stay_the_same(self, task, bar):
        rows = [1, 2, 3]
        loop = bar(rows)
        assert len(loop) == 3
        assert 2 in loop
        assert list(loop) == rows
        assert loop.iterable is rows
        assert loop.n == loop.total == 3

    def test_a_loop_that_stalls_shows_where_it_is(self, task, bar):
        for i in bar(range(1000), mininterval=60):
            if i == 700:
                wait_until(lambda: get_progress_status(task.id)['current'] == 700)
                break

    def test_trange(self, task):
        assert list(our_trange(2, 8, 3, file=io.StringIO())) == [2, 5]
        assert stand(task) == (2, 2)


class TestByHand:
    def test_update(self, task, bar):
        with bar(total=100) as by_hand:
            by_hand.update(30)
            assert stand(task) == (30, 100)
            by_hand.update()
            by_hand.update(-10)
            assert stand(task) == (21, 100)
        assert stand(task) == (21, 100)

    def test_numbers_of_all_kinds(self, task, bar):
        with bar(total=Fraction(5, 2), unit_scale=0.001) as by_hand:
            for n in (0.5, True, Fraction(1, 2)):
                by_hand.n += n
                by_hand.refresh()
            assert stand(task) == (2.0, 2.5)
            assert {type(value) for value in stand(task)} == {float}

    @pytest.mark.parametrize('nonsense', [float('nan'), float('inf'), None])
    def test_what_is_no_number_changes_nothing(self, task, bar, nonsense):
        by_hand = bar(total=10, disable=True)
        by_hand.update(3)
        by_hand.n = by_hand.total = nonsense
        by_hand.refresh()
        assert stand(task) == (3, 10)

    def test_n_set_by_hand(self, task, bar):
        with bar(total=100) as by_hand:
            by_hand.n = 60
            by_hand.refresh()
            assert task.current == 60
            by_hand.n = 70
        assert task.current == 70

    def test_the_total_becomes_known(self, task, bar):
        with bar() as by_hand:
            by_hand.update(5)
            assert stand(task) == (5, None)
            by_hand.total = 50
            by_hand.refresh()
            assert stand(task) == (5, 50)

    def test_reset(self, task, bar):
        with bar(total=10) as by_hand:
            by_hand.update(10)
            by_hand.reset(total=4)
            assert stand(task) == (0, 4)
            by_hand.update(1)
            assert stand(task) == (1, 4)

    def test_after_its_end_it_feeds_no_more(self, task, bar):
        by_hand = bar(total=10)
        by_hand.update(2)
        by_hand.close()
        by_hand.update(3)
        by_hand.n = 9
        by_hand.refresh()
        assert task.current == 2

    def test_a_stream(self, task, kind):
        with kind.wrapattr(io.BytesIO(bytes(1000)), 'read', total=1000, file=io.StringIO()) as stream:
            while stream.read(100):
                if stream.tell() == 500:
                    assert stand(task) == (500, 1000)
        assert stand(task) == (1000, 1000)

    def test_asynchronous_loop(self, task):
        async def rows():
            for row in range(4):
                yield row

        async def load():
            return [task.current async for _ in our_tqdm(rows(), total=4, file=io.StringIO())]

        # tqdm counts as it hands out, here.
        assert asyncio.run(load()) == [1, 2, 3, 4]
        assert stand(task) == (4, 4)


class TestDisabled:
    def test_loop(self, task, bar):
        for i in bar(range(4), 'Rows', disable=True):
            assert (task.message, *stand(task)) == ('Rows', i, 4)
        assert stand(task) == (4, 4)

    def test_one_after_another(self, task, bar):
        first = bar(range(2), disable=True)
        for _ in first:
            pass
        for _ in bar(range(3), disable=True):
            pass
        assert stand(task) == (5, 5)

    def test_by_hand(self, task, bar):
        with bar(total=4, desc='Bytes', disable=True) as by_hand:
            by_hand.update(3)
            assert stand(task) == (3, 4)
            by_hand.set_description('Bits')
            assert task.message == 'Bits'
            by_hand.reset()
            by_hand.update(1)
            assert stand(task) == (1, 4)

    def test_where_there_is_no_terminal(self, task, bar):
        for _ in bar(range(3), disable=None):
            pass
        assert stand(task) == (3, 3)


class TestInside:
    def test_the_outermost_counts(self, task, bar):
        for _ in bar(range(3)):
            for _ in bar(range(100)):
                pass
            inner = bar(total=50)
            inner.update(20)
            inner.close()
        assert stand(task) == (3, 3)

    def test_the_message_is_the_innermost_description(self, task, bar):
        task.message = 'Before'
        with bar(total=2, desc='Epochs') as outer:
            assert task.message == 'Epochs'
            for batch in (inner := bar(range(2), desc='Batches')):
                assert task.message == ('Batches' if batch == 0 else 'Batch 0')
                inner.set_description(f'Batch {batch}')
                assert task.message == f'Batch {batch}'
            assert task.message == 'Epochs'
            for _ in bar(range(2)):  # it has no description
                assert task.message == 'Epochs'
            outer.set_description_str('Epoch 2', refresh=False)
            outer.refresh()
            assert task.message == 'Epoch 2'
        assert task.message == 'Before'

    def test_a_message_that_the_work_sets_stays(self, task, bar):
        for i in bar(range(2), desc='Rows'):
            task.message = f'Row {i}'
        assert task.message == 'Row 1'

    def test_a_bar_that_was_dropped_has_ended(self, task, bar):
        bar(total=10).update(5)
        for _ in bar(range(2)):
            pass
        assert stand(task) == (7, 12)

    def test_a_bar_inside_a_tracked_loop(self, task, bar):
        for _ in task.track(range(3)):
            for _ in bar(range(100)):
                pass
            with bar(total=50) as by_hand:
                by_hand.update(50)
        assert stand(task) == (3, 3)

    def test_a_tracked_loop_inside_a_bar(self, task, bar):
        for _ in bar(range(3)):
            for _ in task.track(range(100)):
                pass
        with bar(total=2) as by_hand:
            for _ in range(2):
                for _ in task.track(range(100)):
                    pass
                by_hand.update()
        assert stand(task) == (5, 5)

    def test_a_bar_in_the_iterable_of_another(self, task, bar):
        def rows():
            yield from bar(range(4))

        for _ in bar(rows()):
            pass
        assert stand(task) == (4, None)

    def test_a_loop_that_updates_a_bar_around_it(self, task, bar):
        with bar(total=20) as by_hand:
            for _ in range(2):
                for _ in bar(range(5)):
                    by_hand.update(2)
                    assert task.length == 20
        assert stand(task) == (20, 20)

    def test_a_bar_inside_a_loop_that_updates_a_bar_around_it(self, task, bar):
        with bar(total=20) as by_hand:
            for _ in bar(range(2)):
                with bar(total=5) as inner:
                    for _ in range(5):
                        inner.update()
                        by_hand.update(2)
        assert stand(task) == (20, 20)

    def test_a_bar_that_a_loop_around_it_updates(self, task, bar):
        rows = bar(range(10))
        errors = bar(total=3)
        for row in rows:
            if row % 4 == 0:
                errors.update()
        errors.close()
        assert stand(task) == (10, 10)

    def test_inner_bars_that_are_replaced_before_they_are_closed(self, task, bar):
        outer = bar(total=3)
        for _ in range(3):
            inner = bar(total=100)
            for _ in range(100):
                inner.update()
            outer.update()
        inner.close()
        outer.close()
        assert stand(task) == (3, 3)

    @pytest.mark.parametrize('options', [{}, {'disable': True}])
    def test_an_inner_bar_that_is_reset(self, task, bar, options):
        outer, inner = bar(total=3, **options), bar(total=100, **options)
        for _ in range(3):
            inner.reset()
            for _ in range(100):
                inner.update()
            outer.update()
        inner.close()
        outer.close()
        assert stand(task) == (3, 3)

    def test_bars_inside_a_loop_that_waits_for_asynchronous_tasks(self, task, bar):
        async def load(count):
            for _ in bar(range(count)):
                await asyncio.sleep(0)

        async def main():
            for _ in bar(range(3)):
                await asyncio.gather(load(20), load(40))

        asyncio.run(main())
        assert stand(task) == (3, 3)

    def test_bars_inside_an_asynchronous_loop(self, task):
        async def rows():
            for row in range(4):
                yield row

        async def load():
            async for _ in our_tqdm(rows(), total=4, file=io.StringIO()):
                for _ in our_tqdm(range(100), file=io.StringIO()):
                    pass

        asyncio.run(load())
        assert stand(task) == (4, 4)


class TestBeside:
    """Bars that are not inside one another add up."""

    def test_loops_of_asynchronous_tasks(self, task, bar):
        async def load(count):
            for _ in bar(range(count)):
                await asyncio.sleep(0.001)

        async def main():
            await asyncio.gather(load(20), load(40), load(10))

        asyncio.run(main())
        assert stand(task) == (70, 70)

    def test_bars_of_asynchronous_tasks_that_are_updated_by_hand(self, task, bar):
        async def load(count):
            with bar(total=count) as by_hand:
                for _ in range(count):
                    await asyncio.sleep(0.001)
                    by_hand.update()

        async def main():
            await asyncio.gather(load(20), load(40))

        asyncio.run(main())
        assert stand(task) == (60, 60)

    def test_loops_of_threads_with_copied_contexts(self, task, bar):
        seen = []

        def work(count):
            for _ in bar(range(count)):
                time.sleep(0.002)
                seen.append(stand(task))

        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(contextvars.copy_context().run, work, count) for count in (20, 100)]
            for future in futures:
                future.result()
        assert stand(task) == (120, 120)
        assert all(current < length for current, length in seen if length == 120)
        assert [current for current, _ in seen] == sorted(current for current, _ in seen)

    @pytest.mark.parametrize('count', [2, 3, 5])
    def test_bars_that_are_updated_by_hand_in_turn(self, task, bar, count):
        bars = [bar(total=10, position=number) for number in range(count)]
        for step in range(10):
            for by_hand in bars:
                by_hand.update()
            if step:
                assert stand(task) == ((step + 1) * count, 10 * count)
        for by_hand in bars:
            by_hand.close()
        assert stand(task) == (10 * count, 10 * count)

    def test_bars_that_are_set_by_hand_in_turn(self, task, bar):
        with bar(total=10) as first, bar() as second:
            for n in range(1, 11):
                first.n = n
                first.refresh()
                second.n = n / 2
                second.refresh()
            assert stand(task) == (15, 10)
            second.total = 5
            second.refresh()
            assert stand(task) == (15, 15)
        assert stand(task) == (15, 15)

    def test_a_bar_that_is_updated_after_the_first_has_ended(self, task, bar):
        first, second = bar(total=10), bar(total=5)
        first.update(10)
        first.close()
        second.update(5)
        second.close()
        assert stand(task) == (15, 15)

    def test_loops_that_take_turns(self, task, bar):
        for _ in zip(bar(range(5)), bar(range(5)), strict=True):
            pass
        assert stand(task) == (10, 10)

    def test_bars_beside_one_another_inside_a_loop(self, task, bar):
        for _ in bar(range(2)):
            with bar(total=10) as first, bar(total=10) as second:
                for _ in range(10):
                    first.update()
                    second.update()
        assert stand(task) == (2, 2)

    def test_bars_beside_one_another_with_a_length_of_the_task(self, bar):
        with start_task('With a length', length=40) as task, bar(total=10) as first, bar(total=10) as second:
            for _ in range(10):
                first.update()
                second.update()
            assert stand(task) == (20, 40)


@pytest.mark.parametrize('error', [TypeError, AttributeError, NotImplementedError, RuntimeError])
@pytest.mark.parametrize('named', [False, True])
def test_an_iterable_whose_len_raises_has_no_total(task, bar, error, named):
    class Stream:
        def __len__(self):
            raise error

        def __iter__(self):
            return iter('abc')

    seen = []
    for letter in bar(iterable=Stream()) if named else bar(Stream()):
        seen.append(letter)
        assert task.length is None
    assert seen == ['a', 'b', 'c']
    assert stand(task) == (3, None)


def test_the_total_of_an_iterable_whose_len_raises_can_be_given(task, bar):
    class Stream:
        def __len__(self):
            raise NotImplementedError

        def __iter__(self):
            return iter('abc')

    for _ in bar(Stream(), None, 4):
        assert task.length == 4
    for _ in bar(Stream(), total=5):
        assert task.length == 9


def seconds_to_stop(task, work):
    """Ask the task to stop while *work* is at it, and return how long it went on."""
    asked = []

    def ask():
        asked.append(time.monotonic())
        ask_to_stop(task)

    timer = threading.Timer(0.1, ask)
    timer.start()
    with pytest.raises(TaskCancelled):
        work()
    return time.monotonic() - asked[0]


@pytest.mark.parametrize('kind', ['ours', 'std'], indirect=True)
class TestCancel:
    """However seldom the bar shows anything, the work stops within half a second; a slow machine gets as much again."""

    SHOWN = pytest.mark.parametrize(
        'options',
        [{}, {'mininterval': 60, 'miniters': 10**9}, {'disable': True}],
        ids=['shown', 'rarely shown', 'disabled'],
    )

    @SHOWN
    def test_loop(self, task, bar, options):
        def work():
            for _ in bar(range(1000), **options):
                time.sleep(0.01)

        assert seconds_to_stop(task, work) < 1

    @SHOWN
    def test_inner_loop(self, task, bar, options):
        def work():
            for _ in bar(range(2), **options):
                for _ in bar(range(1000), **options):
                    time.sleep(0.01)

        assert seconds_to_stop(task, work) < 1

    @SHOWN
    def test_by_hand(self, task, bar, options):
        def work():
            with bar(total=1000, **options) as by_hand:
                for _ in range(1000):
                    time.sleep(0.01)
                    by_hand.update()

        assert seconds_to_stop(task, work) < 1

    def test_n_set_by_hand(self, task, bar):
        def work():
            with bar(total=1000) as by_hand:
                for n in range(1000):
                    time.sleep(0.01)
                    by_hand.n = n
                    by_hand.refresh()

        assert seconds_to_stop(task, work) < 1

    def test_the_task_is_cancelled(self, bar):
        with pytest.raises(TaskCancelled), start_task('To be cancelled') as task:
            ask_to_stop(task)
            for _ in bar(range(1000)):
                time.sleep(0.01)
        assert get_progress_status(task.id)['status'] == 'cancelled'


def fed(loop):
    """Tell whether a loop over bars feeds the current task."""
    before = current_task().current
    for _ in loop(file=io.StringIO()):
        pass
    return current_task().current > before


def std_loop(**kwargs):
    return tqdm.tqdm(range(3), **kwargs)


class TestFeeding:
    def test_the_class_is_as_before_after_the_block(self, task):
        original = vars(tqdm.tqdm)['__new__']
        with feeding():
            assert fed(std_loop)
            with feeding():
                assert fed(std_loop)
            assert fed(std_loop)
            with pytest.raises(ZeroDivisionError), feeding():
                1 / 0  # noqa: B018
            assert fed(std_loop)
        assert not fed(std_loop)
        assert vars(tqdm.tqdm)['__new__'] is original
        assert type(tqdm.tqdm(disable=True)) is tqdm.tqdm

    def test_a_bar_is_of_the_class_it_was_made_of(self, task):
        with feeding():
            made = OfALibrary(disable=True)
        assert isinstance(made, OfALibrary)
        assert (type(made).__name__, type(made).__module__) == (OfALibrary.__name__, OfALibrary.__module__)

    def test_a_task_that_is_not_the_current_one(self, task):
        other = start_task('By hand')
        with feeding(other):
            assert fed(std_loop)
            assert current_task() is other
        other.finish()
        assert stand(other) == (3, 3)
        assert current_task() is task
        assert task.current == 0

    def test_without_a_task(self):
        with feeding():
            assert list(tqdm.tqdm('abc', file=io.StringIO())) == ['a', 'b', 'c']
        assert list(our_tqdm('abc', file=io.StringIO())) == ['a', 'b', 'c']

    def test_threads_of_their_own(self):
        """Blocks of two threads that overlap, while a third has a task but no such block."""
        here, there = threading.Barrier(2, timeout=5), threading.Barrier(2, timeout=5)
        fed_there, fed_elsewhere = [], []

        def second():
            with start_task('Second'):
                with feeding():
                    here.wait()
                    there.wait()  # the first has left its block
                    fed_there.append(fed(std_loop))
                fed_there.append(fed(std_loop))

        def third():
            with start_task('Third'):
                fed_elsewhere.append(fed(std_loop))

        original = vars(tqdm.tqdm)['__new__']
        threads = [threading.Thread(target=work) for work in (second, third)]
        with start_task('First'):
            with feeding():
                threads[0].start()
                here.wait()
                threads[1].start()
                threads[1].join()
                assert fed(std_loop)
            assert not fed(std_loop)
            there.wait()
            threads[0].join()
        assert fed_there == [True, False]
        assert fed_elsewhere == [False]
        assert vars(tqdm.tqdm)['__new__'] is original

    def test_bars_of_tqdm_itself(self, task):
        quiet = {'file': io.StringIO()}
        with feeding():
            assert list(tqdm.contrib.tenumerate('ab', **quiet)) == [(0, 'a'), (1, 'b')]
            assert list(tqdm.contrib.tmap(str, range(3), **quiet)) == ['0', '1', '2']
            # The bar is made here, and updated by the threads of the pool.
            assert tqdm.contrib.concurrent.thread_map(abs, [-1, -2], max_workers=2, **quiet) == [1, 2]
        assert stand(task) == (7, 7)

    def test_a_bar_does_not_keep_a_task(self):
        task = start_task('Dropped')
        with feeding(task):
            kept = tqdm.tqdm(total=5, file=io.StringIO())
        task_id = task.id
        del task
        wait_until(lambda: get_progress_status(task_id)['status'] == 'failed')
        kept.close()


class TestCurrentTask:
    def test_the_innermost_block(self):
        assert current_task() is None
        with start_task('Outer') as outer:
            assert current_task() is outer
            with pytest.raises(ZeroDivisionError), start_task('Inner') as inner:
                assert current_task() is inner
                1 / 0  # noqa: B018
            assert current_task() is outer
        assert current_task() is None

    def test_not_without_a_block(self):
        task = start_task('By hand')
        assert current_task() is None
        task.finish()

    def test_threads_have_their_own(self, task):
        seen = []
        thread = threading.Thread(target=lambda: seen.append(current_task()))
        thread.start()
        thread.join()
        assert seen == [None]

    def test_asynchronous_tasks_have_their_own(self, task):
        async def work(label):
            with start_task(label) as own:
                await asyncio.sleep(0.01)
                return current_task() is own

        async def both():
            return [*await asyncio.gather(work('a'), work('b')), current_task() is task]

        assert asyncio.run(both()) == [True, True, True]

    def test_generators_may_leave_in_any_order(self):
        def work(label):
            with start_task(label) as own:
                yield own

        def check():
            first, second = work('first'), work('second')
            tasks = next(first), next(second)
            assert current_task() is tasks[1]
            first.close()
            assert current_task() is tasks[1]
            contextvars.Context().run(second.close)  # as an event loop closes an asynchronous generator
            wait_until(lambda: not get_running_tasks())

        contextvars.copy_context().run(check)
