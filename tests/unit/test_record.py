"""The rules by which the records of tasks and parts change; that drivers follow them is the matter of other tests."""

import pytest

from pyramid_progress.model import parts
from pyramid_progress.model.record import (
    ALL_KEYS,
    Activity,
    Start,
    acknowledged,
    activity,
    dump,
    index_keys,
    is_in_use,
    is_listed,
    is_moved,
    load,
    may_start,
    new_run,
    oldest_heartbeat,
    owner_key,
    start_time,
    updated,
    updated_active,
)
from pyramid_progress.testing.records import run_number, task_record

NOW = 1_900_000_000.0
BARE = {'status': '"running"', 'message': 'null', 'length': 'null', 'current': 'null'}


def test_later_runs_are_greater_and_say_when_they_started():
    times = [0.0, 0.001, 1.0, 999.5, 1_700_000_000.123, NOW, 9_999_999_999.0]
    numbers = [new_run(time) for time in times]
    assert numbers == sorted(numbers)
    assert [start_time({'_run': number}) for number in numbers] == [
        0,
        1,
        1000,
        999_500,
        1_700_000_000_123,
        1_900_000_000_000,
        9_999_999_999_000,
    ]
    assert start_time({}) == 0
    assert new_run(-5.0) > '"0'


def test_runs_that_start_at_the_same_time_differ():
    assert len({new_run(NOW) for _ in range(5)}) == 5


def test_runs_that_start_in_the_same_millisecond_are_ordered():
    assert new_run(NOW + 0.0002) < new_run(NOW + 0.0006) < new_run(NOW + 0.0009) < new_run(NOW + 0.001)


@pytest.mark.parametrize('mode', Start)
def test_an_id_without_a_record_may_be_started(mode):
    assert may_start(None, task_record(2), mode, NOW)


@pytest.mark.parametrize(('old', 'modes'), [
    (BARE, {Start.ANY, Start.RESTORE}),
    (task_record(1, _changed=str(NOW)), {Start.ANY, Start.RESTORE}),
    (task_record(2, _changed=str(NOW)), {Start.ANY, Start.NEW}),  # the same run: its start is repeated
    (task_record(2, '"bob"', _heartbeat=str(NOW - 16)), {Start.ANY, Start.NEW}),
    (task_record(3, _changed=str(NOW)), {Start.ANY}),
    (task_record(1, '"bob"', _changed=str(NOW)), {Start.RESTORE}),
    (task_record(3, '"bob"', _changed=str(NOW)), set()),
    (task_record(3, '"bob"', status='"failed"'), {Start.ANY}),
    (task_record(3, '"bob"', _heartbeat=str(NOW - 16)), {Start.ANY}),
    ({name: text for name, text in task_record(1).items() if name != '_run'}, {Start.ANY, Start.RESTORE}),
])  # fmt: skip
def test_which_records_a_start_replaces(old, modes):
    assert {mode for mode in Start if may_start(old, task_record(2), mode, NOW)} == modes


@pytest.mark.parametrize(('members', 'in_use'), [
    ({'_heartbeat': str(NOW)}, True), ({'_heartbeat': str(NOW - 15)}, True), ({'_heartbeat': str(NOW - 15.1)}, False),
    ({'_heartbeat': '1e999'}, True), ({'_changed': str(NOW - 900)}, True), ({'_changed': str(NOW - 901)}, False),
    ({}, False),
    ({'_heartbeat': str(NOW - 20), '_changed': str(NOW)}, False),
    ({'_heartbeat': str(NOW), 'status': '"finished"'}, False), ({'_heartbeat': str(NOW), 'status': '"odd"'}, True),
])  # fmt: skip
def test_a_task_is_in_use_until_it_ends_or_stalls(members, in_use):
    assert is_in_use(task_record(1, **members), NOW) is in_use


@pytest.mark.parametrize(('owner', 'key'), [
    ('null', 'ownerless'), ('"null"', 'owner:null'), ('"ownerless"', 'owner:ownerless'), ('1', 'owner:1'),
    ('"1"', 'owner:1'),
    ('"\\u00e9"', 'owner:é'), ('"é"', 'owner:é'), ('[1]', 'owner:[1]'), ('""', 'owner:'),
])  # fmt: skip
def test_owners_are_compared_as_strings(owner, key):
    assert owner_key(owner) == key


@pytest.mark.parametrize(('record', 'keys'), [
    (BARE, ()),
    (task_record(1), ('owner:ann', 'running')),
    (task_record(1, 'null', status='"pending"'), ('ownerless', 'running')),
    (task_record(1, status='"odd"'), ('owner:ann', 'running')),
    (task_record(1, status='"finished"'), ('owner:ann', 'finished', 'running')),
    (task_record(1, status='"finished"', _acknowledged='true'), ('owner:ann', 'finished')),
    (task_record(1, status='"failed"'), ('owner:ann', 'failed')),
    (task_record(1, status='"cancelled"'), ('owner:ann', 'cancelled')),
])  # fmt: skip
def test_the_indexes_that_a_task_is_in(record, keys):
    assert index_keys(record) == keys
    assert is_listed(record) is ('running' in keys)
    assert bool(set(keys) & set(ALL_KEYS)) is bool(keys)


@pytest.mark.parametrize(('changes', 'moved'), [
    ({'current': '5', 'message': '"row"', '_heartbeat': '1'}, False), ({'status': '"failed"'}, True),
    ({'_run': run_number(2)}, True), ({'_acknowledged': 'true'}, True), ({'owner': '"bob"'}, True),
])  # fmt: skip
def test_a_record_moves_if_its_status_run_or_owner_changes(changes, moved):
    old = task_record(1)
    assert is_moved(old, old | changes) is moved
    assert is_moved(None, old)


def test_a_change_of_an_acknowledged_record():
    started = task_record(1, status='"finished"', _acknowledged='true')
    assert updated(started, {'status': '"running"'}) is None
    bare = BARE | {'status': '"finished"', 'current': '5', '_acknowledged': 'true'}
    assert updated(bare, {'status': '"running"'}) == BARE


def test_only_a_finished_task_is_acknowledged_and_once():
    finished = task_record(1, status='"finished"')
    assert acknowledged(finished) == finished | {'_acknowledged': 'true'}
    for record in (None, task_record(1), task_record(1, status='"failed"'), finished | {'_acknowledged': 'true'}):
        assert acknowledged(record) is None


def test_a_change_of_an_active_record_addresses_its_run():
    record = task_record(2)
    assert updated_active(record, {'current': '1'}) == record | {'current': '1'}
    assert updated_active(record, {'current': '1'}, run_number(2)) == record | {'current': '1'}
    for old, changes, run in [
        (None, {'current': '1'}, None), (record, {}, None), (record, {'current': '1'}, run_number(1)),
        (record, {'current': '1'}, run_number(3)), (record | {'status': '"failed"'}, {'current': '1'}, None),
        (BARE, {'current': '1'}, run_number(1)),
    ]:  # fmt: skip
        assert updated_active(old, changes, run) is None


@pytest.mark.parametrize(('members', 'run', 'expected'), [
    ({}, None, 0), ({}, 2, 0), ({}, 1, Activity.SUPERSEDED), ({}, 3, None),
    ({'status': '"failed"'}, 2, Activity.ENDED), ({'_cancel': 'true'}, 2, Activity.CANCELLING),
    ({'status': '"failed"', '_cancel': 'true'}, 1, Activity.ENDED | Activity.CANCELLING | Activity.SUPERSEDED),
])  # fmt: skip
def test_what_a_publisher_learns_of_a_record(members, run, expected):
    assert activity(task_record(2, **members), run and run_number(run)) == expected


def test_a_publisher_learns_nothing_where_it_has_to_restore_its_record():
    assert activity(None) is None
    assert activity(None, run_number(1)) is None
    assert activity(BARE, run_number(1)) is None
    assert activity(BARE) == 0


def test_a_record_can_be_loaded_from_its_text():
    record = task_record(1, message=r'"a\",\n,\"b"', tags='[1,{"a":"}"}]')
    assert load(dump(record)) == record


# Parts


def task_of(count, **members):
    return task_record(1, current='0', _parts=str(count)) | members


def start(task, part=None, number=0, run=1):
    return parts.start_part(
        task, part, task_run=run_number(1), number=number, part_run=run_number(run), heartbeat='7.5'
    )


def update(task, part, number=0, run=1, **changes):
    return parts.update_part(task, part, changes, task_run=run_number(1), number=number, part_run=run_number(run))


def test_neither_record_is_modified():
    task = task_of(2)
    given = dict(task)
    started = start(task)
    assert task == given
    given_task, given_part = dict(started.task), dict(started.part)
    update(started.task, started.part, current='5', status='"failed"')
    assert (started.task, started.part) == (given_task, given_part)


def test_a_part_starts_at_0_with_a_heartbeat_in_the_record_of_its_task():
    assert start(task_of(2), number=12) == (
        task_of(2, _p12='7.5'), {'_run': run_number(1), 'status': '"running"', 'current': '0'}, 0,
    )  # fmt: skip


def test_the_heartbeat_of_a_part_ends_with_it():
    started = start(task_of(2))
    assert oldest_heartbeat(started.task) == 7.5
    changed = update(started.task, started.part, _heartbeat='9.5', current='3')
    assert oldest_heartbeat(changed.task) == 9.5
    assert oldest_heartbeat(start(changed.task, number=1).task) == 7.5
    ended = update(changed.task, changed.part, status='"finished"')
    assert ended.task == task_of(2, current='3', _ended='1')
    assert oldest_heartbeat(ended.task) == float('inf')


def test_the_failure_is_forgotten_when_no_failed_part_is_left():
    task = task_of(3)
    ends = []
    for number in range(2):
        started = start(task, number=number)
        ends.append(update(started.task, started.part, number, status='"failed"', message=f'"{number}"', _code='"a"'))
        task = ends[-1].task
    assert (task['_failure'], task['_failure_code'], task['_failed']) == ('"0"', '"a"', '2')
    task = start(task, ends[0].part, 0, run=2).task
    assert (task['_failure'], task['_failed'], task['_ended']) == ('"0"', '1', '1')
    task = start(task, ends[1].part, 1, run=2).task
    assert '_failure' not in task
    assert '_failure_code' not in task


@pytest.mark.parametrize(('members', 'expected'), [
    ({'_run': run_number(2)}, Activity.SUPERSEDED), ({'status': '"failed"'}, Activity.ENDED),
    ({'status': '"failed"', '_run': run_number(2)}, Activity.ENDED | Activity.SUPERSEDED),
])  # fmt: skip
def test_no_part_changes_a_task_that_has_ended_or_started_anew(members, expected):
    started = start(task_of(2))
    assert start(task_of(2, **members)) == (None, None, expected)
    assert update(started.task | members, started.part, current='1') == (None, None, expected)


def test_a_part_that_has_ended_or_started_anew_does_not_change():
    started = start(task_of(2))
    ended = update(started.task, started.part, status='"finished"')
    assert update(ended.task, ended.part, current='1') == (None, None, Activity.ENDED)
    again = start(ended.task, ended.part, run=2)
    assert update(again.task, again.part, current='1') == (None, None, Activity.SUPERSEDED)


def test_a_lost_task_or_part_has_no_activity():
    started = start(task_of(2))
    for task in (None, task_record(1), BARE):
        assert start(task) == (None, None, None)
        assert update(task, started.part, current='1') == (None, None, None)
    assert update(started.task, None, current='1') == (None, None, None)
