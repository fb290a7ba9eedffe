"""Runs of an id, its reuse and its removal, by the functions, for every region type."""

import pytest

from pyramid_progress import (
    cancel_task,
    forget_task,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    set_progress_status,
)
from pyramid_progress.model.record import Activity
from pyramid_progress.runtime import current_store
from pyramid_progress.testing.records import run_number, task_record

UNKNOWN = {'status': 'unknown'}
NAMES = ['ann', 'bob', 'cyd', 'dee']


@pytest.fixture
def storage(region):
    return current_store().storage


def stored(storage, progress_id='job'):
    return storage.get_many([progress_id]).get(progress_id)


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
    assert storage.update_active({'job': {'current': '1'}}, 60) == {'job': Activity.CANCELLING}
    assert get_running_tasks() == {'job'}


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
