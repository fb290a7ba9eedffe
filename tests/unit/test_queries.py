"""The query behind every list of tasks."""

import itertools

import pytest
from beaker.cache import cache_regions

from pyramid_progress import init_progress_status, list_tasks, queries, set_progress_status
from pyramid_progress.queries import ANY, find_tasks
from pyramid_progress.storage import Entry, StorageError
from pyramid_progress.storage.memory import MemoryStorage
from pyramid_progress.testing.records import task_record


class CountingStorage(MemoryStorage):
    """A storage that counts the records that are read, and may have entries that are out of date."""

    def __init__(self):
        super().__init__({'type': 'memory'}, 'here', 1)
        self.read = 0
        self.calls = 0
        self.stale = []
        self.pruned = []

    def get_many_serialized(self, progress_ids):
        self.read += len(progress_ids)
        self.calls += 1
        return super().get_many_serialized(progress_ids)

    def list_entries(self, keys, limit, before=None):
        stale = [entry for entry in self.stale if before is None or entry < before]
        return sorted(stale + super().list_entries(keys, limit, before), reverse=True)[:limit]

    def prune(self, key, progress_ids):
        self.pruned += [(key, progress_id) for progress_id in progress_ids]
        self.stale = [entry for entry in self.stale if entry.progress_id not in progress_ids]


@pytest.fixture
def storage():
    return CountingStorage()


def start(storage, count, first=1, **members):
    for number in range(first, first + count):
        storage.start(f'job {number}', task_record(number, **members), 60)


def ids(page):
    return [task.progress_id for task in page.tasks]


def test_a_query_without_filters_reads_only_what_it_returns_and_one_more(storage):
    start(storage, 300)
    page = find_tasks(storage, limit=100)
    assert ids(page) == [f'job {number}' for number in range(300, 200, -1)]
    assert page.next == Entry(201, 'job 201')
    assert (storage.read, storage.calls) == (101, 1)


@pytest.mark.parametrize('filters', [{'owner': 'ann'}, {'status': 'failed'}])
def test_a_query_by_owner_or_terminal_status_reads_no_other_tasks(storage, filters):
    start(storage, 5, status='"failed"')
    for number in range(500):
        storage.start(f'other {number}', task_record(10 + number, '"bob"'), 60)
    assert len(find_tasks(storage, **filters).tasks) == 5
    assert storage.read == 5


def test_a_filtered_query_reads_a_limited_number_of_records(storage):
    start(storage, 1, tags='["a"]')
    start(storage, 4500, first=2)
    page = find_tasks(storage, tag='a')
    assert page == ([], Entry(2502, 'job 2502'))
    assert storage.read == queries.MAX_RECORDS == 2000
    page = find_tasks(storage, tag='a', before=page.next)
    assert page == ([], Entry(502, 'job 502'))
    page = find_tasks(storage, tag='a', before=page.next)
    assert (ids(page), page.next) == (['job 1'], None)
    assert storage.read == 4501


def test_a_list_with_a_limit_beyond_that_number_says_where_to_go_on(storage):
    start(storage, 2100)
    page = find_tasks(storage, limit=5000)
    assert (len(page.tasks), page.next) == (2000, Entry(101, 'job 101'))
    assert len(find_tasks(storage, limit=5000, before=page.next).tasks) == 100


@pytest.mark.parametrize(('count', 'following'), [(10, None), (11, Entry(2, 'job 2'))])
def test_the_answer_says_whether_there_are_more(storage, count, following):
    start(storage, count)
    assert find_tasks(storage, limit=10).next == following
    assert find_tasks(storage, limit=10, is_visible=lambda found: True).next == following


def test_what_is_not_visible_is_not_in_the_answer(storage):
    start(storage, 9)
    page = find_tasks(storage, limit=2, is_visible=lambda found: found.entry.start % 3 == 0)
    assert ids(page) == ['job 9', 'job 6']
    page = find_tasks(storage, limit=2, before=page.next, is_visible=lambda found: found.entry.start % 3 == 0)
    assert (ids(page), page.next) == (['job 3'], None)


def test_internal_members_are_known_and_not_in_the_status(storage):
    start(storage, 1, _cancellable='true')
    [found] = find_tasks(storage).tasks
    assert found.members['_cancellable'] is True
    assert not [name for name in found.status if name.startswith('_')]


def test_entries_that_are_out_of_date_are_skipped_and_removed(storage):
    start(storage, 5)
    storage.start('other run', task_record(60), 60)
    storage.start('other owner', task_record(70, '"bob"'), 60)
    storage.stale = [Entry(50, 'gone'), Entry(55, 'other run'), Entry(70, 'other owner')]
    page = find_tasks(storage, owner='ann', limit=4)
    assert ids(page) == ['other run', 'job 5', 'job 4', 'job 3']
    assert page.next == Entry(3, 'job 3')
    assert sorted(storage.pruned) == [('owner:ann', 'gone'), ('owner:ann', 'other owner'), ('owner:ann', 'other run')]


def test_entries_that_cannot_be_removed_do_not_fail_the_query(storage, monkeypatch):
    def refuse(key, progress_ids):
        raise StorageError('read-only')

    monkeypatch.setattr(storage, 'prune', refuse)
    start(storage, 5)
    storage.stale = [Entry(50, 'gone')]
    assert len(find_tasks(storage).tasks) == 5


def test_a_list_goes_on_after_a_task_that_exists(storage, monkeypatch):
    """The last entry that a call reads may be out of date; its id would not be a valid cursor."""
    monkeypatch.setattr(queries, 'MAX_RECORDS', 4)
    start(storage, 8)
    storage.stale = [Entry(5, 'z')]
    monkeypatch.setattr(storage, 'prune', lambda key, progress_ids: None)
    page, found = find_tasks(storage, tag='none'), []
    while page.next:
        found.append(page.next.progress_id)
        page = find_tasks(storage, tag='none', before=page.next)
    assert set(found) <= {f'job {number}' for number in range(1, 9)}


def test_a_query_goes_on_while_all_entries_are_out_of_date(storage, monkeypatch):
    monkeypatch.setattr(queries, 'MAX_RECORDS', 4)
    start(storage, 3)
    storage.stale = [Entry(number, 'gone') for number in range(10, 26)]
    monkeypatch.setattr(storage, 'prune', lambda key, progress_ids: None)
    assert ids(find_tasks(storage, limit=3)) == ['job 3', 'job 2', 'job 1']


@pytest.fixture
def region():
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'memory', 'expire': 60}


@pytest.mark.parametrize(('limit', 'error'), [
    (0, ValueError), (-1, ValueError), (None, TypeError), ('5', TypeError), (1.5, TypeError), (True, TypeError),
])  # fmt: skip
def test_an_invalid_limit_is_refused(region, limit, error):
    with pytest.raises(error, match=r'^limit must be '):
        list_tasks(limit=limit)


@pytest.mark.parametrize(('before', 'error'), [('', ValueError), (5, TypeError), ('never used', ValueError)])
def test_an_invalid_cursor_is_refused(region, before, error):
    with pytest.raises(error):
        list_tasks(before=before)


def test_an_owner_that_is_not_a_json_value_is_refused(region):
    with pytest.raises(TypeError, match=r'^owner '):
        list_tasks(owner={1})


def test_any_owner_is_the_default(region):
    for owner in ('ann', None):
        init_progress_status(f'job of {owner}', owner, 'Import')
    assert repr(ANY) == 'ANY'
    assert len(list_tasks()) == len(list_tasks(owner=ANY)) == 2


def test_a_list_continues_with_its_last_item_and_with_next(region):
    for number in range(7):
        init_progress_status(f'job {number}', 'ann', 'Import', tags=['odd' if number % 2 else 'even'])
    set_progress_status('job 3', 'failed')
    everything = list_tasks()
    first = list_tasks(limit=3)
    assert first.next == first[-1]['progress_id']
    assert first + list_tasks(before=first.next) == everything
    assert list_tasks(limit=7).next is None
    assert list(itertools.chain(list_tasks(tag='odd'), list_tasks(tag='even'))) == sorted(
        everything, key=lambda task: task['tags'], reverse=True
    )
