"""The contract of storage drivers: runs of an id, and its reuse."""

# ruff: noqa: S101  (these are tests)

import json
from functools import partial

import pytest

from ...model.record import NO_ACTIVITY, Activity, Start
from ...storage import Storage
from ..records import run_number, task_record
from .case import StorageCase, at_once, listed, record_of, stored


def _update(storage: Storage, run: int, **changes: str) -> Activity | None:
    """Change a task as the publisher of a run does; return the activity that it gets."""
    return storage.update_active({'job': changes}, 60, {'job': run_number(run)}).get('job')


class RunContract(StorageCase):
    """Which records a start replaces, and which changes reach which run."""

    # Changes

    def test_an_older_run_does_not_change_a_newer_one(self, storage: Storage) -> None:
        storage.start('job', task_record(1000), 60)
        assert _update(storage, 1000, current='1') == NO_ACTIVITY
        storage.start('job', task_record(2000), 60)
        assert _update(storage, 1000, current='2') == Activity.SUPERSEDED
        assert _update(storage, 1000, status='"failed"', message='"interrupted"') == Activity.SUPERSEDED
        assert _update(storage, 1000) == Activity.SUPERSEDED
        assert stored(storage) == task_record(2000)
        assert _update(storage, 2000, current='3') == NO_ACTIVITY
        assert stored(storage) == task_record(2000, current='3')
        assert storage.running_ids() == {'job'}

    def test_an_older_run_learns_of_the_end_and_the_cancel_request_of_a_newer_one(self, storage: Storage) -> None:
        storage.start('job', task_record(2000), 60)
        _update(storage, 2000, _cancel='true')
        assert _update(storage, 1000, current='1') == Activity.SUPERSEDED | Activity.CANCELLING
        assert _update(storage, 2000, status='"cancelled"') == Activity.ENDED | Activity.CANCELLING
        assert _update(storage, 1000, current='1') == Activity.SUPERSEDED | Activity.CANCELLING | Activity.ENDED
        assert stored(storage) == task_record(2000, status='"cancelled"', _cancel='true')

    def test_a_change_without_a_run_addresses_the_present_one(self, storage: Storage) -> None:
        storage.start('job', task_record(1000), 60)
        storage.start('job', task_record(2000), 60)
        assert storage.update_active({'job': {'current': '1'}}, 60) == {'job': NO_ACTIVITY}
        assert storage.update_active({'job': {'current': '2'}}, 60, {'other': run_number(1)}) == {'job': NO_ACTIVITY}
        assert record_of(storage)['current'] == '2'

    def test_many_runs_are_changed_in_one_call(self, storage: Storage) -> None:
        for number in range(10):
            storage.start(f'job {number}', task_record(1000 + number % 2), 60)
        changes = {f'job {number}': {'current': str(number)} for number in range(12)}
        activities = storage.update_active(changes, 60, dict.fromkeys(changes, run_number(1000)))
        expected = [NO_ACTIVITY, Activity.SUPERSEDED]
        assert activities == {f'job {number}': expected[number % 2] for number in range(10)}
        for number in range(10):
            assert record_of(storage, f'job {number}')['current'] == ('null' if number % 2 else str(number))

    def test_a_run_that_the_store_lost_has_no_activity(self, storage: Storage) -> None:
        """Then the publisher restores it: there is no record, a bare one, or one of an older run."""
        assert _update(storage, 2000, current='1') is None
        storage.update('job', {'status': '"running"'}, 60)
        assert _update(storage, 2000, current='1') is None
        storage.start('job', task_record(1000), 60)
        assert _update(storage, 2000, current='1') is None
        assert stored(storage) == task_record(1000)

    def test_a_new_run_drops_the_cancel_request(self, storage: Storage) -> None:
        storage.start('job', task_record(1000), 60)
        assert _update(storage, 1000, _cancel='true') == Activity.CANCELLING
        storage.start('job', task_record(2000), 60)
        assert _update(storage, 2000, current='1') == NO_ACTIVITY

    # Starts

    @pytest.mark.parametrize('present', ['nothing', 'bare', 'older'])
    def test_a_lost_run_is_restored(self, storage: Storage, present: str) -> None:
        if present == 'bare':
            storage.update('job', {'status': '"running"'}, 60)
        elif present == 'older':
            storage.start('job', task_record(1000, '"bob"', _heartbeat=repr(storage.now())), 60)
        assert storage.start('job', task_record(2000), 60, Start.RESTORE)
        assert stored(storage) == task_record(2000)
        assert storage.list_entries(['owner:ann'], 9) == [(2000, 'job')]
        assert storage.list_entries(['owner:bob'], 9) == []

    @pytest.mark.parametrize('present', [2000, 3000])
    def test_a_run_is_not_restored_over_itself_or_a_newer_one(self, storage: Storage, present: int) -> None:
        record = task_record(present, status='"failed"')
        storage.start('job', record, 60)
        assert not storage.start('job', task_record(2000), 60, Start.RESTORE)
        assert stored(storage) == record

    @pytest.mark.parametrize('status', [None, '"running"', '"finished"', '"failed"', 'bare', 'acknowledged'])
    def test_a_start_of_a_new_id_replaces_no_record(self, storage: Storage, status: str | None) -> None:
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

    def test_a_start_of_a_new_id_may_be_repeated(self, storage: Storage) -> None:
        """The answer to the first call may be lost."""
        for _ in range(2):
            assert storage.start('job', task_record(1000), 60, Start.NEW)
        assert stored(storage) == task_record(1000)

    def test_of_simultaneous_starts_of_a_new_id_one_succeeds(self, storage: Storage) -> None:
        for number in range(5):
            starts = [
                partial(storage.start, f'job {number}', task_record(1000 + run, f'"{run}"'), 60, Start.NEW)
                for run in range(4)
            ]
            results = at_once(*starts)
            assert results.count(True) == 1
            winner = results.index(True)
            assert stored(storage, f'job {number}') == task_record(1000 + winner, f'"{winner}"')

    # The reuse of an id

    @pytest.mark.parametrize(('member', 'age', 'in_use'), [
        ('_heartbeat', 10, True), ('_heartbeat', 20, False), ('_changed', 870, True), ('_changed', 930, False),
    ])  # fmt: skip
    def test_a_stalled_task_can_be_replaced_by_another_owner(
        self, storage: Storage, member: str, age: int, in_use: bool
    ) -> None:
        """It stalls 15 seconds after its last heartbeat; without heartbeats, 15 minutes after its last change."""
        for owner, other in (('"ann"', '"bob"'), ('"ann"', 'null'), ('null', '"ann"')):
            progress_id = f'{owner} {other}'
            record = task_record(1000, owner, **{member: str(int(storage.now()) - age)})
            storage.start(progress_id, record, 3600)
            assert storage.start(progress_id, task_record(2000, other), 3600) is not in_use
            assert stored(storage, progress_id) == (record if in_use else task_record(2000, other))
            assert storage.list_entries(['running'], 1) == [(1000 if in_use else 2000, progress_id)]
            storage.delete(progress_id)

    @pytest.mark.parametrize('owner', ['"ann"', '"bob"'])
    @pytest.mark.parametrize('end', ['finished', 'acknowledged', 'failed', 'cancelled'])
    def test_an_ended_task_can_be_replaced(self, storage: Storage, end: str, owner: str) -> None:
        status = json.dumps('finished' if end == 'acknowledged' else end)
        storage.start('job', task_record(1000, status=status, message='"old"', _heartbeat=repr(storage.now())), 60)
        assert storage.acknowledge('job', 60) is (status == '"finished"')
        assert storage.start('job', task_record(2000, owner), 60)
        assert stored(storage) == task_record(2000, owner)
        assert storage.running_ids() == {'job'}
        assert storage.list_entries(['running', 'finished', 'failed', 'cancelled', 'owner:ann', 'owner:bob'], 9) == [
            (2000, 'job')
        ]
        assert listed(storage, 'finished', 'failed', 'cancelled') == []
        assert listed(storage, f'owner:{json.loads(owner)}') == ['job']

    def test_the_same_owner_may_replace_a_running_task(self, storage: Storage) -> None:
        """Owners are compared as strings."""
        record = task_record(1000, '1', message='"old"', _heartbeat=repr(storage.now()))
        storage.start('job', record, 60)
        assert storage.start('job', task_record(2000, '"1"'), 60)
        assert stored(storage) == task_record(2000, '"1"')

    def test_any_owner_may_start_an_id_never_started(self, storage: Storage) -> None:
        storage.update('job', {'status': '"running"', 'message': '"early"'}, 60)
        assert storage.start('job', task_record(1000, '"bob"'), 60)
        assert stored(storage) == task_record(1000, '"bob"')
