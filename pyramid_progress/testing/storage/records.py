"""The contract of storage drivers: the life of a record."""

# ruff: noqa: S101  (these are tests)

import json
import time
from functools import partial

import pytest

from ...model.record import NO_ACTIVITY, Activity, Start, load
from ...storage import Storage
from ..records import run_number, task_record
from .case import StorageCase, at_once, listed, record_of, stored

#: Seconds until a record expires in these tests, and after which that is certain.
_SHORT, _WAIT = 0.7, 1.0

_TEXTS = [
    '', ' ', '"', '\\', "'", '%s %(a)s {0}', 'null', '{"status":"finished"}', 'a",\n,"status":"failed"\n}', '\n',
    '\r\n\t\0', '\x7f\x85\u2028\u2029\ufeff', 'é', 'e\u0301', '進行中', '😀', 'x' * 100_000, '進' * 30_000,
]  # fmt: skip

_IDS = [
    '../../x', '/etc/passwd', 'a b', ' ', 'a ', ' a', 'é', 'e\u0301', '\\xe9', '%C3%A9', '*', '?', '[a]', '{}', 'index',
    'running', 'tasks', '0', '00', "'; DROP TABLE tasks; --", '"', '\\', ':', 'a:b', 'a_b', '.', '..', '\u2028',
    'İ', 'i̇', 'job', 'Job', 'JOB', 'null', '😀', 'x' * 254, 'x' * 255, '進' * 255,
]  # fmt: skip


class RecordContract(StorageCase):
    """Records from their start to their end."""

    def test_an_empty_storage(self, storage: Storage) -> None:
        assert storage.get_many([]) == storage.get_many(['job', 'other']) == {}
        assert storage.get_many_serialized(['job']) == {}
        assert storage.running_ids() == set()
        assert storage.list_entries(['running', 'owner:ann'], 9) == []
        assert storage.update_active({}, 60) == storage.update_active({'job': {'current': '1'}, 'other': {}}, 60) == {}
        assert not storage.acknowledge('job', 60)
        assert not storage.delete('job')
        assert storage.get_many(['job', 'other']) == {}

    def test_the_clock_is_in_seconds_since_the_epoch(self, storage: Storage) -> None:
        now = storage.now()
        assert abs(time.time() - now) < 3600
        time.sleep(0.05)
        assert 0.04 < storage.now() - now < 10

    # Reading

    def test_a_started_task_is_read_back(self, storage: Storage) -> None:
        record = task_record(1000, tags='["a", {"b": [1.0, null]}]', length='1e300', current='5e-324')
        assert storage.start('job', record, 60)
        assert storage.get_many(['job', 'other']) == {'job': record}
        assert storage.running_ids() == {'job'}

    def test_readers_get_copies(self, storage: Storage) -> None:
        given = task_record(1000)
        storage.start('job', given, 60)
        given['label'] = '"changed by the caller"'
        read = record_of(storage)
        assert read == task_record(1000)
        read['label'] = '"changed by a reader"'
        assert stored(storage) == task_record(1000)

    @pytest.mark.parametrize('count', [1, 3, 1500])
    def test_many_records_are_read_in_one_call(self, storage: Storage, count: int) -> None:
        for number in range(3):
            storage.start(f'job {number}', task_record(1000 + number), 60)
        ids = [f'job {number}' for number in range(count)]
        expected = {f'job {number}': task_record(1000 + number) for number in range(min(3, count))}
        assert storage.get_many(ids) == expected
        texts = storage.get_many_serialized(ids)
        assert {progress_id: load(text) for progress_id, text in texts.items()} == expected
        for progress_id, text in texts.items():
            assert json.loads(text) == {name: json.loads(value) for name, value in expected[progress_id].items()}

    @pytest.mark.parametrize('is_ascii', [True, False])
    def test_any_text_is_read_back_exactly(self, storage: Storage, is_ascii: bool) -> None:
        for number, text in enumerate(_TEXTS):
            value = json.dumps(text, ensure_ascii=is_ascii)
            storage.start(f'job {number}', task_record(1000, label=value), 60)
            storage.update_active({f'job {number}': {'message': value}}, 60, {f'job {number}': run_number(1000)})
            storage.update(f'job {number}', {'result': value}, 60)
        records = storage.get_many([f'job {number}' for number in range(len(_TEXTS))])
        for number, text in enumerate(_TEXTS):
            value = json.dumps(text, ensure_ascii=is_ascii)
            assert records[f'job {number}'] == task_record(1000, label=value, message=value, result=value)

    def test_ids_never_collide(self, storage: Storage) -> None:
        records = {
            progress_id: task_record(1000 + number, json.dumps(progress_id)) for number, progress_id in enumerate(_IDS)
        }
        for progress_id, record in records.items():
            assert storage.start(progress_id, record, 60, Start.NEW)
        assert storage.get_many(_IDS) == records
        assert storage.running_ids() == set(_IDS)
        for number, progress_id in enumerate(_IDS):
            assert storage.list_entries([f'owner:{progress_id}'], 9) == [(1000 + number, progress_id)]
            assert storage.delete(progress_id)
        assert storage.get_many(_IDS) == {}
        assert storage.running_ids() == set()

    # Changes

    def test_a_change_of_an_id_never_started(self, storage: Storage) -> None:
        """It is on no list."""
        storage.update('job', {'status': '"running"', 'current': '5'}, 60)
        bare = {'status': '"running"', 'message': 'null', 'length': 'null', 'current': '5'}
        assert stored(storage) == bare
        storage.update('job', {'status': '"paused"', 'message': '"half"'}, 60)
        assert stored(storage) == bare | {'status': '"paused"', 'message': '"half"'}
        assert storage.running_ids() == set()
        assert listed(storage, 'running', 'owner:ann', 'ownerless') == []

    def test_the_first_change_adds_the_message(self, storage: Storage) -> None:
        storage.start('job', task_record(1000), 60)
        storage.update('job', {'status': '"running"', 'current': '5'}, 60)
        assert stored(storage) == task_record(1000, current='5', message='null')

    @pytest.mark.parametrize('is_active', [True, False])
    def test_a_new_message_removes_the_code_of_the_old_one(self, storage: Storage, is_active: bool) -> None:
        storage.start('job', task_record(1000, message='"Queued"', _code='"queued"'), 60)
        for changes in (
            {'current': '1'},
            {'message': '"Asked to stop"', '_code': '"cancelling"'},
            {'message': '"row"'},
        ):
            if is_active:
                storage.update_active({'job': changes}, 60)
            else:
                storage.update('job', changes, 60)
            code = record_of(storage).get('_code')
            assert code == changes.get('_code', None if 'message' in changes else '"queued"')

    def test_a_publisher_changes_active_tasks_only(self, storage: Storage) -> None:
        storage.start('running', task_record(1000), 60)
        storage.start('cancelling', task_record(1000, _cancel='true'), 60)
        storage.start('failed', task_record(1000, status='"failed"'), 60)
        ids = ['running', 'cancelling', 'failed', 'unknown']
        expected = {'running': NO_ACTIVITY, 'cancelling': Activity.CANCELLING, 'failed': Activity.ENDED}
        assert storage.update_active({progress_id: {} for progress_id in ids}, 60) == expected
        assert stored(storage, 'running') == task_record(1000)
        assert storage.update_active({progress_id: {'current': '5'} for progress_id in ids}, 60) == expected
        assert storage.get_many(ids) == {
            'running': task_record(1000, current='5'),
            'cancelling': task_record(1000, current='5', _cancel='true'),
            'failed': task_record(1000, status='"failed"'),
        }

    def test_simultaneous_changes_of_one_task_lose_nothing(self, storage: Storage) -> None:
        storage.start('job', task_record(1000), 60)

        def change(name: str) -> bool:
            for number in range(10):
                storage.update_active({'job': {name: str(number)}}, 60)
                if record_of(storage)[name] != str(number):
                    return False
            return True

        names = ['current', 'length', 'message', 'result']
        assert at_once(*(partial(change, name) for name in names)) == [True] * 4
        assert stored(storage) == task_record(1000) | dict.fromkeys(names, '9')

    # The end

    @pytest.mark.parametrize('status', ['"running"', '"pending"', '"failed"', '"cancelled"'])
    def test_only_a_finished_task_is_acknowledged(self, storage: Storage, status: str) -> None:
        storage.start('job', task_record(1000, status=status), 60)
        for linger in (60, 0):
            assert not storage.acknowledge('job', linger)
        assert stored(storage) == task_record(1000, status=status)

    def test_an_end_is_acknowledged_once(self, storage: Storage) -> None:
        storage.start('job', task_record(1000), 60)
        storage.update_active({'job': {'status': '"finished"'}}, 60)
        assert storage.running_ids() == {'job'}
        assert storage.acknowledge('job', 60)
        assert not storage.acknowledge('job', 60)
        assert not storage.acknowledge('job', 0)
        assert stored(storage) == task_record(1000, status='"finished"', _acknowledged='true')
        assert storage.running_ids() == set()
        assert listed(storage, 'finished') == listed(storage, 'owner:ann') == ['job']

    def test_an_acknowledged_end_that_does_not_linger_is_removed(self, storage: Storage) -> None:
        storage.start('job', task_record(1000, status='"finished"'), 60)
        assert storage.acknowledge('job', 0)
        assert stored(storage) is None
        assert not storage.acknowledge('job', 0)
        assert not storage.delete('job')
        assert storage.running_ids() == set()
        assert storage.start('job', task_record(2000), 60, Start.NEW)

    @pytest.mark.parametrize('linger', [60, 0])
    def test_of_simultaneous_acknowledgements_one_succeeds(self, storage: Storage, linger: float) -> None:
        for number in range(5):
            storage.start(f'job {number}', task_record(1000, status='"finished"'), 60)
            results = at_once(*[partial(storage.acknowledge, f'job {number}', linger)] * 4)
            assert sorted(results) == [False, False, False, True]

    def test_a_change_after_the_acknowledged_end_is_ignored(self, storage: Storage) -> None:
        storage.start('job', task_record(1000, status='"finished"'), 60)
        storage.acknowledge('job', 60)
        before = stored(storage)
        storage.update('job', {'status': '"running"', 'message': '"too late"'}, 60)
        assert storage.update_active({'job': {'message': '"too late"'}}, 60) == {'job': Activity.ENDED}
        assert stored(storage) == before

    def test_a_change_after_the_acknowledged_end_of_an_id_never_started_starts_anew(self, storage: Storage) -> None:
        storage.update('job', {'status': '"finished"', 'message': '"old"', 'current': '1'}, 60)
        assert storage.acknowledge('job', 60)
        assert not storage.acknowledge('job', 60)
        storage.update('job', {'status': '"running"', 'length': '10'}, 60)
        assert stored(storage) == {'status': '"running"', 'message': 'null', 'length': '10', 'current': 'null'}

    @pytest.mark.parametrize('status', ['"running"', '"finished"', '"failed"', 'bare', 'acknowledged'])
    def test_a_deleted_task_is_in_no_index(self, storage: Storage, status: str) -> None:
        if status == 'bare':
            storage.update('job', {'status': '"running"'}, 60)
        else:
            word = '"finished"' if status == 'acknowledged' else status
            storage.start('job', task_record(1000, status=word), 60)
            assert storage.acknowledge('job', 60) or status != 'acknowledged'
        storage.start('other', task_record(2000, status='"failed"'), 60)
        assert storage.delete('job')
        assert not storage.delete('job')
        assert storage.get_many(['job', 'other']) == {'other': task_record(2000, status='"failed"')}
        assert storage.running_ids() == set()
        assert listed(storage, 'running', 'finished', 'failed', 'owner:ann') == ['other']

    def test_a_task_of_another_run_is_not_deleted(self, storage: Storage) -> None:
        storage.start('job', task_record(2000), 60)
        assert not storage.delete('job', run_number(1000))
        assert storage.get_many(['job']) == {'job': task_record(2000)}
        assert listed(storage, 'running', 'owner:ann') == ['job']
        assert storage.delete('job', run_number(2000))
        assert storage.get_many(['job']) == {}
        storage.update('bare', {'status': '"running"'}, 60)
        assert not storage.delete('bare', run_number(1000))

    def test_a_record_lives_for_its_lifetime_after_its_last_change(self, storage: Storage) -> None:
        storage.start('kept by update', task_record(1000), _SHORT)
        storage.start('kept by update_active', task_record(1000), _SHORT)
        storage.start('kept by a start', task_record(1000), _SHORT)
        storage.start('shortened', task_record(1000), 60)
        storage.start('lingers', task_record(1000, status='"finished"'), 60)
        storage.update('bare', {'status': '"running"'}, _SHORT)
        storage.update('kept by update', {'current': '1'}, 60)
        storage.update_active({'kept by update_active': {'current': '1'}}, 60)
        storage.start('kept by a start', task_record(2000), 60)
        storage.update_active({'shortened': {'current': '1'}}, _SHORT)
        storage.acknowledge('lingers', _SHORT)
        storage.start('started', task_record(1000), _SHORT)
        ids = ['kept by update', 'kept by update_active', 'kept by a start', 'shortened', 'lingers', 'bare', 'started']
        assert storage.get_many(ids).keys() == set(ids)
        time.sleep(_WAIT)
        assert storage.get_many(ids).keys() == set(ids[:3])
        assert storage.running_ids() == set(ids[:3])
        assert storage.update_active({progress_id: {} for progress_id in ids}, 60).keys() == set(ids[:3])
        assert not storage.acknowledge('lingers', 60)
        assert not storage.delete('shortened')
        storage.update('bare', {'status': '"running"', 'current': '7'}, 60)
        assert record_of(storage, 'bare')['current'] == '7'
        assert storage.start('started', task_record(3000, '"bob"'), 60, Start.NEW)
        assert listed(storage, 'owner:bob') == ['started']
