"""Processes that are killed, stopped or forked at the wrong moment, and places that cannot be used."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing, suppress
from functools import partial
from threading import Event, Thread

import pytest
from beaker.cache import Cache, cache_regions, clsmap
from beaker.ext.memcached import MemcachedNamespaceManager
from beaker.ext.sqla import SqlaNamespaceManager

from pyramid_progress import (
    StorageError,
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    set_progress_status,
)
from pyramid_progress.beaker_sqlite.database import FILE_NAME
from pyramid_progress.runtime import current_store
from pyramid_progress.storage import beaker

IDS = [f'job {number}' for number in range(8)]


def work(stop=None, name='at'):
    """Start tasks, change them, finish some and read them, until *stop* is set; return the number of rounds."""
    rounds = 0
    while not (stop and stop.is_set()):
        for progress_id in IDS:
            init_progress_status(progress_id, None, 'Work', length=0, current=0)
            set_progress_status(progress_id, message=f'{name} {rounds}', length=2 * rounds, current=rounds)
            if random.random() < 0.3:  # noqa: S311
                set_progress_status(progress_id, 'finished')
                get_progress_status(progress_id)
        rounds += 1
    return rounds


def check():
    """Do everything once with every task, each step within a second, and find no partial change."""
    listed = timed(get_running_tasks)
    for progress_id in IDS:
        status = timed(get_progress_status, progress_id)
        if status['status'] == 'unknown':
            assert progress_id not in listed
        elif 'message' in status:
            assert status['message'].endswith(f' {status["current"]}')
            assert status['length'] == 2 * status['current']
        else:
            assert status['length'] == status['current'] == 0
        timed(init_progress_status, progress_id, None, 'Work', length=0, current=0)
        timed(set_progress_status, progress_id, message='at 1', length=2, current=1)
        assert timed(get_progress_status, progress_id)['message'] == 'at 1'
    assert timed(get_running_tasks) >= set(IDS)


def timed(function, *args, **kwargs):
    start = time.monotonic()
    result = function(*args, **kwargs)
    assert time.monotonic() - start < 1
    return result


@pytest.mark.promises('kills')
def test_a_killed_writer_does_not_block_others_and_damages_nothing(region, forked):
    """Each writer dies at a random moment; the next process continues within a second."""
    for _kill in range(8):
        with forked(work) as writer:
            time.sleep(random.uniform(0.005, 0.06))  # noqa: S311
            writer.kill()
            assert writer.exit_status() == -signal.SIGKILL
            check()


@pytest.mark.promises('kills')
def test_several_writers_killed_while_others_work(region, forked):
    stop, errors = Event(), []
    thread = Thread(target=keep_working, args=(stop, errors))
    thread.start()
    try:
        for _kill in range(4):
            with forked(work) as one, forked(work) as other:
                time.sleep(random.uniform(0.005, 0.06))  # noqa: S311
                one.kill()
                other.kill()
    finally:
        stop.set()
        thread.join(10)
    assert errors == []
    check()


def keep_working(stop, errors):
    try:
        assert work(stop) > 0
    except Exception as error:  # noqa: BLE001
        errors.append(error)


def test_a_fork_in_the_middle_of_the_work_of_threads(region, forked):
    """The child shares neither lock nor connection with the threads it left behind, and they do not notice it."""
    region.use(timeout=5)  # a busy machine may leave a child waiting for its turn
    stop, errors = Event(), []
    threads = [Thread(target=keep_working, args=(stop, errors)) for _number in range(2)]
    for thread in threads:
        thread.start()

    def child():
        init_progress_status('child', None, 'Child')
        set_progress_status('child', message='here')
        assert get_progress_status('child')['message'] == 'here'
        for progress_id in IDS:
            set_progress_status(progress_id, message='child 1', length=2, current=1)
            get_progress_status(progress_id)
        assert 'child' in get_running_tasks()

    try:
        for _fork in range(6):
            with forked(child) as process:
                assert process.exit_status() == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)
    check()


def test_a_fork_while_others_use_beaker(forked, directory):
    """A mutex of Beaker's that a thread had at the fork is not the child's trouble."""
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'file', 'data_dir': str(directory)}
    stop = Event()

    def use_beaker():
        number = 0
        while not stop.is_set():
            cache = Cache(f'pages {number % 5}', type='file', data_dir=str(directory / 'pages'))
            cache.get(key='page', createfunc=lambda: 'text')
            number += 1

    threads = [Thread(target=use_beaker) for _number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _fork in range(6):
            with forked(check) as process:
                assert process.exit_status() == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


def test_a_fork_while_a_thread_sets_up_the_regions(forked, directory):
    options = {'type': 'file', 'data_dir': str(directory)}
    stop = Event()

    def set_up():
        number = 0
        while not stop.is_set():
            number += 1
            cache_regions['default'] = cache_regions['persistent'] = options | {'expire': 100 + number}
            configure({})

    def child():
        set_progress_status('job', message='here')
        assert get_progress_status('job')['message'] == 'here'

    cache_regions['default'] = cache_regions['persistent'] = options
    thread = Thread(target=set_up)
    thread.start()
    try:
        for _fork in range(6):
            with forked(child) as process:
                assert process.exit_status() == 0
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.promises('generic', 'processes')
def test_a_process_that_stops_in_the_middle_of_a_change(region, forked, monkeypatch):
    """Calls that need its lock fail after the timeout; others do not wait; once it continues, all calls succeed."""
    region.use(timeout=0.3)
    init_progress_status('job', 'ann', 'Import')
    store_value = clsmap[region.type].set_value

    def stop_and_store(*args, **options):
        monkeypatch.undo()
        os.kill(os.getpid(), signal.SIGSTOP)
        store_value(*args, **options)

    def stopped():
        monkeypatch.setattr(clsmap[region.type], 'set_value', stop_and_store)
        set_progress_status('job', message='from the child')

    with forked(stopped) as child:
        child.wait_until_stopped()
        for call in (set_progress_status, get_progress_status):
            start = time.monotonic()
            with pytest.raises(StorageError, match=r'another process kept .* locked for 0\.3 s'):
                call('job')
            assert 0.2 < time.monotonic() - start < 0.9
        timed(init_progress_status, 'other', 'ann', 'Export')
        child.kill(signal.SIGCONT)
        assert child.exit_status() == 0
    assert get_progress_status('job')['message'] == 'from the child'


def test_a_process_that_stops_while_it_writes_to_sqlite(directory, forked):
    options = {'type': 'sqlite', 'data_dir': str(directory)}
    cache_regions['default'] = cache_regions['persistent'] = options
    configure({'progress.timeout': '0.3'})
    init_progress_status('job', 'ann', 'Import')

    def stopped():
        with closing(sqlite3.connect(directory / FILE_NAME, isolation_level=None)) as connection:
            connection.execute('BEGIN IMMEDIATE')
            os.kill(os.getpid(), signal.SIGSTOP)

    with forked(stopped) as child:
        child.wait_until_stopped()
        start = time.monotonic()
        with pytest.raises(StorageError, match='locked'):
            set_progress_status('job')
        assert 0.2 < time.monotonic() - start < 0.9
        assert timed(get_progress_status, 'job')['status'] == 'running'
        assert timed(get_running_tasks) == {'job'}
        child.kill()
        assert child.exit_status() == -signal.SIGKILL
    timed(set_progress_status, 'job', message='goes on')


def test_a_redis_that_hangs_or_is_gone(private_redis):
    options = {'type': 'ext:redis', 'url': private_redis.url}
    cache_regions['default'] = cache_regions['persistent'] = options
    configure({'progress.timeout': '0.3'})
    calls = [get_running_tasks, partial(set_progress_status, 'job'), partial(get_progress_status, 'job')]
    init_progress_status('job', 'ann', 'Import')
    for trouble, relief in ((private_redis.pause, private_redis.resume), (private_redis.stop, private_redis.start)):
        trouble()
        for call in calls:
            with pytest.raises(StorageError) as caught:
                timed(call)
            assert caught.value.__cause__
        relief()
        init_progress_status('job', 'ann', 'Import')
        assert timed(get_running_tasks) == {'job'}


@pytest.mark.promises('generic')
def test_a_thread_that_is_held_up_in_the_middle_of_a_change(region, monkeypatch):
    region.use(timeout=0.3)
    inside, go_on = Event(), Event()
    store_value = clsmap[region.type].set_value

    def wait_and_store(*args, **options):
        inside.set()
        go_on.wait(10)
        store_value(*args, **options)

    monkeypatch.setattr(clsmap[region.type], 'set_value', wait_and_store)
    thread = Thread(target=init_progress_status, args=('job', 'ann', 'Import'))
    thread.start()
    try:
        assert inside.wait(5)
        monkeypatch.undo()
        with pytest.raises(StorageError, match='another thread kept lock'):
            get_progress_status('job')
    finally:
        go_on.set()
        thread.join(10)
    assert get_progress_status('job')['status'] == 'running'


@pytest.mark.promises('generic', 'processes')
def test_the_directories_may_be_tidied_up(region, directory):
    """Temporary places are, sometimes: the locks come again by themselves."""
    init_progress_status('job', 'ann', 'Import')
    shutil.rmtree(directory / 'locks')
    init_progress_status('other', 'ann', 'Import')
    assert 'other' in get_running_tasks()


@pytest.mark.promises('generic', 'processes')
def test_a_lock_that_cannot_be_had_is_a_storage_error(region, directory):
    init_progress_status('job', 'ann', 'Import')
    shutil.rmtree(directory / 'locks')
    (directory / 'locks').write_text('in the way')
    for call in (set_progress_status, get_progress_status):
        with pytest.raises(StorageError) as caught:
            call('job')
        assert isinstance(caught.value.__cause__, OSError)
    (directory / 'locks').unlink()
    assert get_progress_status('job')['status'] == 'running'


@pytest.mark.parametrize('text', [b'', b'garbage', b'\x80\x04N.'])
def test_a_damaged_file_is_a_storage_error(directory, text):
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'file', 'data_dir': str(directory)}
    init_progress_status('job', 'ann', 'Import')
    [file] = directory.rglob('*.cache')
    file.write_bytes(text)
    for call in (set_progress_status, get_progress_status):
        with pytest.raises(StorageError, match="region of type 'file' failed"):
            call('job')
    file.unlink()
    init_progress_status('job', 'ann', 'Import')
    assert get_running_tasks() == {'job'}


def test_a_database_that_cannot_be_opened_is_a_storage_error(directory):
    pytest.importorskip('sqlalchemy')
    options = {'type': 'ext:database', 'url': f'sqlite:///{directory}/none/beaker.db', 'lock_dir': str(directory)}
    cache_regions['default'] = cache_regions['persistent'] = options
    for call in (set_progress_status, get_progress_status):
        with pytest.raises(StorageError, match='unable to open database file'):
            call('job')
    (directory / 'none').mkdir()
    init_progress_status('job', 'ann', 'Import')
    assert get_running_tasks() == {'job'}


@pytest.fixture
def small_disk(tmp_path):
    """Return a file system of 1 MB of the test's own; it needs the right to mount one."""
    place = tmp_path / 'disk'
    place.mkdir()
    mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place)
    yield place
    subprocess.run(['umount', '--lazy', place], check=True)


def mount(*arguments):
    if subprocess.run(['mount', *arguments], check=False, capture_output=True).returncode:
        pytest.skip('this process may not mount a file system')


def close_databases():
    for engine in SqlaNamespaceManager.binds.dict.values():
        engine.dispose()


def fill(directory):
    with suppress(OSError), (directory / 'filler').open('wb', buffering=0) as file:
        while True:
            file.write(bytes(512))


# Beaker does not close the file that it cannot write.
@pytest.mark.filterwarnings('ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('cause', ['full', 'read-only'])
@pytest.mark.parametrize('kind', ['file', 'dbm', 'ext:database'])
def test_everything_is_readable_where_nothing_can_be_written(small_disk, kind, cause):
    """Other processes have written to some of the namespaces only; the locks of the rest do not exist yet."""
    if kind == 'dbm' and cause == 'read-only' and sys.version_info >= (3, 13):
        pytest.skip('dbm.sqlite3, new in Python 3.13, has a write-ahead log, which needs files that can be written')
    options = {'type': kind, 'data_dir': str(small_disk), 'url': f'sqlite:///{small_disk}/beaker.db'}
    cache_regions['default'] = cache_regions['persistent'] = options
    configure({})
    for name in ('one', 'two', 'three'):
        init_progress_status(name, 'ann', name)
    set_progress_status('two', 'finished', message='done')
    set_progress_status('three', 'failed')
    if cause == 'full':
        fill(small_disk)
    else:
        close_databases()  # a file that is open for writing prevents it
        mount('-o', 'remount,ro', small_disk)
    # On a full disk, `dbm` still has space within its file for the mark of an acknowledged end.
    acknowledge = kind != 'dbm' or cause != 'full'
    for _again in range(2):
        assert get_progress_status('one')['status'] == 'running'
        assert get_progress_status('two', acknowledge=acknowledge)['message'] == 'done'
        assert get_progress_status('never used') == {'status': 'unknown'}
        assert get_running_tasks() == {'one', 'two'}
        assert {task['progress_id'] for task in list_tasks(owner='ann')} == {'one', 'two', 'three'}
        assert [task['progress_id'] for task in list_tasks(status='failed')] == ['three']
        assert current_store().storage.update_active({'one': {}}, 60) == {'one': 0}
    with pytest.raises(StorageError):
        set_progress_status('one', message='x' * 9000)
    with pytest.raises(StorageError):
        for number in range(100):
            init_progress_status(f'more {number}', 'ann', 'Import')
    if cause == 'full':
        (small_disk / 'filler').unlink()
    else:
        mount('-o', 'remount,rw', small_disk)
        close_databases()  # SQLite keeps a database read-only that it opened so
    set_progress_status('one', message='goes on')
    assert get_progress_status('one')['message'] == 'goes on'
    assert get_progress_status('two')['status'] == 'finished'
    assert get_progress_status('two') == {'status': 'unknown'}


@pytest.mark.filterwarnings('ignore:unclosed <socket:ResourceWarning')
def test_memcached_may_drop_what_it_likes(memcached_url, directory):
    """Without its index a task is not on the list until it changes, but the rest holds."""
    options = {'type': 'ext:memcached', 'url': memcached_url, 'data_dir': str(directory)}
    cache_regions['default'] = cache_regions['persistent'] = options
    namespace = f't{uuid.uuid4().hex}'
    configure({'progress.namespace': namespace, 'progress.linger': '0'})

    def drop_index():
        for number in range(beaker.NAMESPACES):
            del MemcachedNamespaceManager(f'{namespace}:{number:02x}', **options)['index']

    init_progress_status('job', 'ann', 'Import')
    drop_index()
    assert get_running_tasks() == set()
    assert get_progress_status('job')['status'] == 'running'
    set_progress_status('job', 'finished')
    assert get_running_tasks() == {'job'}
    drop_index()
    assert get_progress_status('job')['status'] == 'finished'
    assert get_progress_status('job') == {'status': 'unknown'}
