"""The parts of a task, for every region type."""

import pytest
from support.records import run_number, task_record

from pyramid_progress import get_progress_status, get_running_tasks, list_tasks, set_progress_status
from pyramid_progress.model.record import Activity
from pyramid_progress.runtime import current_store

GOES_ON = Activity(0)
RUN = run_number(1000)


class Parts:
    """A task with parts, as the workers of the parts change it."""

    def __init__(self, count, run=RUN):
        self.storage = current_store().storage
        self.run = run
        assert self.storage.start('job', task_record(run, length='100', current='0', _parts=str(count)), 3600)

    def start(self, number, run=1):
        return self.storage.start_part(
            'job', number, task_run=self.run, part_run=run_number(run), heartbeat='5.0', expire=3600
        )

    def update(self, number, run=1, **changes):
        return self.storage.update_part(
            'job', number, changes, task_run=self.run, part_run=run_number(run), expire=3600
        )

    def record(self):
        return self.storage.get_many(['job'])['job']

    def internal(self):
        """Return the members that parts have changed and readers do not see, apart from the run."""
        return {name: text for name, text in self.record().items() if name[0] == '_' and name not in ('_run', '_parts')}


@pytest.fixture
def parts(region):
    return Parts(3)


def test_what_parts_complete_adds_up(parts):
    for number in range(3):
        assert parts.start(number) == GOES_ON
        assert parts.update(number, current=str(10 * number + 1)) == GOES_ON
    assert parts.record()['current'] == '33'
    assert parts.update(1, current='4') == GOES_ON  # back again
    assert get_progress_status('job')['current'] == 26
    assert parts.internal() == {'_p0': '5.0', '_p1': '5.0', '_p2': '5.0'}


@pytest.mark.parametrize(('amounts', 'total'), [
    (['0.1', '0.2', '0'], '0.30000000000000004'), (['0.5', '0.5', '1'], '2'), (['33.3', '33.3', '33.4'], '100'),
    (['1e300', '0', '0'], '1.0000000000000001e+300'), ([str(2**52), '1', '0'], str(2**52 + 1)),
    (['-1.5', '0', '0'], '-1.5'),
])  # fmt: skip
def test_the_sum_is_a_float_or_a_whole_number(parts, amounts, total):
    for number, amount in enumerate(amounts):
        parts.start(number)
        parts.update(number, current=amount)
    assert float(parts.record()['current']) == float(total)
    assert parts.record()['current'] == total


def test_an_update_of_a_part_changes_the_message_of_the_task_and_its_own_heartbeat(parts):
    parts.start(2)
    parts.update(2, message='"row 5"', _code='"queued"', _heartbeat='7.5')
    assert (parts.record()['message'], parts.internal()) == ('"row 5"', {'_code': '"queued"', '_p2': '7.5'})
    parts.update(2, message='"row 6"')
    assert (parts.record()['message'], parts.internal()) == ('"row 6"', {'_p2': '7.5'})
    parts.update(2, current='1')
    assert parts.record()['message'] == '"row 6"'


def test_the_last_end_finishes_the_task(parts):
    for number in range(3):
        parts.start(number)
    assert parts.update(0, status='"finished"', current='30', message='"one"') == GOES_ON
    assert parts.internal() == {'_ended': '1', '_p1': '5.0', '_p2': '5.0'}
    parts.update(2, status='"finished"', current='30', message='"two"')
    assert (parts.record()['status'], 'message' in parts.record()) == ('"running"', False)
    assert [task['status'] for task in list_tasks(status='running')] == ['running']
    parts.update(1, status='"finished"', current='40', message='"three"', _code='"done"')
    assert parts.internal() == {'_ended': '3', '_code': '"done"'}
    assert [task['status'] for task in list_tasks(status='finished')] == ['finished']
    assert get_running_tasks() == {'job'}
    status = get_progress_status('job')
    assert (status['status'], status['current'], status['message']) == ('finished', 100, 'three')
    assert get_running_tasks() == set()


def test_the_task_fails_with_the_message_of_the_first_part_that_failed(parts):
    for number, (status, message) in enumerate([('cancelled', 'A'), ('failed', 'B'), ('failed', 'C')]):
        parts.start(number)
        parts.update(number, status=f'"{status}"', message=f'"{message}"', _code=f'"{message.lower()}"')
        assert (parts.record()['status'] == '"failed"') is (number == 2)
    assert (parts.record()['message'], parts.record()['_code']) == ('"B"', '"b"')
    assert get_running_tasks() == set()
    assert [task['message'] for task in list_tasks(status='failed')] == ['B']
    assert {name: parts.record()[name] for name in ('_ended', '_failed', '_cancelled')} == {
        '_ended': '3', '_failed': '2', '_cancelled': '1',
    }  # fmt: skip


def test_the_task_is_cancelled_if_a_part_was_and_none_failed(parts):
    for number, status in enumerate(('finished', 'cancelled', 'finished')):
        parts.start(number)
        parts.update(number, status=f'"{status}"')
    assert get_progress_status('job')['status'] == 'cancelled'
    assert [task['status'] for task in list_tasks(status='cancelled')] == ['cancelled']


def test_a_part_that_starts_again_begins_at_0_and_supersedes_its_earlier_run(parts):
    parts.start(0)
    parts.update(0, current='20')
    parts.start(1)
    parts.update(1, current='5')
    assert parts.start(0, run=2) == GOES_ON
    assert parts.record()['current'] == '5'
    assert parts.update(0, run=1, current='30') == Activity.SUPERSEDED
    assert parts.update(0, run=1, status='"failed"') == Activity.SUPERSEDED
    assert parts.record()['current'] == '5'
    assert parts.update(0, run=2, current='7') == GOES_ON
    assert parts.record()['current'] == '12'


def test_a_part_that_starts_again_after_its_end_is_counted_once(parts):
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
    assert {name: parts.record()[name] for name in ('_ended', '_failed', '_cancelled')} == {
        '_ended': '3', '_failed': '0', '_cancelled': '0',
    }  # fmt: skip


def test_nothing_changes_after_the_end_of_the_task(parts):
    parts.start(0)
    set_progress_status('job', 'failed', message='stopped')
    before = parts.record()
    assert parts.start(1) == Activity.ENDED
    assert parts.update(0, current='5') == Activity.ENDED
    assert parts.update(0, status='"finished"') == Activity.ENDED
    assert parts.record() == before


def test_a_cancel_request_reaches_every_part(parts):
    parts.start(0)
    parts.storage.update_active({'job': {'_cancel': 'true'}}, 60)
    assert parts.update(0, current='5') == Activity.CANCELLING
    assert parts.start(1) == Activity.CANCELLING
    assert parts.record()['current'] == '5'


def test_a_new_run_of_the_task_has_new_parts(parts):
    parts.start(0)
    parts.update(0, current='5')
    again = Parts(3, run=run_number(2000))
    before = again.record()
    assert parts.update(0, current='6') in (None, Activity.SUPERSEDED)
    assert parts.start(0) == Activity.SUPERSEDED
    assert again.update(0, current='7') is None
    assert again.record() == before
    assert again.start(0) == GOES_ON
    again.update(0, current='8')
    assert again.record()['current'] == '8'


def test_a_task_or_part_that_the_store_lost_has_no_activity(parts):
    assert parts.update(0, current='1') is None  # the part was never started
    parts.start(0)
    parts.storage.delete('job')
    assert parts.start(0) is None
    assert parts.update(0, current='1') is None
    set_progress_status('job', current=1)
    assert parts.start(0) is None
    Parts(3)
    assert parts.update(0, current='1') is None


def test_a_task_without_parts_has_none(region):
    storage = current_store().storage
    storage.start('job', task_record(RUN), 60)
    assert storage.start_part('job', 0, task_run=RUN, part_run=RUN, heartbeat='1', expire=60) is None
    assert storage.update_part('job', 0, {'current': '1'}, task_run=RUN, part_run=RUN, expire=60) is None


def test_parts_live_as_long_as_their_task(region, wait_until):
    parts = Parts(2)
    parts.start(0)
    parts.storage.update_part('job', 0, {'current': '5'}, task_run=RUN, part_run=run_number(1), expire=0.5)
    parts.storage.update_active({'job': {'message': '"goes on"'}}, 3600)
    assert wait_until(lambda: parts.update(0, current='5') is not None, 1)
    parts.storage.update_part('job', 0, {'current': '6'}, task_run=RUN, part_run=run_number(1), expire=0.3)
    wait_until(lambda: parts.storage.get_many(['job']) == {}, 5, 'the task lives for ever')
    assert parts.update(0, current='7') is None


def test_a_part_that_four_workers_change_at_the_same_time_loses_nothing(region):
    """Each worker takes parts of its own through their lives; the last end of all ends the task."""
    each = 5
    Parts(4 * each)
    arguments = [[RUN, list(range(worker * each, (worker + 1) * each)), 10] for worker in range(4)]
    assert region.at_once('parts', *arguments) == [each] * 4
    record = current_store().storage.get_many(['job'])['job']
    assert (record['current'], record['_ended'], record['status']) == ('200', '20', '"finished"')
    assert not [name for name in record if name.startswith('_p') and name != '_parts']
