"""The contract of storage drivers: the indexes of tasks."""

# ruff: noqa: S101  (these are tests)

import json
from collections.abc import Sequence
from itertools import chain

from ...storage import Entry, Storage
from ..records import run_number, task_record
from .case import StorageCase, listed

#: When the first of the tasks in these tests started, in milliseconds.
START = 1_900_000_000_000

_ALL = ('running', 'finished', 'failed', 'cancelled')


class IndexContract(StorageCase):
    """In which indexes tasks are, and in which order."""

    def test_entries_are_listed_by_key_each_once(self, storage: Storage) -> None:
        """An ended task is in several indexes."""
        for number in range(6):
            storage.start(f'job {number}', task_record(START + number, '"bob"' if number % 2 else '"ann"'), 60)
        storage.update('job 0', {'status': '"finished"'}, 60)
        storage.update_active({'job 1': {'status': '"finished"'}}, 60)
        storage.acknowledge('job 1', 60)
        storage.update('job 2', {'status': '"failed"'}, 60)
        every = [(START + number, f'job {number}') for number in range(6)][::-1]
        assert storage.list_entries([*_ALL, 'owner:ann'], 9) == every
        assert storage.list_entries(_ALL, 2) == every[:2]
        assert storage.list_entries(['running', 'finished'], 2, storage.list_entries(['running'], 3)[2]) == every[4:]
        assert storage.list_entries(['running'], 9) == [*every[:3], every[5]]
        assert storage.list_entries(['finished'], 9) == every[4:]
        assert storage.list_entries(['failed'], 9) == [every[3]]
        assert storage.list_entries(['cancelled'], 9) == []
        assert storage.list_entries(['owner:bob'], 9) == every[::2]
        assert storage.running_ids() == {'job 0', 'job 3', 'job 4', 'job 5'}

    def test_the_newest_task_comes_first(self, storage: Storage) -> None:
        for number, name in enumerate(('b', 'd', 'a', 'c')):
            storage.start(name, task_record(START + number), 60)
        storage.start('f', task_record(START + 1), 60)
        storage.start('é', task_record(START + 1), 60)
        assert listed(storage, 'running') == ['c', 'a', 'é', 'f', 'd', 'b']
        storage.start('d', task_record(START + 10), 60)
        assert listed(storage, 'running') == listed(storage, 'owner:ann') == ['d', 'c', 'a', 'é', 'f', 'b']

    def test_each_owner_has_an_index(self, storage: Storage) -> None:
        """Owners are compared as strings."""
        keys = {
            '"ann"': 'owner:ann', 'null': 'ownerless', '1': 'owner:1', '""': 'owner:', '"é"': 'owner:é',
            '"null"': 'owner:null', '"ownerless"': 'owner:ownerless', '["ann"]': 'owner:["ann"]',
            '"failed"': 'owner:failed', '"x:*"': 'owner:x:*',
        }  # fmt: skip
        for number, owner in enumerate(keys):
            storage.start(f'running {number}', task_record(START, owner), 60)
            storage.start(f'failed {number}', task_record(START - 1, owner, status='"failed"'), 60)
        storage.start('text', task_record(START - 2, '"1"'), 60)
        for number, key in enumerate(keys.values()):
            assert listed(storage, key) == [f'running {number}', f'failed {number}'] + ['text'] * (key == 'owner:1')
        assert listed(storage, 'owner:an') == listed(storage, 'owner:x:') == []

    def test_a_task_with_any_word_as_its_status_is_on_the_running_list(self, storage: Storage) -> None:
        words = ['pending', 'paused', 'half "done"\\', '進行中', '']
        for number, word in enumerate(words):
            storage.start(f'job {number}', task_record(START + number), 60)
            storage.update(f'job {number}', {'status': json.dumps(word)}, 60)
        assert listed(storage, 'running') == ['job 4', 'job 3', 'job 2', 'job 1', 'job 0']
        assert storage.running_ids() == {f'job {number}' for number in range(5)}

    def test_a_task_that_is_started_by_another_owner_changes_indexes(self, storage: Storage) -> None:
        storage.start('job', task_record(START), 60)
        storage.update_active({'job': {'status': '"failed"'}}, 60)
        assert listed(storage, 'owner:ann') == listed(storage, 'failed') == ['job']
        assert storage.running_ids() == set()
        storage.start('job', task_record(START + 1, '"bob"'), 60)
        assert listed(storage, 'owner:ann') == listed(storage, 'failed') == []
        assert listed(storage, 'owner:bob') == listed(storage, 'running') == ['job']

    def test_a_task_that_takes_its_end_back_is_on_the_running_list(self, storage: Storage) -> None:
        storage.start('job', task_record(START), 60)
        storage.update('job', {'status': '"cancelled"'}, 60)
        assert storage.running_ids() == set()
        storage.update('job', {'status': '"running"'}, 60)
        assert listed(storage, 'cancelled') == []
        assert listed(storage, 'running') == ['job']
        assert storage.running_ids() == {'job'}

    def test_an_update_does_not_move_a_task(self, storage: Storage) -> None:
        storage.start('first', task_record(START), 60)
        storage.start('second', task_record(START + 1), 60)
        changes = {'first': {'current': '1', '_heartbeat': repr(storage.now())}}
        storage.update_active(changes, 60, {'first': run_number(START)})
        storage.update('first', {'status': '"paused"'}, 60)
        assert listed(storage, *_ALL) == listed(storage, 'owner:ann') == ['second', 'first']

    def test_pages_hold_each_task_once(self, storage: Storage) -> None:
        names = [f'job {number:02d}' for number in range(20)]
        for number, name in enumerate(names):
            status = '"finished"' if number % 2 else '"running"'
            storage.start(name, task_record(START + number // 3, status=status), 60)  # several in one millisecond
        names.reverse()
        for limit in (1, 7, 19, 20, 21):
            assert self._pages(storage, _ALL, limit) == [names[first : first + limit] for first in range(0, 20, limit)]
        assert [*chain(*self._pages(storage, ['finished'], 3))] == names[::2]
        assert [*chain(*self._pages(storage, ['owner:ann'], 3))] == names

    def test_entries_that_are_up_to_date_are_not_pruned(self, storage: Storage) -> None:
        storage.start('running', task_record(START), 60)
        storage.start('failed', task_record(START + 1, status='"failed"'), 60)
        for key in ('running', 'failed', 'owner:ann'):
            before = storage.list_entries([key], 9)
            storage.prune(key, ['running', 'failed', 'never used'])
            assert storage.list_entries([key], 9) == before
        assert storage.running_ids() == {'running'}

    @staticmethod
    def _pages(storage: Storage, keys: Sequence[str], limit: int) -> list[list[str]]:
        """Return the ids in some indexes, page after page."""
        pages: list[list[str]] = []
        last: Entry | None = None
        while entries := storage.list_entries(keys, limit, last):
            pages.append([entry.progress_id for entry in entries])
            last = entries[-1]
        return pages
