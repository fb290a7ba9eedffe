"""However many tasks come and go, what is left of them has a bound; and the clock may be wrong."""

import importlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from beaker.cache import cache_managers, cache_regions, clsmap
from beaker.ext.sqla import SqlaNamespaceManager
from beaker.synchronization import NameLock, _synchronizers

from pyramid_progress import get_progress_status, get_running_tasks, init_progress_status, set_progress_status
from pyramid_progress.beaker_sqlite.database import FILE_NAME
from pyramid_progress.runtime import current_store, get_runtime
from pyramid_progress.storage import beaker

#: A long time ago, by a clock that counts seconds.
START = 1_000_000_000


class Clock:
    """The time of day, ``now``, which may be put back or forward, and a clock that just goes on."""

    def __init__(self):
        self.now = START
        self._running = 0

    def go_on(self, seconds):
        self.now += seconds
        self._running += seconds

    def time(self):
        return self.now

    def monotonic(self):
        return self._running


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock of the drivers that keep time themselves."""
    clock = Clock()
    for name in ('beaker', 'memory', 'sqlite'):
        monkeypatch.setattr(importlib.import_module(f'pyramid_progress.storage.{name}'), 'time', clock)
    return clock


def come_and_go(name, count, each=lambda: None):
    """Start tasks, some with a part, finish most of them, and read most of those."""
    for number in range(count):
        progress_id = f'{name} {number}'
        init_progress_status(progress_id, 'ann', 'Import')
        if number % 5 == 0:
            start_part(progress_id)
        if number % 3:
            set_progress_status(progress_id, 'finished')
        if number % 3 > 1:
            get_progress_status(progress_id)
        each()


def start_part(progress_id):
    storage, expire, _ = current_store()
    storage.update(progress_id, {'_parts': '1'}, expire)
    run = storage.get_many([progress_id])[progress_id]['_run']
    assert storage.start_part(progress_id, 0, task_run=run, part_run=run, heartbeat='1.0', expire=expire) == 0


def records(region):
    """Return how many records are kept."""
    namespace = region.settings['progress.namespace']
    if region.type == 'memory':
        return len(get_runtime().memory.namespaces[namespace].tasks)
    if region.type == 'sqlite':
        with closing(sqlite3.connect(Path(region.options['data_dir'], FILE_NAME))) as connection:
            return connection.execute('SELECT count(*) FROM progress').fetchone()[0]
    if region.type == 'ext:redis':
        redis = pytest.importorskip('redis')
        with redis.Redis.from_url(region.options['url']) as client:
            return len(client.keys(f'{{{namespace}}}:tasks:*')) + client.zcard(f'{{{namespace}}}:due')
    if region.type == 'ext:rediscluster':
        redis = pytest.importorskip('redis')
        first, _, _ = region.options['urls'].partition(',')
        with redis.RedisCluster.from_url(first) as client:
            tasks = list(client.scan_iter(f'{{{namespace}:*}}:tasks:*'))
            return len(tasks) + client.zcard(f'{{{namespace}:index:running}}:due')
    return sum(keys(region, f'{namespace}:{number:02x}') for number in range(beaker.NAMESPACES))


def keys(region, namespace):
    space = clsmap[region.type](namespace, **region.options)
    space.acquire_read_lock()
    try:
        index = space['index'] if 'index' in space else {}  # noqa: SIM401  (it has no get)
        if region.type != 'ext:memcached':  # which cannot say
            assert len(list(space.keys())) <= 2 * len(index) + 1
        return len(index)
    finally:
        space.release_read_lock()


def objects():
    """Return how many objects Beaker keeps, and how many namespaces are in memory."""
    return sum(
        map(
            len,
            [
                cache_managers,
                get_runtime().memory.namespaces,
                SqlaNamespaceManager.binds.dict,
                SqlaNamespaceManager.tables.dict,
                NameLock.locks.dict,
                _synchronizers.dict,
            ],
        )
    )


def files(directory):
    return sum(len(names) for _, _, names in os.walk(directory))


def open_files():
    return sum(1 for _ in Path('/proc/self/fd').iterdir())


@pytest.mark.promises('own_clock')
def test_what_is_left_has_a_bound(region, clock, directory):
    """Twenty tasks are there at a time; as many more as there are places to keep them may wait for their removal."""
    region.use(expire=10, linger=1)

    def half_a_second():
        clock.go_on(0.5)

    come_and_go('first', 100, half_a_second)
    before = objects(), files(directory), open_files()
    come_and_go('then', region.kind.many, half_a_second)
    assert len(get_running_tasks()) <= 20
    assert records(region) <= 20 + 2 * beaker.NAMESPACES
    after = objects(), files(directory), open_files()
    assert after[0] <= before[0] + beaker.NAMESPACES
    assert after[1] <= before[1] + 5 * beaker.NAMESPACES
    assert after[2] <= before[2] + 5


@pytest.mark.promises('server_clock')
def test_a_server_that_keeps_time_clears_away_by_itself(region, wait_until):
    region.use(expire=0.5, linger=0.5)
    come_and_go('first', region.kind.many)
    wait_until(lambda: get_running_tasks() == set(), 5, 'they stay on the list')

    def starts_remove_the_entries_of_expired_records():
        for _ in range(region.kind.many // 10):  # each of them examines a few entries
            init_progress_status('last', 'ann', 'Import')
        return records(region) <= 2

    wait_until(
        starts_remove_the_entries_of_expired_records, 20, 'it keeps more than a record and the entry of its expiry'
    )


def test_a_list_apart_has_a_bound_too(directory, clock):
    """Its entries live for twice the lifetime of a status: 40 of them at a time."""
    cache_regions['default'] = {'type': 'file', 'data_dir': str(directory)}
    cache_regions['persistent'] = {'type': 'memory', 'expire': 10}

    def half_a_second():
        clock.go_on(0.5)

    come_and_go('task', 500, half_a_second)
    options = cache_regions['default']
    left = sum(
        keys(SimpleNamespace(type='file', options=options), f'pyramid_progress:list:{number:02x}')
        for number in range(beaker.NAMESPACES)
    )
    assert 0 < left <= 40 + 2 * beaker.NAMESPACES


@pytest.mark.promises('own_clock')
def test_a_clock_that_is_put_back_makes_no_task_immortal(region, clock):
    region.use(expire=10, linger=10)
    years = 10 * 365 * 86400
    clock.now = START + years
    init_progress_status('old', 'ann', 'Import')
    init_progress_status('finished', 'ann', 'Import')
    set_progress_status('finished', 'finished')
    clock.now = START
    init_progress_status('new', 'ann', 'Import')
    assert get_progress_status('new')['status'] == 'running'
    come_and_go('first', 4 * beaker.NAMESPACES)
    clock.go_on(11)
    come_and_go('then', 4 * beaker.NAMESPACES)
    for progress_id in ('old', 'finished', 'new'):
        assert get_progress_status(progress_id) == {'status': 'unknown'}
    assert not {'old', 'finished', 'new'} & get_running_tasks()
    assert records(region) <= 5 * beaker.NAMESPACES


@pytest.mark.promises('time_of_day')
def test_a_clock_that_is_put_forward_ends_tasks_and_no_more(region, clock):
    region.use(expire=10)
    init_progress_status('old', 'ann', 'Import')
    clock.now += 3600
    assert get_progress_status('old') == {'status': 'unknown'}
    assert get_running_tasks() == set()
    init_progress_status('old', 'bob', 'Import')
    assert get_progress_status('old')['owner'] == 'bob'
