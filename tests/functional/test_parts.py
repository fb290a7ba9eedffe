"""One bar for many workers: the parts of a task, in threads, processes and other programs."""

import json
import logging
import math
import multiprocessing
import pickle
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from support import parts as workers
from support.servers import RedisServer
from support.storages import faulty_storage
from support.waiting import wait_until

from pyramid_progress import (
    Part,
    ProgressError,
    TaskCancelled,
    cancel_task,
    configure,
    current_task,
    get_progress_status,
    get_running_tasks,
    list_tasks,
    set_progress_status,
    start_task,
)
from pyramid_progress.model.record import CHANGED
from pyramid_progress.model.status import record_to_status
from pyramid_progress.runtime import current_store
from pyramid_progress.scripts.summary import summaries

MEMORY = {'cache.regions': 'default, persistent', 'cache.type': 'memory'}


@pytest.fixture
def memory():
    configure(MEMORY)


@pytest.fixture
def sqlite(tmp_path):
    """Return the settings of an application whose processes share a file."""
    settings = MEMORY | {'cache.type': 'sqlite', 'cache.data_dir': str(tmp_path / 'progress')}
    configure(settings)
    return settings


def divided(weights, **options):
    """Return the parts of a task whose own block has been left."""
    with start_task('Export', owner='ann', **options) as task:
        return task.parts(weights)


def status_of(part, later=0.0):
    """Return the status of the task of a part, as it is some seconds *later* without a change."""
    storage = current_store().storage
    record = storage.get_many([part.progress_id])[part.progress_id]
    return record_to_status(record, lambda: storage.now() + later)


def count_of(part):
    status = status_of(part)
    return status['parts']['ended'], status['parts']['total']


@pytest.mark.usefixtures('memory')
class TestWeights:
    @pytest.mark.parametrize(('weights', 'length', 'expected', 'total'), [
        (3, None, [1, 1, 1], 3), ([5, 0, 2.5], None, [5, 0, 2.5], 7.5), (iter([1, 3]), 100, [25, 75], 100),
        ([0, 0], 10, [5, 5], 10), ([0, 0], None, [0, 0], 0), ([2, 2], 0, [0, 0], 0), ([2**60], None, [2**60], 2**60),
    ])  # fmt: skip
    def test_they_are_scaled_to_the_length(self, weights, length, expected, total):
        parts = divided(weights, length=length)
        assert [part.weight for part in parts] == expected
        assert (status_of(parts[0])['length'], status_of(parts[0])['current']) == (total, 0)

    @pytest.mark.parametrize('length', [None, 1, 0.3, 100, 12345.678, 1e12])
    def test_the_sum_is_exact(self, length):
        chance = random.Random(length)  # noqa: S311
        parts = divided([chance.random() for _ in range(200)], length=length)
        chance.shuffle(parts)
        for part in parts:
            with part.start() as task:
                task.length = 7
                for _ in range(7):
                    task.advance()
                    workers.publish(task)
            assert status_of(part)['current'] <= status_of(part)['length']
        status = status_of(parts[0])
        assert status['current'] == status['length']
        assert status['length'] == (math.fsum(part.weight for part in parts) if length is None else length)

    @pytest.mark.parametrize(('weights', 'error'), [
        (-1, ValueError), ([1, -1], ValueError), ([math.nan], ValueError), ([10**400], ValueError),
        ([1e308, 1e308], ValueError), (['1'], TypeError), (True, TypeError), ([True], TypeError), (None, TypeError),
    ])  # fmt: skip
    def test_invalid_weights(self, weights, error):
        with start_task('Export') as task, pytest.raises(error):
            task.parts(weights)

    @pytest.mark.parametrize('weights', [0, []])
    def test_a_task_of_no_parts_ends_with_its_block(self, weights):
        with start_task('Export') as task:
            assert task.parts(weights) == []
        assert get_progress_status(task.id)['status'] == 'finished'


@pytest.mark.usefixtures('memory')
class TestLife:
    def test_the_task_goes_on_without_its_block_and_ends_with_its_last_part(self):
        first, second = divided([30, 70])
        assert status_of(first, later=80000)['status'] == 'running', 'it has no heartbeats of its own'
        assert count_of(first) == (0, 2)
        with first.start() as task:
            assert task is current_task()
            assert task.id == first.progress_id
            task.message = 'row 1'
            task.length = 4
            task.advance()
            workers.publish(task)
            assert (status_of(first)['current'], status_of(first)['message']) == (7.5, 'row 1')
        assert (status_of(first)['status'], status_of(first)['current'], count_of(first)) == ('running', 30, (1, 2))
        second.start().finish('Done', {'url': '/export.csv'})
        status = get_progress_status(first.progress_id)
        assert status.pop('started') == first.started
        assert status == {
            'status': 'finished', 'label': 'Export', 'owner': 'ann', 'tags': None, 'length': 100, 'current': 100,
            'message': 'Done', 'result': {'url': '/export.csv'}, 'parts': {'ended': 2, 'total': 2},
        }  # fmt: skip
        assert get_running_tasks() == set()

    def test_the_publisher_writes_a_part_and_its_heartbeats(self):
        (part,) = divided(1)
        with part.start() as task:
            for _ in task.track(range(2)):
                if task.current:
                    wait_until(lambda: status_of(part)['current'] == 0.5, 2)
            assert status_of(part, later=14)['status'] == 'running'
            assert status_of(part, later=16)['status'] == 'stalled'

    def test_a_part_of_unknown_length_counts_nothing_until_it_ends(self):
        part, _ = divided(2)
        with part.start() as task:
            task.advance(5)
            workers.publish(task)
            assert status_of(part)['current'] == 0
        assert status_of(part)['current'] == 1

    def test_a_part_with_stages(self):
        part, _ = divided([10, 10])
        with part.start() as task:
            task.length = 4
            with task.stage('Reading', weight=2):
                task.length = 2
                task.advance()
                workers.publish(task)
                assert (status_of(part)['current'], status_of(part)['message']) == (2.5, 'Reading')
            task.current = 10**400
            workers.publish(task)
            assert status_of(part)['current'] == 10
            task.length = 10**401
            workers.publish(task)
            assert status_of(part)['current'] == pytest.approx(1)
            task.current = -1
            workers.publish(task)
            assert status_of(part)['current'] == 0

    def test_what_the_task_counts_itself_has_no_effect(self):
        with start_task('Export') as task:
            task.advance(5)
            part, _ = task.parts([1, 1])
            task.advance(3)
            assert list(task.track('ab')) == ['a', 'b']
            part.start().finish()
            assert status_of(part)['current'] == 1
        assert (status_of(part)['current'], status_of(part)['length']) == (1, 2)

    def test_the_result_of_the_own_block(self):
        with start_task('Export') as task:
            (part,) = task.parts(1)
            task.finish(result={'text': 'Report'})
        assert status_of(part)['status'] == 'running'
        part.start().finish()
        assert status_of(part)['result'] == {'text': 'Report'}

    def test_the_result_of_an_earlier_run_of_a_part_is_ignored(self):
        with start_task('Export') as task:
            first, second = task.parts(2)
        earlier = first.start()
        first.start().finish(result={'text': 'New'})
        earlier.finish(result={'text': 'Old'})
        second.start().finish()
        assert status_of(first)['result'] == {'text': 'New'}

    def test_the_last_end_is_the_time_at_which_the_task_ended(self):
        with start_task('Export') as task:
            (part,) = task.parts(1)
        part.start().finish()
        ended = current_store().storage.get_many([task.id])[task.id][CHANGED]
        assert abs(int(ended) - time.time()) < 5

    def test_an_error_in_the_own_block_fails_the_task_and_cancels_its_parts(self):
        with pytest.raises(ProgressError), start_task('Export', cancellable=False) as task:
            first, second = task.parts(2)
            worker = first.start()
            raise ProgressError('The disk is full.')
        assert (status_of(first)['status'], status_of(first)['message']) == ('failed', 'The disk is full.')
        with pytest.raises(TaskCancelled):
            wait_until(lambda: worker.advance(0), 2)
        with pytest.raises(TaskCancelled), second.start() as task:
            task.advance()
        assert (status_of(first)['status'], count_of(first)) == ('failed', (0, 2))

    @pytest.mark.parametrize(('errors', 'status', 'message'), [
        ([None, ProgressError('A'), ProgressError('B')], 'failed', 'A'),
        ([None, TaskCancelled(), ProgressError('B')], 'failed', 'B'),
        ([TaskCancelled(), None, None], 'cancelled', None),
        ([ValueError('secret'), TaskCancelled(), None], 'failed', 'An unexpected error ended this task.'),
    ])  # fmt: skip
    def test_how_parts_end_decides_how_the_task_ends(self, errors, status, message, caplog):
        caplog.set_level(logging.INFO, 'pyramid_progress')
        parts = divided(3, tags=['x'])
        for part, error in zip(parts, errors, strict=True):
            assert status_of(part)['status'] == 'running'
            with pytest.raises(type(error)) if error else part.start():  # noqa: SIM117
                with part.start():
                    if error:
                        raise error
        ended = status_of(parts[0])
        assert (ended['status'], ended['message']) == (status, message)
        (record,) = [record for record in caplog.records if hasattr(record, 'progress_id')]
        assert (record.status, record.owner, record.tags, record.length) == (status, 'ann', ['x'], 3)
        failures = [record for record in caplog.records if 'has failed' in record.msg]
        assert len(failures) == sum(isinstance(error, (ProgressError, ValueError)) for error in errors)
        assert [bool(record.exc_info) for record in failures][:1] == [True] * isinstance(errors[0], ValueError) or [
            False
        ]

    def test_a_part_that_is_started_again_begins_at_0(self):
        part, _ = divided(2)
        old = part.start()
        old.length = 2
        old.advance()
        workers.publish(old)
        new = part.start()
        assert status_of(part)['current'] == 0
        old.finish()
        assert (status_of(part)['current'], count_of(part)) == (0, (0, 2))
        new.finish()
        assert (status_of(part)['current'], count_of(part)) == (1, (1, 2))
        part.start().finish()
        assert count_of(part) == (1, 2)

    def test_a_cancel_reaches_every_part(self):
        parts = divided(3)
        running = [part.start() for part in parts[:2]]
        assert running[0].cancel()
        with pytest.raises(TaskCancelled):
            running[0].advance()
        with pytest.raises(TaskCancelled):
            wait_until(lambda: running[1].advance(0), 2)
        assert status_of(parts[0])['status'] == 'cancelling'
        for task in (*running, parts[2].start()):
            with pytest.raises(TaskCancelled), task:
                task.advance()
        assert (status_of(parts[0])['status'], count_of(parts[0])) == ('cancelled', (3, 3))

    def test_a_task_that_is_not_cancellable(self):
        part, _ = divided(2, cancellable=False)
        with part.start() as task:
            assert not cancel_task(part.progress_id)
            assert not task.cancel()
            task.advance()

    @pytest.mark.parametrize('status', ['cancelled', 'failed'])
    def test_nothing_is_published_after_the_end(self, status):
        part, _ = divided(2)
        set_progress_status(part.progress_id, status)
        before = status_of(part)
        if status == 'cancelled':
            with pytest.raises(TaskCancelled), part.start() as task:
                task.advance()
        else:
            with part.start() as task:
                task.advance()
        assert status_of(part) == before

    def test_where_there_can_be_no_parts(self):
        with start_task('Export') as task:
            with pytest.raises(ValueError, match='a stage cannot have parts'), task.stage('Reading'):
                task.parts(2)
            part, _ = task.parts(2)
            with pytest.raises(ValueError, match='the task has parts already'):
                task.parts(2)
            with part.start() as inner, pytest.raises(ValueError, match='a part cannot have parts'):
                inner.parts(2)

    def test_a_part_is_a_value(self):
        part, other = divided([1, 2], tags=['x'])
        assert part != other
        assert pickle.loads(pickle.dumps(part)) == part  # noqa: S301
        assert Part.from_dict(json.loads(json.dumps(part.to_dict()))) == part
        assert len(json.dumps(part.to_dict())) < 300
        with pytest.raises(TypeError):
            Part.from_dict({'number': 1})


class TestFaults:
    def test_a_task_that_the_store_loses_fails(self, memory, caplog):
        first, second = divided(2)
        with first.start() as task:
            second.start().finish()
            current_store().storage.delete(first.progress_id)
            wait_until(lambda: get_progress_status(first.progress_id)['status'] == 'failed', 4)
            task.advance()
        status = get_progress_status(first.progress_id)
        assert (status['status'], status['message'], status['owner']) == (
            'failed', 'The state of this task was lost.', 'ann',
        )  # fmt: skip
        assert 'the store has lost it' in caplog.text

    @pytest.mark.slow
    def test_a_part_that_ends_after_the_loss(self, memory):
        first, _ = divided(2)
        with first.start():
            current_store().storage.delete(first.progress_id)
        wait_until(lambda: get_progress_status(first.progress_id)['status'] == 'failed', 4)

    def test_the_own_block_notices_the_loss(self, memory, caplog):
        caplog.set_level(logging.INFO, 'pyramid_progress')
        with start_task('Export') as task:
            task.parts(2)
            current_store().storage.delete(task.id)
            wait_until(lambda: get_progress_status(task.id)['status'] == 'failed', 2)
        wait_until(lambda: [record for record in caplog.records if getattr(record, 'status', '') == 'failed'])

    def test_a_store_that_is_down_at_first(self):
        storage = faulty_storage()
        storage.is_down = True
        with start_task('Export') as task:
            first, second = task.parts(2)
            first.start().finish()
            with second.start() as part:
                part.length = 2
                part.advance()
                storage.is_down = False
                wait_until(lambda: get_progress_status(task.id).get('parts'), 3)
                wait_until(lambda: status_of(first)['current'] == 1.5, 3)
        assert status_of(first)['status'] == 'finished'

    def test_a_part_whose_store_was_down_at_its_end(self, caplog):
        caplog.set_level(logging.INFO, 'pyramid_progress')
        storage = faulty_storage()
        (part,) = divided(1)
        task = part.start()
        storage.is_down = True
        task.finish('Done')
        time.sleep(0.5)
        assert not [record for record in caplog.records if hasattr(record, 'progress_id')]
        storage.is_down = False
        wait_until(lambda: status_of(part)['status'] == 'finished', 3)
        (record,) = wait_until(lambda: [record for record in caplog.records if hasattr(record, 'progress_id')])
        assert record.status == 'finished'

    def test_a_part_that_is_refused_holds_back_no_other(self):
        storage = faulty_storage()
        bad, good = [part.start() for part in divided(4, progress_id='bad')], divided(4)
        tasks = [part.start() for part in good]
        storage.refused.add('bad')
        for task in (*bad, *tasks):
            task.length = 2
            task.advance()
        wait_until(lambda: status_of(good[0])['current'] == 2, 2)
        storage.refused.clear()
        wait_until(lambda: get_progress_status('bad')['current'] == 2, 2)


def test_threads(memory):
    parts = divided([1] * 20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda part: workers.work(part, 1000), parts))
    assert (status_of(parts[0])['status'], status_of(parts[0])['current']) == ('finished', 20)


@pytest.mark.parametrize(
    'method', ['spawn', *(pytest.param(name, marks=pytest.mark.slow) for name in ('fork', 'forkserver'))]
)
def test_process_pools(sqlite, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f'{method} is not available here')
    parts = divided([1] * 6)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, context, configure, [sqlite]) as pool:
        assert len(set(pool.map(workers.work, parts, [10] * 6))) in (1, 2)
    assert (status_of(parts[0])['status'], status_of(parts[0])['current']) == ('finished', 6)


PROGRAM = """
import json, sys, pyramid_progress
message = json.load(sys.stdin)
pyramid_progress.configure(message['settings'])
with pyramid_progress.Part.from_dict(message['part']).start() as task:
    for _ in task.track(range(3)):
        pass
"""


def test_another_program(sqlite):
    parts = divided(1)
    message = json.dumps({'settings': sqlite, 'part': parts[0].to_dict()})
    subprocess.run([sys.executable, '-c', PROGRAM], input=message, text=True, check=True, timeout=60)
    assert status_of(parts[0])['status'] == 'finished'


def test_a_part_whose_worker_dies_is_stalled_and_can_be_started_again(sqlite):
    part, other = divided(2)
    context = multiprocessing.get_context('spawn')
    is_at_work = context.Event()
    process = context.Process(target=workers.hang, args=(sqlite, part, is_at_work))
    process.start()
    assert is_at_work.wait(30)
    process.kill()
    process.join()
    assert status_of(part)['current'] == 0.5
    with other.start():
        assert status_of(part)['status'] == 'running'
        assert status_of(part, later=16)['status'] == 'stalled'
    assert status_of(part, later=16)['status'] == 'stalled', 'one dead worker is not hidden by the others'
    with part.start():
        assert (status_of(part)['status'], status_of(part)['current']) == ('running', 1)
    assert (status_of(part)['status'], status_of(part)['current']) == ('finished', 2)


def fan_out(settings, tmp_path, processes, each, updates, kills):
    """Let processes do parts while some are killed and started again; return the status and the announced ends."""
    settings = settings | {'progress.timeout': '30'}  # the processes do nothing but write
    configure(settings)
    parts = divided([number % 7 + 0.5 for number in range(processes * each)])
    context = multiprocessing.get_context('spawn')
    chance = random.Random(1)  # noqa: S311

    def start(number):
        mine = [part.to_dict() for part in parts[number::processes]]
        paths = [str(tmp_path / f'{name}-{number}') for name in ('done', 'log')]
        process = context.Process(target=workers.work_through, args=(settings, mine, updates, *paths))
        process.start()
        return process

    running = [start(number) for number in range(processes)]
    for _ in range(kills):
        victim = chance.randrange(processes)
        before = status_of(parts[0])['current']
        wait_until(lambda: status_of(parts[0])['current'] > before or count_of(parts[0])[0] == len(parts), 60)  # noqa: B023
        running[victim].kill()
        running[victim].join()
        running[victim] = start(victim)
    for process in running:
        process.join(120)
        assert process.exitcode == 0
    log = ''.join(path.read_text() for path in tmp_path.glob('log-*'))
    return status_of(parts[0]), re.findall(r'finished after', log), sum(part.weight for part in parts)


def test_processes_that_are_killed_and_started_again(sqlite, tmp_path):
    status, ends, total = fan_out(sqlite, tmp_path, 2, 10, 20, 1)
    assert (status['status'], status['current'], status['parts']) == ('finished', total, {'ended': 20, 'total': 20})
    assert len(ends) == 1


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['sqlite', 'ext:redis'])
def test_eight_processes_that_are_killed_and_started_again(kind, sqlite, tmp_path, program):
    settings = sqlite
    if kind == 'ext:redis':
        server = RedisServer(program('redis-server'), tmp_path)
        settings = MEMORY | {'cache.type': kind, 'cache.url': server.url}
    try:
        begun = time.monotonic()
        status, ends, total = fan_out(settings, tmp_path, 8, 50, 100, 6)
        print(f'{kind}: {time.monotonic() - begun:.1f} s')
    finally:
        if kind == 'ext:redis':
            server.stop()
    assert (status['status'], status['current'], status['parts']) == ('finished', total, {'ended': 400, 'total': 400})
    assert len(ends) <= 1, 'none if the last worker was killed between the end and its announcement'


class TestReaders:
    def test_the_list_in_the_terminal(self, memory):
        first, _ = divided([12, 8])
        first.start().finish()
        (summary,) = summaries([{'id': task['progress_id']} | task for task in list_tasks()])
        assert summary.progress == '60% 12/20 1/2 parts'

    def test_http_readers_get_the_count_in_their_language(self, make_app):
        app = make_app()
        parts = divided(20)
        for part in parts[:12]:
            part.start().finish()
        url = f'/progress_status?progress_id={parts[0].progress_id}'
        answer = app.get(url).json
        assert (answer['parts'], answer['message']) == ({'ended': 12, 'total': 20}, '12 of 20 parts')
        assert app.get(f'{url}&_LOCALE_=de').json['message'] == '12 von 20 Teilen'
        with parts[12].start() as task:
            task.message = 'row 5'
            workers.publish(task)
            assert app.get(url).json['message'] == '12 of 20 parts: row 5'
        for part in parts[13:]:
            part.start().finish('Done')
        assert app.get(url).json['message'] == 'Done'

    def test_the_event_of_the_end(self, make_app):
        events = []
        make_app(lambda config: config.add_subscriber(events.append, 'pyramid_progress.TaskEnded'))
        first, second = divided(2, tags=['x'])
        first.start().finish()
        assert not events
        second.start().finish('Done')
        (event,) = events
        assert (event.progress_id, event.label, event.owner, event.status) == (
            first.progress_id, 'Export', 'ann', 'finished',
        )  # fmt: skip
        assert (event.message, event.current, event.length, event.tags) == ('Done', 2, 2, ['x'])
        assert 0 <= event.duration < 10
