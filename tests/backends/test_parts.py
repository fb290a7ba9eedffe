"""The parts of a task, which many workers change at the same time, for every region type."""

from pyramid_progress.runtime import current_store
from pyramid_progress.testing.records import run_number, task_record

RUN = run_number(1000)


def test_parts_that_four_workers_change_at_the_same_time_lose_nothing(region):
    """Each worker takes parts of its own through their lives; the last end of all ends the task."""
    each = 5
    storage = current_store().storage
    storage.start('job', task_record(RUN, length='100', current='0', _parts=str(4 * each)), 3600)
    arguments = [[RUN, list(range(worker * each, (worker + 1) * each)), 10] for worker in range(4)]
    assert region.at_once('parts', *arguments) == [each] * 4
    record = storage.get_many(['job'])['job']
    assert (record['current'], record['_ended'], record['status']) == ('200', '20', '"finished"')
    assert not [name for name in record if name.startswith('_p') and name != '_parts']
