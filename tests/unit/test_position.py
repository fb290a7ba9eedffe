"""The counts of loops: exact with any number of threads, and of loops inside one another the outermost."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyramid_progress import TaskCancelled, configure, start_task
from pyramid_progress.model.record import CANCEL
from pyramid_progress.runtime import current_store
from pyramid_progress.work import position

#: Enough steps for many switches between threads.
BATCH = 4096


@pytest.fixture(autouse=True)
def _memory():
    configure({'cache.regions': 'default, persistent', 'cache.type': 'memory'})


@pytest.fixture
def task():
    with start_task('Import') as task:
        yield task


@pytest.fixture
def _many_switches():
    """Make Python switch between threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run_in_threads(count, work):
    """Run a function in threads, and return what each call returned."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result(60) for future in [pool.submit(work) for _ in range(count)]]


def draw_in_threads(count, steps, use):
    """Draw from an iterator in threads.

    :param use: a function of an item and of the number of items that its thread has drawn; a thread leaves its loop
        when that returns a true value
    """

    def draw():
        for number, item in enumerate(steps, 1):
            if use(item, number):
                return

    run_in_threads(count, draw)


class Locked:
    """An iterator for several threads, as libraries write them: in Python, with a lock."""

    def __init__(self, iterable):
        self._iterator = iter(iterable)
        self._lock = threading.Lock()

    def __iter__(self):
        time.sleep(0)  # a switch to another thread
        return self

    def __next__(self):
        with self._lock:
            item = next(self._iterator)
        for _ in range(3):  # more switches
            pass
        return item


class LockedOnce:
    """An iterable whose iterators are :class:`Locked`."""

    def __init__(self, items):
        self._items = items

    def __iter__(self):
        return Locked(self._items)


@pytest.mark.usefixtures('_many_switches')
class TestThreads:
    @pytest.mark.parametrize('kind', [list, iter, Locked, LockedOnce, lambda items: map(abs, items)])
    @pytest.mark.parametrize('length', [0, 1, BATCH - 1, BATCH, BATCH + 1, 20 * BATCH])
    def test_one_iterator_that_several_threads_draw_from(self, task, kind, length):
        seen = []
        draw_in_threads(8, task.track(kind(range(length))), lambda item, _: seen.append(item))
        assert sorted(seen) == list(range(length))
        assert task.current == length

    def test_a_reader_never_sees_more_than_was_taken(self, task):
        taken = []
        steps = task.track(Locked(range(10 * BATCH)))
        positions = []
        ends = threading.Event()

        def read():
            while not ends.is_set():
                current = task.current
                positions.append((current, len(taken)))

        reader = threading.Thread(target=read)
        reader.start()
        draw_in_threads(4, steps, lambda item, _: taken.append(item))
        ends.set()
        reader.join()
        # A thread may have taken an item, and not have put it on the list: none of the four, and the one that is read.
        assert all(current <= count + 4 for current, count in positions)
        assert [current for current, _ in positions] == sorted(current for current, _ in positions)
        assert task.current == len(taken) == 10 * BATCH

    def test_threads_that_leave_their_loops(self, task):
        draw_in_threads(4, task.track(range(100 * BATCH)), lambda _, count: count == 2 * BATCH)
        gc.collect()
        # The last step that was taken may not be completed.
        assert task.current == 4 * 2 * BATCH - 1

    def test_iterators_and_advance_at_the_same_time(self, task):
        def work():
            for _ in task.track(range(5 * BATCH)):
                task.advance()
                task.advance(0.5)

        run_in_threads(4, work)
        assert task.current == 4 * 5 * BATCH * 2.5

    def test_lengths_of_loops_that_begin_at_the_same_time(self, task):
        class Slow:
            def __len__(self):
                time.sleep(0)
                return 10

            def __iter__(self):
                return iter(range(10))

        run_in_threads(8, lambda: [list(task.track(Slow())) for _ in range(100)])
        assert (task.current, task.length) == (8000, 8000)

    def test_many_short_loops(self, task):
        def work():
            for _ in range(500):
                list(task.track('ab'))

        run_in_threads(8, work)
        assert task.current == 8 * 500 * 2

    def test_a_cancel_reaches_every_thread(self, task):
        steps = task.track(iter(int, 1))
        began = threading.Barrier(5, timeout=10)

        def draw():
            next(steps)
            began.wait()
            try:
                for _ in steps:
                    pass
            except TaskCancelled:
                return 'cancelled'

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(draw) for _ in range(4)]
            began.wait()
            current_store().storage.update_active({task.id: {CANCEL: 'true'}}, 60)
            assert [future.result(10) for future in futures] == ['cancelled'] * 4
        stopped_at = task.current
        for _ in range(3):
            with pytest.raises(TaskCancelled):
                next(steps)
        assert task.current == stopped_at


@pytest.mark.parametrize('length', [3, 5 * BATCH])
def test_greenlets_that_draw_from_one_iterator(length):
    pytest.importorskip('gevent')
    script = f"""
        import gevent.monkey
        gevent.monkey.patch_all()
        import gevent
        import pyramid_progress
        pyramid_progress.configure({{'cache.regions': 'default, persistent', 'cache.type': 'memory'}})

        class Rows:
            def __init__(self):
                self.numbers = iter(range({length}))
            def __iter__(self):
                gevent.sleep(0)
                return self
            def __next__(self):
                number = next(self.numbers)
                if number % 7 == 0:
                    gevent.sleep(0)
                return number

        with pyramid_progress.start_task('Import') as task:
            steps = task.track(Rows())
            greenlets = [gevent.spawn(list, steps) for _ in range(5)]
            print(sum(len(greenlet.get()) for greenlet in greenlets), task.current)
    """
    command = [sys.executable, '-c', textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f'{length} {length}\n', '')


def test_a_loop_goes_on_after_the_last_step_that_can_be_counted(task, monkeypatch):
    monkeypatch.setattr(position, 'MAX_STEPS', 3)
    assert list(task.track('abcde')) == ['a', 'b', 'c', 'd', 'e']
    assert task.current == 3


def test_a_loop_that_has_ended_keeps_nothing(task):
    class Row:
        pass

    rows = [Row() for _ in range(3)]
    kept = weakref.ref(rows[0])
    for row in task.track(rows):
        del row
    del rows
    gc.collect()
    assert kept() is None


def test_the_error_of_an_iterable_leaves_the_loop(task):
    def rows():
        yield 1
        yield 2
        raise KeyError

    with pytest.raises(KeyError):
        for _ in task.track(rows()):
            pass
    assert task.current == 1  # a loop that was left in its second step looks the same


def test_what_is_no_iterable_is_refused_at_once(task):
    with pytest.raises(TypeError, match='not iterable'):
        task.track(3)
    assert task.length is None


@pytest.mark.parametrize('error', [TypeError, NotImplementedError, RuntimeError, OverflowError, KeyError])
def test_an_iterable_whose_len_raises_has_no_length(task, error):
    class Stream:
        def __len__(self):
            raise error

        def __iter__(self):
            return iter('abc')

    for _ in task.track(Stream()):
        assert task.length is None
    assert (task.current, task.length) == (3, None)


def test_a_range_that_is_longer_than_len_can_say_has_no_length(task):
    for number in task.track(range(10**30)):
        if number == 2:
            break
    assert (task.current, task.length) == (2, None)


@pytest.mark.filterwarnings('ignore:.*multi-threaded, use of fork:DeprecationWarning')
def test_a_child_that_is_forked_while_a_position_is_read_can_count(task):
    ends = threading.Event()

    def read():
        while not ends.is_set():
            task.current  # noqa: B018

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(10)  # ends a child that waits for a lock for ever
                list(task.track('abc'))
                os._exit(0 if task.current == 3 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        ends.set()
        for reader in readers:
            reader.join()


class TestInside:
    @pytest.mark.parametrize('length', [None, 10])
    def test_the_outermost_loop_counts(self, length):
        with start_task('Import', length=length) as task:
            seen = []
            for _file in task.track(range(10)):
                for _row in task.track(range(100)):
                    seen.append((task.current, task.length))
                    for _cell in task.track('ab'):
                        pass
            assert seen == [(file, 10) for file in range(10) for _ in range(100)]
            assert task.current == 10

    def test_an_inner_loop_is_cancelled(self, task):
        with pytest.raises(TaskCancelled):
            for _ in task.track(range(10)):
                current_store().storage.update_active({task.id: {CANCEL: 'true'}}, 60)
                for _ in task.track(iter(int, 1)):
                    pass

    def test_loops_one_after_another_add_up(self, task):
        for length in (3, 4):
            for _ in task.track(range(length)):
                pass
        assert (task.current, task.length) == (7, 7)

    def test_a_loop_after_one_that_was_left_counts(self, task):
        for number in task.track(range(10)):
            if number == 3:
                break
        for _ in task.track(range(5)):
            pass
        assert (task.current, task.length) == (8, 15)

    def test_a_loop_after_an_exhausted_iterator_that_is_kept_counts(self, task):
        kept = task.track(range(3))
        for _ in kept:
            pass
        for _ in task.track(range(5)):
            pass
        assert (task.current, task.length) == (8, 8)

    def test_loops_that_take_turns_add_up(self, task):
        for _ in zip(task.track(range(5)), task.track(range(5)), strict=True):
            pass
        assert (task.current, task.length) == (10, 10)

    def test_a_loop_inside_the_iterable_of_another_does_not_count(self, task):
        def rows():
            yield from task.track(range(5))

        for _ in task.track(rows()):
            pass
        assert task.current == 5

    def test_a_stage_inside_a_loop_has_loops_of_its_own(self, task):
        for _file in task.track(range(2)):
            with task.stage('Rows'):
                for row in task.track(range(4)):
                    assert (task.current, task.length) == (row, 4)
        assert (task.current, task.length) == (2, 2)

    def test_loops_of_two_tasks_count(self, task):
        with start_task('Other') as other:
            for _ in task.track(range(2)):
                for _ in other.track(range(3)):
                    pass
            assert (task.current, other.current, other.length) == (2, 6, 6)

    def test_loops_of_several_threads_add_up(self, task):
        context = contextvars.copy_context()
        began = threading.Barrier(3, timeout=10)

        def work():
            for number in task.track(range(4)):
                if number == 0:
                    began.wait()

        threads = [threading.Thread(target=context.copy().run, args=(work,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (task.current, task.length) == (12, 12)

    def test_a_loop_in_a_context_that_was_copied_inside_another_is_inside_it(self, task):
        for _ in task.track(range(2)):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(contextvars.copy_context().run, list, task.track(range(100))).result()
        assert (task.current, task.length) == (2, 2)

    def test_loops_of_several_asynchronous_tasks_add_up(self, task):
        async def load(count):
            for _ in task.track(range(count)):
                await asyncio.sleep(0.001)

        async def main():
            await asyncio.gather(load(20), load(40))
            for _ in task.track(range(2)):
                await asyncio.gather(load(5), load(5))

        asyncio.run(main())
        assert (task.current, task.length) == (62, 62)
