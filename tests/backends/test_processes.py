"""Threads and processes that work at the same time lose nothing, and see nothing half done."""

import pytest
from beaker.cache import cache_regions

from pyramid_progress import get_progress_status, get_running_tasks, init_progress_status, set_progress_status

NAMES = ['ann', 'bob', 'cyd', 'dee']


def test_four_take_200_tasks_each_through_their_lives(region):
    """Every count is exact, while the four start, change, list, finish and read at the same time."""
    init_progress_status('mine', None, 'Here all the time')
    every = {'listed': 200, 'running': 200, 'finished': 200, 'unknown': 200, 'left': 0}
    assert region.at_once('lives', *([name, 200] for name in NAMES)) == [every] * 4
    assert get_running_tasks() == {'mine'}


def test_four_threads_take_tasks_through_their_lives(region):
    every = {'listed': 25, 'running': 25, 'finished': 25, 'unknown': 25, 'left': 0}
    assert region.in_threads('lives', *([name, 25] for name in NAMES)) == [every] * 4
    assert get_running_tasks() == set()


@pytest.mark.promises('processes')
def test_the_very_first_tasks_of_four_processes(region):
    """Nothing has been set up in the store when they come, all at once: 400 tasks are on the list in the end."""
    region.in_processes('starts', *([name, 100] for name in NAMES))
    assert get_running_tasks() == {f'{name}-{number}' for name in NAMES for number in range(100)}
    assert get_progress_status('ann-99')['label'] == 'Task 99'


@pytest.mark.promises('processes')
def test_the_list_apart_from_the_statuses_loses_nothing_either(region, directory):
    cache_regions['default'] = {'type': 'file', 'data_dir': str(directory / 'list')}
    region.in_processes('starts', *([name, 25] for name in NAMES))
    assert get_running_tasks() == {f'{name}-{number}' for name in NAMES for number in range(25)}


def test_no_change_of_a_task_is_lost_to_the_change_of_another(region):
    """There are more tasks than places to keep them, so that tasks of different writers share one."""
    assert region.at_once('changes', *([name, 50, 2] for name in NAMES)) == [0] * 4


def test_no_reader_sees_a_partial_change(region):
    set_progress_status('job', message='at 0', length=0, current=0)
    assert region.at_once('changes_together', *(['job', 50] for _name in NAMES)) == [0] * 4


def test_no_change_of_a_member_is_lost_to_the_change_of_another(region):
    count = min(region.kind.many // 5, 400)
    members = [('job', 'message'), ('job', 'length'), ('job', 'current'), ('other job', 'message')]
    assert region.at_once('changes_of_one_member', *([*member, count] for member in members)) == [0] * 4


def test_the_end_of_a_task_is_returned_to_one_of_four(region):
    ids = [f'job {number}' for number in range(20)]
    for progress_id in ids:
        init_progress_status(progress_id, 'ann', progress_id)
        set_progress_status(progress_id, 'finished')
    assert sum(region.at_once('takes', *([ids] for _name in NAMES))) == len(ids)
    assert get_running_tasks() == set()


def test_an_id_goes_to_one_of_four_owners(region):
    ids = [f'job {number}' for number in range(20)]
    won = region.at_once('claims', *([ids, name] for name in NAMES))
    assert sorted(progress_id for ids_of_one in won for progress_id in ids_of_one) == sorted(ids)
    for name, ids_of_one in zip(NAMES, won, strict=True):
        assert all(get_progress_status(progress_id)['owner'] == name for progress_id in ids_of_one)
