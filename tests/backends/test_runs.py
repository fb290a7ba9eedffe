"""Runs of an id, its reuse and its removal, for every region type."""

import pytest
from support.records import run_number, task_record

from pyramid_progress import (
    cancel_task,
    forget_task,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    set_progress_status,
)
from pyramid_progress.model.record import Activity, Start
from pyramid_progress.runtime import current_store

UNKNOWN = {'status': 'unknown'}
GOES_ON = Activity(0)
NAMES = ['ann', 'bob', 'cyd', 'dee']


@pytest.fixture
def storage(region):
    return current_store().storage


def stored(storage, progress_id='job'):
    return storage.get_many([progress_id]).get(progress_id)


def update(storage, run, progress_id='job', **changes):
    """Change a task as the publisher of a run does; return the activity that it gets."""
    return storage.update_active({progress_id: changes}, 60, {progress_id: run_number(run)}).get(progress_id)


def test_an_older_run_does_not_change_a_newer_one(storage):
    storage.start('job', task_record(1000), 60)
    assert update(storage, 1000, current='1') == GOES_ON
    storage.start('job', task_record(2000), 60)
    for changes in ({'current': '2'}, {'status': '"failed"', 'message': '"interrupted"'}, {}):
        assert update(storage, 1000, **changes) == Activity.SUPERSEDED
    assert stored(storage) == task_record(2000)
    assert update(storage, 2000, current='3') == GOES_ON
    assert stored(storage) == task_record(2000, current='3')
    assert storage.running_ids() == {'job'}


def test_an_older_run_learns_of_the_end_and_the_cancel_request_of_a_newer_one(storage):
    storage.start('job', task_record(2000), 60)
    update(storage, 2000, _cancel='true')
    assert update(storage, 1000, current='1') == Activity.SUPERSEDED | Activity.CANCELLING
    assert update(storage, 2000, status='"cancelled"') == Activity.ENDED | Activity.CANCELLING
    assert update(storage, 1000, current='1') == Activity.SUPERSEDED | Activity.CANCELLING | Activity.ENDED
    assert stored(storage)['status'] == '"cancelled"'
    assert 'current' in stored(storage)


def test_a_change_without_a_run_addresses_the_present_one(storage):
    storage.start('job', task_record(1000), 60)
    storage.start('job', task_record(2000), 60)
    assert storage.update_active({'job': {'current': '1'}}, 60) == {'job': GOES_ON}
    assert storage.update_active({'job': {'current': '2'}}, 60, {'other': run_number(1)}) == {'job': GOES_ON}
    assert stored(storage)['current'] == '2'


def test_many_runs_are_changed_in_one_call(storage):
    for number in range(10):
        storage.start(f'job {number}', task_record(1000 + number % 2), 60)
    changes = {f'job {number}': {'current': str(number)} for number in range(12)}
    activities = storage.update_active(changes, 60, dict.fromkeys(changes, run_number(1000)))
    assert activities == {f'job {number}': Activity.SUPERSEDED if number % 2 else GOES_ON for number in range(10)}
    for number in range(10):
        assert stored(storage, f'job {number}')['current'] == ('null' if number % 2 else str(number))


def test_a_run_that_the_store_lost_has_no_activity(storage):
    """Then the publisher restores it: there is no record, a bare one, or one of an older run."""
    assert update(storage, 2000, current='1') is None
    storage.update('job', {'status': '"running"'}, 60)
    assert update(storage, 2000, current='1') is None
    storage.start('job', task_record(1000), 60)
    assert update(storage, 2000, current='1') is None
    assert stored(storage) == task_record(1000)


@pytest.mark.parametrize('present', ['nothing', 'bare', 'older'])
def test_a_lost_run_is_restored(storage, present):
    if present == 'bare':
        storage.update('job', {'status': '"running"'}, 60)
    elif present == 'older':
        storage.start('job', task_record(1000, '"bob"', _heartbeat=repr(storage.now())), 60)
    assert storage.start('job', task_record(2000), 60, Start.RESTORE)
    assert stored(storage) == task_record(2000)
    assert [entry.start for entry in storage.list_entries(['owner:ann'], 9)] == [2000]
    assert storage.list_entries(['owner:bob'], 9) == []


@pytest.mark.parametrize('present', [2000, 3000])
def test_a_run_is_not_restored_over_itself_or_a_newer_one(storage, present):
    record = task_record(present, status='"failed"')
    storage.start('job', record, 60)
    assert not storage.start('job', task_record(2000), 60, Start.RESTORE)
    assert stored(storage) == record


@pytest.mark.parametrize('status', [None, '"running"', '"finished"', '"failed"', 'bare', 'acknowledged'])
def test_a_start_of_a_new_id_replaces_no_record(storage, status):
    if status == 'bare':
        storage.update('job', {'status': '"running"'}, 60)
    elif status == 'acknowledged':
        storage.start('job', task_record(1000, status='"finished"'), 60)
        storage.acknowledge('job', 60)
    elif status:
        storage.start('job', task_record(1000, status=status), 60)
    before = stored(storage)
    assert storage.start('job', task_record(2000), 60, Start.NEW) is (status is None)
    assert stored(storage) == (before or task_record(2000))


def test_of_simultaneous_starts_of_a_new_id_one_succeeds(region):
    ids = [f'job {number}' for number in range(20)]
    won = region.at_once('starts_of_new_ids', *([ids, name] for name in NAMES))
    assert sorted(progress_id for ids_of_one in won for progress_id in ids_of_one) == sorted(ids)
    for name, ids_of_one in zip(NAMES, won, strict=True):
        assert all(get_progress_status(progress_id)['owner'] == name for progress_id in ids_of_one)


def test_of_simultaneous_restores_the_newest_run_remains(region):
    ids = [f'job {number}' for number in range(20)]
    region.at_once('restores', *([ids, 1000 + number] for number in range(len(NAMES))))
    records = current_store().storage.get_many(ids)
    assert [records[progress_id]['_run'] for progress_id in ids] == [run_number(1003)] * 20


# The reuse of an id


def test_a_task_in_use_cannot_be_replaced_by_another_owner(region):
    for status in ('running', 'pending', 'paused'):
        for owner, other in (('ann', 'bob'), ('ann', None), (None, 'ann')):
            progress_id = f'{status} {owner} {other}'
            init_progress_status(progress_id, owner, 'Import')
            set_progress_status(progress_id, status)
            before = get_progress_status(progress_id)
            with pytest.raises(ValueError, match=f"progress_id '{progress_id}' is in use by another owner"):
                init_progress_status(progress_id, other, 'Mine')
            assert get_progress_status(progress_id) == before
    assert len(get_running_tasks()) == 9


@pytest.mark.parametrize('end', ['finished', 'acknowledged', 'failed', 'cancelled'])
def test_an_ended_task_can_be_replaced_by_another_owner(region, end):
    init_progress_status('job', 'ann', 'Import', tags=['old'])
    set_progress_status('job', 'finished' if end == 'acknowledged' else end, message='old')
    if end == 'acknowledged':
        get_progress_status('job')
    init_progress_status('job', 'bob', 'Mine')
    status = get_progress_status('job')
    del status['started']
    assert status == {
        'status': 'running', 'owner': 'bob', 'label': 'Mine', 'tags': None, 'length': None, 'current': None,
    }  # fmt: skip
    assert get_running_tasks() == {'job'}
    assert [task['owner'] for task in list_tasks(owner='bob')] == ['bob']
    assert list_tasks(owner='ann') == list_tasks(status=end) == []


@pytest.mark.parametrize(('member', 'age', 'in_use'), [
    ('_heartbeat', 10, True), ('_heartbeat', 20, False), ('_changed', 870, True), ('_changed', 930, False),
])  # fmt: skip
def test_a_stalled_task_can_be_replaced_by_another_owner(storage, member, age, in_use):
    """It stalls 15 seconds after its last heartbeat; without heartbeats, 15 minutes after its last change."""
    storage.start('job', task_record(1000, **{member: str(int(storage.now()) - age)}), 3600)
    assert storage.start('job', task_record(2000, '"bob"'), 3600) is not in_use
    assert stored(storage)['owner'] == ('"ann"' if in_use else '"bob"')
    assert [entry.start for entry in storage.list_entries(['running'], 9)] == [1000 if in_use else 2000]


def test_each_change_by_the_functions_keeps_an_id_in_use(storage):
    storage.start('job', task_record(1000, _changed=str(int(storage.now()) - 2000)), 3600)
    set_progress_status('job', current=1)
    with pytest.raises(ValueError, match='another owner'):
        init_progress_status('job', 'bob', 'Mine')


# The request to stop, and the removal


def test_a_cancel_request_marks_a_cancellable_task(storage):
    storage.start('job', task_record(1000, _cancellable='true', _heartbeat=repr(storage.now())), 60)
    assert cancel_task('job')
    assert cancel_task('job')
    assert get_progress_status('job')['status'] == 'cancelling'
    assert update(storage, 1000, current='1') == Activity.CANCELLING
    assert get_running_tasks() == {'job'}


def test_a_new_run_drops_the_cancel_request(storage):
    storage.start('job', task_record(1000, _cancellable='true'), 60)
    assert cancel_task('job')
    storage.start('job', task_record(2000, _cancellable='true'), 60)
    assert update(storage, 2000, current='1') == GOES_ON


def test_a_task_that_cannot_be_cancelled_is_not(storage):
    init_progress_status('by functions', 'ann', 'Import')
    set_progress_status('bare')
    storage.start('ended', task_record(1000, _cancellable='true', status='"failed"'), 60)
    for progress_id in ('by functions', 'bare', 'ended', 'never used'):
        before = stored(storage, progress_id)
        assert not cancel_task(progress_id)
        assert stored(storage, progress_id) == before


@pytest.mark.parametrize('end', [None, 'finished', 'acknowledged', 'failed', 'bare'])
def test_a_task_can_be_forgotten(region, end):
    if end != 'bare':
        init_progress_status('job', 'ann', 'Import')
    set_progress_status('job', end if end in ('finished', 'failed') else 'running')
    if end == 'acknowledged':
        set_progress_status('job', 'finished')
        get_progress_status('job')
    init_progress_status('other', 'ann', 'Import')
    assert forget_task('job')
    assert not forget_task('job')
    assert get_progress_status('job') == UNKNOWN
    assert stored(current_store().storage) is None
    assert get_running_tasks() == {'other'}
    assert [task['progress_id'] for task in list_tasks()] == ['other']
    init_progress_status('job', 'bob', 'Mine')
    assert get_progress_status('job')['owner'] == 'bob'
