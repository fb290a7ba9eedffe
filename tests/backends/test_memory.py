"""The driver of the region type ``memory``: what it does beyond the contract."""

import time
from threading import Event, Thread

import pytest

from pyramid_progress.storage import StorageError, memory
from pyramid_progress.storage.memory import MemoryStorage

RUNNING = {'status': '"running"', 'owner': '"ann"', 'started': '"now"'}


@pytest.fixture
def held():
    """Let another thread hold the lock, as if it was held up in the middle of a change."""
    inside, go_on = Event(), Event()

    def hold():
        with memory._lock:
            inside.set()
            go_on.wait(10)

    thread = Thread(target=hold)
    thread.start()
    assert inside.wait(5)
    yield
    go_on.set()
    thread.join(10)


def test_who_waits_for_a_thread_hears_of_it_within_the_timeout(request):
    storage = MemoryStorage('here', 0.3)
    storage.start('job', RUNNING, 60)
    request.getfixturevalue('held')
    start = time.monotonic()
    with pytest.raises(StorageError, match=r'another thread .* for 0\.3 s'):
        storage.update('job', {'status': '"odd"'}, 60)
    assert 0.2 < time.monotonic() - start < 0.9
    # Who only reads does not wait.
    assert storage.read(['job']) == {'job': RUNNING}
    assert storage.tasks() == {'job'}


def test_a_forked_child_goes_on_whatever_its_parent_s_threads_were_doing(request, forked):
    storage = MemoryStorage('here', 0.3)
    storage.start('job', RUNNING, 60)
    request.getfixturevalue('held')

    def child():
        storage.update('job', {'status': '"odd"'}, 60)
        assert storage.read(['job'])['job']['status'] == '"odd"'

    with forked(child) as process:
        assert process.exit_status() == 0
    assert storage.read(['job']) == {'job': RUNNING}


def test_all_storages_of_a_namespace_are_one():
    one, same, other = MemoryStorage('here', 1), MemoryStorage('here', 1), MemoryStorage('there', 1)
    one.start('job', RUNNING, 60)
    assert same.tasks() == {'job'}
    assert other.tasks() == set()
    one.close()
    assert same.read(['job']) == {'job': RUNNING}


def test_what_it_is_given_and_what_it_gives_are_copies():
    storage = MemoryStorage('here', 1)
    given = dict(RUNNING)
    storage.start('job', given, 60)
    for record in (given, storage.read(['job'])['job'], storage.amend({'job': {}}, 60)['job']):
        record['status'] = '"spoilt"'
        assert storage.read(['job']) == {'job': RUNNING}


@pytest.mark.parametrize('jump', [-3600, 3600])
def test_the_time_of_day_does_not_matter(monkeypatch, jump):
    storage = MemoryStorage('here', 1)
    storage.start('job', RUNNING, 0.5)
    now = time.time
    monkeypatch.setattr(time, 'time', lambda: now() + jump)
    assert storage.tasks() == {'job'}
    time.sleep(0.6)
    assert storage.tasks() == set()
    assert storage.read(['job']) == {}


def test_what_has_ended_goes_in_good_time():
    """There are at most twice as many entries as were alive at the same time, or a few."""
    storage = MemoryStorage('here', 1)
    entries = memory._spaces['here']
    for number in range(200):
        storage.start(f'alive {number}', RUNNING, 60)
    for number in range(1000):
        storage.start(f'gone {number}', RUNNING, 60)
        storage.discard(f'gone {number}')
        assert len(entries) <= 402
    assert len(storage.tasks()) == 200
