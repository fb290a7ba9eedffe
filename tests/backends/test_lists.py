"""The list of tasks, running and ended, for every region type."""

import itertools

import pytest

from pyramid_progress import (
    forget_task,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    queries,
    set_progress_status,
)
from pyramid_progress.runtime import current_store
from pyramid_progress.testing.records import task_record

#: When the first of the tasks in these tests started, in milliseconds.
START = 1_900_000_000_000


@pytest.fixture
def start(region):
    """Return a function that starts a task, a millisecond after the one before."""
    times = itertools.count(START)

    def start(progress_id, owner='"ann"', at=None, **members):
        record = task_record(next(times) if at is None else at, owner, **members)
        assert current_store().storage.start(progress_id, record, 3600)

    return start


def listed(**filters):
    return [task['progress_id'] for task in list_tasks(**filters)]


def pages(between=lambda: None, **filters):
    """Return the ids of a whole list, page after page."""
    ids, tasks = [], list_tasks(**filters)
    while True:
        ids.append([task['progress_id'] for task in tasks])
        if tasks.next is None:
            return ids
        between()
        tasks = list_tasks(before=tasks.next, **filters)


def test_the_list_is_empty_without_tasks(region):
    set_progress_status('bare', message='Never started')
    tasks = list_tasks()
    assert tasks == []
    assert tasks.next is None


def test_the_list_holds_the_statuses_of_running_and_ended_tasks(region):
    init_progress_status('job', 'ann', 'Import', tags=['a'], length=10)
    set_progress_status('job', message='half', current=5)
    before = get_progress_status('job')
    assert list_tasks() == [{'progress_id': 'job'} | before]
    set_progress_status('job', 'failed')
    assert list_tasks() == [{'progress_id': 'job'} | before | {'status': 'failed'}]


def test_a_list_acknowledges_no_end(start):
    start('job')
    set_progress_status('job', 'finished')
    assert [task['status'] for task in list_tasks() + list_tasks()] == ['finished'] * 2
    assert get_running_tasks() == {'job'}
    assert get_progress_status('job')['status'] == 'finished'


def test_an_acknowledged_task_stays_on_the_list_while_it_lingers(region, start, wait_until):
    region.use(linger=1.5)
    start('job')
    set_progress_status('job', 'finished')
    get_progress_status('job')
    assert listed() == listed(status='finished') == listed(owner='ann') == ['job']
    assert listed(status='running') == []
    # memcached counts whole seconds.
    wait_until(lambda: listed() == listed(status='finished') == listed(owner='ann') == [], 5, 'it lingers for ever')


def test_tasks_are_listed_by_owner(start):
    owners = ['"ann"', '"bob"', 'null', '1', '"1"', '""', '"é"', '"null"', '"ownerless"', '["ann"]']
    for number, owner in enumerate(owners):
        start(f'task {number}', owner)
        start(f'failed {number}', owner)
        set_progress_status(f'failed {number}', 'failed')
    assert len(listed()) == 2 * len(owners)
    # Owners are compared as strings.
    assert listed(owner=1) == listed(owner='1') == ['failed 4', 'task 4', 'failed 3', 'task 3']
    for number, owner in enumerate(['ann', 'bob', None, None, None, '', 'é', 'null', 'ownerless', ['ann']]):
        if number not in (3, 4):
            assert listed(owner=owner) == [f'failed {number}', f'task {number}']
    assert listed(owner='an') == listed(owner='cyd') == []


def test_tasks_are_listed_by_status(start):
    now = current_store().storage.now()
    words = ['pending', 'running', 'paused', 'finished', 'failed', 'cancelled']
    for word in words:
        start(word)
        set_progress_status(word, word)
    start('stalled', _heartbeat=repr(now - 20))
    start('cancelling', _heartbeat=repr(now), _cancel='true')
    for word in (*words, 'stalled', 'cancelling'):
        assert listed(status=word) == [word]
        assert listed(status=word, owner='ann') == [word]
        assert listed(status=word, owner='bob') == []
    assert listed(status='odd') == []


def test_tasks_are_listed_by_tag(start):
    for name, tags in {
        'list': '["a", "b"]',
        'word': '"a"',
        'dict': '{"a": 1}',
        'other': '["b"]',
        'none': 'null',
    }.items():
        start(name, tags=tags)
    assert listed(tag='a') == ['dict', 'word', 'list']
    assert listed(tag='b') == ['other', 'list']
    assert listed(tag='c') == []
    set_progress_status('word', 'failed')
    assert listed(tag='a', status='failed') == ['word']


def test_expired_tasks_are_on_no_list(region, start, wait_until):
    start('kept')
    current_store().storage.start('expired', task_record(START + 5), 1.5)
    assert listed() == ['expired', 'kept']
    wait_until(lambda: listed() == ['kept'], 5, 'it stays')
    assert listed(owner='ann') == listed(status='running') == ['kept']
    assert get_running_tasks() == {'kept'}


def test_pages_hold_each_task_once(start):
    names = [f'job {number:02d}' for number in range(20)]
    for number, name in enumerate(names):
        start(name, at=START + number // 3)  # several start in one millisecond
        if number % 2:
            set_progress_status(name, 'finished')
    names.reverse()
    for limit in (1, 7, 19, 20, 21):
        assert pages(limit=limit) == [names[first : first + limit] for first in range(0, 20, limit)]
    assert list(itertools.chain(*pages(limit=3, status='finished'))) == names[::2]
    assert list(itertools.chain(*pages(limit=3, owner='ann'))) == names


def test_pages_neither_skip_nor_repeat_while_tasks_start_and_end(start):
    names = [f'job {number:02d}' for number in range(20)]
    for name in names:
        start(name)
    numbers = itertools.count()

    def start_and_end():
        number = next(numbers)
        start(f'later {number}')
        set_progress_status(names[number], 'finished')
        get_progress_status(names[number])
        set_progress_status(names[-1 - number], 'failed')

    assert list(itertools.chain(*pages(start_and_end, limit=3))) == names[::-1]


def test_a_call_reads_a_limited_number_of_records_and_says_where_to_go_on(start, monkeypatch):
    monkeypatch.setattr(queries, 'MAX_RECORDS', 20)
    monkeypatch.setattr(queries, 'BATCH', 8)
    start('wanted', tags='["a"]')
    for number in range(45):
        start(f'job {number}')
    found = pages(tag='a')
    assert [len(page) for page in found] == [0, 0, 1]
    assert found[-1] == ['wanted']


def test_the_task_to_go_on_after_must_exist(start):
    start('job')
    start('other')
    assert listed(before='other') == ['job']
    forget_task('other')
    with pytest.raises(ValueError, match=r"^before: there is no task 'other'$"):
        list_tasks(before='other')
