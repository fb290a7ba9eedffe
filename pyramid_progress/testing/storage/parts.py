"""The contract of storage drivers: the parts of a task."""

# ruff: noqa: S101  (these are tests)

import time
from functools import partial

import pytest

from ...model.record import NO_ACTIVITY, Activity, Record
from ...storage import Storage
from ..records import run_number, task_record
from .case import StorageCase, at_once, listed, record_of, stored

RUN = run_number(1000)


class Parts:
    """A task with parts, which starts now, as the workers of the parts change it."""

    def __init__(self, storage: Storage, count: int, run: str = RUN) -> None:
        self._storage = storage
        self._run = run
        assert storage.start('job', task_record(run, length='100', current='0', _parts=str(count)), 3600)

    def start(self, number: int, run: int = 1) -> Activity | None:
        """Start a part."""
        return self._storage.start_part(
            'job', number, task_run=self._run, part_run=run_number(run), heartbeat='5.0', expire=3600
        )

    def update(self, number: int, run: int = 1, expire: float = 3600, **changes: str) -> Activity | None:
        """Change a part."""
        return self._storage.update_part(
            'job', number, changes, task_run=self._run, part_run=run_number(run), expire=expire
        )

    def record(self) -> Record:
        """Return the record of the task."""
        return record_of(self._storage)

    def internal(self) -> Record:
        """Return the members that parts have changed and readers do not see, apart from the run."""
        return {
            name: text
            for name, text in self.record().items()
            if name[0] == '_' and name not in ('_run', '_parts', '_last')
        }

    def ends(self) -> list[str | None]:
        """Return how many parts have ended, failed, and been cancelled."""
        return [self.record().get(name) for name in ('_ended', '_failed', '_cancelled')]


class PartContract(StorageCase):
    """How the parts of a task add up."""

    @pytest.fixture
    def parts(self, storage: Storage) -> Parts:
        """Return a task with three parts."""
        return Parts(storage, 3)

    def test_what_parts_complete_adds_up(self, parts: Parts) -> None:
        for number in range(3):
            assert parts.start(number) == NO_ACTIVITY
            assert parts.update(number, current=str(10 * number + 1)) == NO_ACTIVITY
        assert parts.record()['current'] == '33'
        assert parts.update(1, current='4') == NO_ACTIVITY  # back again
        assert parts.record()['current'] == '26'
        assert parts.internal() == {'_p0': '5.0', '_p1': '5.0', '_p2': '5.0'}

    @pytest.mark.parametrize(('amounts', 'total'), [
        (['0.1', '0.2', '0'], '0.30000000000000004'), (['0.5', '0.5', '1'], '2'), (['33.3', '33.3', '33.4'], '100'),
        (['1e300', '0', '0'], '1.0000000000000001e+300'), ([str(2**52), '1', '0'], str(2**52 + 1)),
        (['-1.5', '0', '0'], '-1.5'),
    ])  # fmt: skip
    def test_the_sum_is_a_float_or_a_whole_number(self, parts: Parts, amounts: list[str], total: str) -> None:
        for number, amount in enumerate(amounts):
            parts.start(number)
            parts.update(number, current=amount)
        assert float(parts.record()['current']) == float(total)
        assert parts.record()['current'] == total

    def test_an_update_of_a_part_changes_the_message_of_the_task_and_its_own_heartbeat(self, parts: Parts) -> None:
        parts.start(2)
        parts.update(2, message='"row 5"', _code='"queued"', _heartbeat='7.5')
        assert (parts.record()['message'], parts.internal()) == ('"row 5"', {'_code': '"queued"', '_p2': '7.5'})
        parts.update(2, message='"row 6"')
        assert (parts.record()['message'], parts.internal()) == ('"row 6"', {'_p2': '7.5'})
        parts.update(2, current='1')
        assert parts.record()['message'] == '"row 6"'

    def test_the_last_end_finishes_the_task(self, storage: Storage, parts: Parts) -> None:
        for number in range(3):
            parts.start(number)
        assert parts.update(0, status='"finished"', current='30', message='"one"') == NO_ACTIVITY
        assert parts.internal() == {'_ended': '1', '_p1': '5.0', '_p2': '5.0'}
        parts.update(2, status='"finished"', current='30', message='"two"')
        assert (parts.record()['status'], 'message' in parts.record()) == ('"running"', False)
        assert (listed(storage, 'running'), listed(storage, 'finished')) == (['job'], [])
        for activity in (Activity.LAST, Activity.ENDED | Activity.LAST):  # the second call is a repetition
            changes = parts.update(1, status='"finished"', current='40', message='"three"', _code='"done"')
            assert changes == activity
        assert parts.internal() == {'_ended': '3', '_code': '"done"'}
        assert (listed(storage, 'running'), listed(storage, 'finished')) == (['job'], ['job'])
        record = parts.record()
        assert (record['status'], record['current'], record['message']) == ('"finished"', '100', '"three"')
        assert storage.acknowledge('job', 60)
        assert storage.running_ids() == set()

    def test_the_end_of_a_part_sets_the_result_and_the_last_one_the_time_of_the_change(self, parts: Parts) -> None:
        for number in range(3):
            parts.start(number)
        parts.update(0, status='"finished"', result='{"url":"/table"}', _changed='5')
        assert parts.record()['result'] == '{"url":"/table"}'
        assert '_changed' not in parts.record()
        parts.start(1, run=2)
        assert parts.update(1, status='"finished"', result='{"url":"/old"}') == Activity.SUPERSEDED
        assert parts.record()['result'] == '{"url":"/table"}'
        parts.update(1, run=2, status='"finished"', _changed='6')
        parts.update(2, status='"finished"', _changed='7')
        assert parts.record()['_changed'] == '7'

    def test_the_repetition_of_the_last_end_has_its_activity_again(self, parts: Parts) -> None:
        for number in range(3):
            parts.start(number)
        assert parts.update(0, status='"finished"') == NO_ACTIVITY
        assert parts.update(0, status='"finished"') == Activity.ENDED
        parts.update(1, status='"finished"')
        last = parts.update(2, run=1, status='"finished"')
        assert last == Activity.LAST
        assert parts.update(2, run=1, status='"finished"') == Activity.ENDED | Activity.LAST
        assert parts.update(2, run=1, current='5') == Activity.ENDED
        assert parts.update(2, run=2, status='"finished"') == Activity.ENDED | Activity.SUPERSEDED

    def test_a_task_fails_with_the_message_of_the_first_part_that_failed(self, storage: Storage, parts: Parts) -> None:
        for number, (status, message) in enumerate([('cancelled', 'A'), ('failed', 'B'), ('failed', 'C')]):
            parts.start(number)
            parts.update(number, status=f'"{status}"', message=f'"{message}"', _code=f'"{message.lower()}"')
            assert (parts.record()['status'] == '"failed"') is (number == 2)
        assert (parts.record()['message'], parts.record()['_code']) == ('"B"', '"b"')
        assert storage.running_ids() == set()
        assert listed(storage, 'failed') == ['job']
        assert parts.ends() == ['3', '2', '1']

    def test_the_task_is_cancelled_if_a_part_was_and_none_failed(self, storage: Storage, parts: Parts) -> None:
        for number, status in enumerate(('finished', 'cancelled', 'finished')):
            parts.start(number)
            parts.update(number, status=f'"{status}"')
        assert parts.record()['status'] == '"cancelled"'
        assert (listed(storage, 'cancelled'), listed(storage, 'running')) == (['job'], [])

    def test_a_part_that_starts_again_begins_at_0_and_supersedes_its_earlier_run(self, parts: Parts) -> None:
        parts.start(0)
        parts.update(0, current='20')
        parts.start(1)
        parts.update(1, current='5')
        assert parts.start(0, run=2) == NO_ACTIVITY
        assert parts.record()['current'] == '5'
        assert parts.update(0, run=1, current='30') == Activity.SUPERSEDED
        assert parts.update(0, run=1, status='"failed"') == Activity.SUPERSEDED
        assert parts.record()['current'] == '5'
        assert parts.update(0, run=2, current='7') == NO_ACTIVITY
        assert parts.record()['current'] == '12'

    def test_a_part_that_starts_again_after_its_end_is_counted_once(self, parts: Parts) -> None:
        parts.start(0)
        parts.update(0, status='"failed"', current='20', message='"broken"', _code='"error"')
        parts.start(1)
        parts.update(1, status='"cancelled"')
        assert parts.update(0, current='30') == Activity.ENDED
        parts.start(0, run=2)
        assert parts.record()['current'] == '0'
        parts.start(1, run=2)
        parts.start(2)
        assert parts.record()['_ended'] == '0'
        for number, run in enumerate((2, 2, 1)):
            assert parts.record()['status'] == '"running"'
            parts.update(number, run, status='"finished"', message='"well"')
        assert (parts.record()['status'], parts.record()['message']) == ('"finished"', '"well"')
        assert parts.ends() == ['3', '0', '0']

    def test_nothing_changes_after_the_end_of_the_task(self, storage: Storage, parts: Parts) -> None:
        parts.start(0)
        storage.update('job', {'status': '"failed"', 'message': '"stopped"'}, 3600)
        before = parts.record()
        assert parts.start(1) == Activity.ENDED
        assert parts.update(0, current='5') == Activity.ENDED
        assert parts.update(0, status='"finished"') == Activity.ENDED
        assert parts.record() == before

    def test_a_cancel_request_reaches_every_part(self, storage: Storage, parts: Parts) -> None:
        parts.start(0)
        storage.update_active({'job': {'_cancel': 'true'}}, 60)
        assert parts.update(0, current='5') == Activity.CANCELLING
        assert parts.start(1) == Activity.CANCELLING
        assert parts.record()['current'] == '5'

    def test_a_new_run_of_the_task_has_new_parts(self, storage: Storage, parts: Parts) -> None:
        parts.start(0)
        parts.update(0, current='5')
        again = Parts(storage, 3, run_number(2000))
        before = again.record()
        assert parts.update(0, current='6') in (None, Activity.SUPERSEDED)
        assert parts.start(0) == Activity.SUPERSEDED
        assert again.update(0, current='7') is None
        assert again.record() == before
        assert again.start(0) == NO_ACTIVITY
        again.update(0, current='8')
        assert again.record()['current'] == '8'

    @pytest.mark.parametrize('age', [0, 14, 16])
    def test_a_task_is_in_use_as_long_as_no_part_is_stalled(self, storage: Storage, age: int) -> None:
        heartbeats = {'_heartbeat': '1e999', '_p2': repr(storage.now()), '_p11': repr(storage.now() - age)}
        storage.start('job', task_record(RUN, current='0', _parts='12', **heartbeats), 3600)
        assert storage.start('job', task_record(run_number(2000), '"bob"'), 3600) is (age == 16)

    def test_a_task_or_part_that_the_store_lost_has_no_activity(self, storage: Storage, parts: Parts) -> None:
        assert parts.update(0, current='1') is None  # the part was never started
        parts.start(0)
        storage.delete('job')
        assert parts.start(0) is None
        assert parts.update(0, current='1') is None
        storage.update('job', {'status': '"running"', 'current': '1'}, 3600)
        assert parts.start(0) is None
        Parts(storage, 3)
        assert parts.update(0, current='1') is None

    def test_a_task_without_parts_has_none(self, storage: Storage) -> None:
        storage.start('job', task_record(RUN), 60)
        assert storage.start_part('job', 0, task_run=RUN, part_run=RUN, heartbeat='1', expire=60) is None
        assert storage.update_part('job', 0, {'current': '1'}, task_run=RUN, part_run=RUN, expire=60) is None

    def test_parts_live_as_long_as_their_task(self, storage: Storage, parts: Parts) -> None:
        parts.start(0)
        parts.update(0, current='5', expire=0.5)
        storage.update_active({'job': {'message': '"goes on"'}}, 3600)
        time.sleep(0.6)
        assert parts.update(0, current='6', expire=0.3) == NO_ACTIVITY
        time.sleep(0.4)
        assert stored(storage) is None
        assert parts.update(0, current='7') is None

    def test_simultaneous_changes_of_parts_lose_nothing(self, storage: Storage) -> None:
        parts = Parts(storage, 4)

        def work(number: int) -> None:
            parts.start(number)
            for step in range(1, 6):
                parts.update(number, current=str(step))
            parts.update(number, status='"finished"')

        at_once(*(partial(work, number) for number in range(4)))
        assert (parts.record()['current'], parts.record()['status']) == ('20', '"finished"')
        assert parts.internal() == {'_ended': '4'}
