"""The driver of the region type ``memory``: what it does beyond the contract."""

import time
from threading import Event, Thread

import pytest

from pyramid_progress.storage import StorageError
from pyramid_progress.storage.memory import Memory, MemoryStorage
from pyramid_progress.testing.records import task_record

RUNNING = {'status': '"running"', 'owner': '"ann"', 'started': '"now"'}


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def open_storage(memory):
    """Return a function that opens a storage in the same memory."""
    return lambda namespace='here', timeout=1: MemoryStorage({'type': 'memory', 'memory': memory}, namespace, timeout)


@pytest.fixture
def held(memory):
    """Let another thread hold the lock, as if it was interrupted in the middle of a change."""
    inside, go_on = Event(), Event()

    def hold():
        with memory.lock:
            inside.set()
            go_on.wait(10)

    thread = Thread(target=hold)
    thread.start()
    assert inside.wait(5)
    yield
    go_on.set()
    thread.join(10)


def test_a_change_fails_after_the_timeout_while_another_thread_holds_the_lock(request, open_storage):
    storage = open_storage(timeout=0.3)
    storage.start('job', RUNNING, 60)
    request.getfixturevalue('held')
    start = time.monotonic()
    with pytest.raises(StorageError, match=r'another thread .* for 0\.3 s'):
        storage.update('job', {'status': '"odd"'}, 60)
    assert 0.2 < time.monotonic() - start < 0.9
    # Reading does not wait for the lock.
    assert storage.get_many(['job']) == {'job': RUNNING}
    assert storage.running_ids() == {'job'}


def test_a_forked_child_can_make_changes_although_a_thread_of_its_parent_held_the_lock(request, open_storage, forked):
    storage = open_storage(timeout=0.3)
    storage.start('job', RUNNING, 60)
    request.getfixturevalue('held')

    def child():
        storage.update('job', {'status': '"odd"'}, 60)
        assert storage.get_many(['job'])['job']['status'] == '"odd"'

    with forked(child) as process:
        assert process.exit_status() == 0
    assert storage.get_many(['job']) == {'job': RUNNING}


def test_all_storages_of_a_namespace_have_the_same_entries(open_storage):
    one, same, other = open_storage(), open_storage(), open_storage('there')
    one.start('job', RUNNING, 60)
    assert same.running_ids() == {'job'}
    assert other.running_ids() == set()
    one.close()
    assert same.get_many(['job']) == {'job': RUNNING}


def test_storages_of_different_memories_have_different_entries(open_storage):
    open_storage().start('job', RUNNING, 60)
    assert MemoryStorage({'type': 'memory'}, 'here', 1).running_ids() == set()


def test_records_are_copied_when_they_are_stored_and_when_they_are_read(open_storage):
    storage = open_storage()
    given = dict(RUNNING)
    storage.start('job', given, 60)
    changes = {'message': '"row 1"'}
    storage.update_active({'job': changes}, 60)
    expected = RUNNING | changes
    for record in (given, changes, storage.get_many(['job'])['job']):
        record['status'] = '"spoilt"'
        assert storage.get_many(['job']) == {'job': expected}


@pytest.mark.parametrize('jump', [-3600, 3600])
def test_lifetimes_do_not_depend_on_the_time_of_day(monkeypatch, open_storage, jump):
    storage = open_storage()
    storage.start('job', RUNNING, 0.5)
    now = time.time
    monkeypatch.setattr(time, 'time', lambda: now() + jump)
    assert storage.running_ids() == {'job'}
    time.sleep(0.6)
    assert storage.running_ids() == set()
    assert storage.get_many(['job']) == {}


def test_expired_tasks_are_removed(memory, open_storage):
    """There are at most twice as many tasks as were alive at the same time, or a few."""
    storage = open_storage()
    tasks = memory.namespaces['here'].tasks
    for number in range(200):
        storage.start(f'alive {number}', RUNNING, 60)
    for number in range(1000):
        storage.start(f'gone {number}', RUNNING, 60)
        storage.delete(f'gone {number}')
        assert len(tasks) <= 402
    assert len(storage.running_ids()) == 200


def test_the_indexes_hold_no_more_than_the_tasks(memory, open_storage):
    storage = open_storage()
    for number in range(300):
        storage.start(f'job {number}', task_record(1000 + number, f'"owner {number}"'), 60)
        storage.update_active({f'job {number}': {'status': '"finished"'}}, 60)
        storage.acknowledge(f'job {number}', 60 if number % 2 else 0)
    for number in range(1, 300, 2):
        storage.delete(f'job {number}')
    space = memory.namespaces['here']
    assert (space.tasks, space.indexes) == ({}, {})
