"""The contract of the functions, for every region type."""

import itertools
import time
from datetime import datetime, timedelta, timezone
from functools import partial

import pytest
from beaker.cache import cache_regions
from pyramid.i18n import TranslationStringFactory
from pyramid.registry import Registry
from pyramid.testing import DummyRequest

from pyramid_progress import (
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    set_progress_status,
    start_task,
)
from pyramid_progress.runtime import current_store
from pyramid_progress.storage import beaker
from pyramid_progress.testing.records import task_record
from pyramid_progress.web.access import Visitor

UNKNOWN = {'status': 'unknown'}

_ = TranslationStringFactory('pyramid_progress')


def look_at(progress_id, acknowledge=False):
    """Return what an HTTP reader sees of a task."""
    visitor = Visitor(DummyRequest(registry=Registry()))
    return visitor.visible_statuses([progress_id], acknowledge=acknowledge)[progress_id]


def finished(progress_id='job', owner='ann'):
    init_progress_status(progress_id, owner, 'Import')
    set_progress_status(progress_id, 'finished')


# The life of a task


def test_an_id_never_used_is_unknown(region):
    assert get_progress_status('job') == UNKNOWN
    assert look_at('job') == UNKNOWN
    assert get_running_tasks() == set()


def test_a_started_task_has_exactly_these_members(region):
    init_progress_status('job', 'ann', 'Import', tags=['a', 'b'], length=10, current=2)
    status = get_progress_status('job')
    started = datetime.fromisoformat(status.pop('started'))
    assert status == {
        'status': 'running', 'owner': 'ann', 'label': 'Import', 'tags': ['a', 'b'], 'length': 10, 'current': 2,
    }  # fmt: skip
    assert started.utcoffset() == timedelta(0)
    assert abs(datetime.now(timezone.utc) - started) < timedelta(seconds=30)
    assert get_running_tasks() == {'job'}


def test_arguments_omitted_at_the_start_are_none(region):
    init_progress_status('job', None, None)
    status = get_progress_status('job')
    del status['started']
    assert status == {
        'status': 'running', 'owner': None, 'label': None, 'tags': None, 'length': None, 'current': None,
    }  # fmt: skip


def test_the_first_change_adds_the_message(region):
    init_progress_status('job', 'ann', 'Import', length=10)
    before = get_progress_status('job')
    set_progress_status('job')
    assert get_progress_status('job') == before | {'message': None}
    set_progress_status('job', message='row 5', current=5)
    assert get_progress_status('job') == before | {'message': 'row 5', 'current': 5}


def test_a_change_of_an_id_never_started(region):
    set_progress_status('job', length=100, current=50)
    bare = {'current': 50, 'length': 100, 'message': None, 'status': 'running'}
    assert get_progress_status('job') == bare
    assert look_at('job') == bare
    assert get_running_tasks() == set()


def test_the_order_of_arguments(region):
    init_progress_status('job', 'ann', 'Import', ['tag'], 10, 2)
    set_progress_status('job', 'pending', 'row 3', 20, 3)
    status = get_progress_status('job')
    del status['started']
    assert status == {
        'status': 'pending', 'owner': 'ann', 'label': 'Import', 'tags': ['tag'], 'length': 20, 'current': 3,
        'message': 'row 3',
    }  # fmt: skip


def test_an_omitted_argument_keeps_its_value_and_none_clears_it(region):
    set_progress_status('job', message='row 5', length=10, current=5)
    set_progress_status('job')
    assert get_progress_status('job') == {'status': 'running', 'message': 'row 5', 'length': 10, 'current': 5}
    set_progress_status('job', message=None)
    set_progress_status('job', length=None)
    assert get_progress_status('job') == {'status': 'running', 'message': None, 'length': None, 'current': 5}
    set_progress_status('job', current=None)
    assert get_progress_status('job')['current'] is None


def test_any_word_is_a_status_and_stays_on_the_list(region):
    words = ['pending', 'running', 'paused', 'half "done"\\', '進行中', 'unknown', '']
    for number, word in enumerate(words):
        init_progress_status(f'job {number}', 'ann', 'Import')
        set_progress_status(f'job {number}', word)
    for number, word in enumerate(words):
        assert get_progress_status(f'job {number}')['status'] == word
    assert get_running_tasks() == {f'job {number}' for number in range(len(words))}


# The end


def test_the_end_is_returned_once(region):
    finished()
    assert get_running_tasks() == {'job'}
    assert get_progress_status('job')['status'] == 'finished'
    assert get_running_tasks() == set()
    assert get_progress_status('job') == UNKNOWN


def test_the_end_of_an_id_never_started_is_returned_once(region):
    set_progress_status('job', 'finished', length=0)
    assert get_progress_status('job') == {'status': 'finished', 'message': None, 'length': 0, 'current': None}
    assert get_progress_status('job') == UNKNOWN


def test_a_reader_that_does_not_acknowledge_changes_nothing(region):
    finished()
    assert look_at('job')['status'] == look_at('job')['status'] == 'finished'
    assert get_running_tasks() == {'job'}
    assert get_progress_status('job')['status'] == 'finished'


@pytest.mark.parametrize('first', [get_progress_status, lambda progress_id: look_at(progress_id, acknowledge=True)])
def test_http_readers_still_see_an_acknowledged_end(region, first):
    finished()
    assert first('job')['status'] == 'finished'
    assert get_progress_status('job') == UNKNOWN
    assert get_running_tasks() == set()
    last = look_at('job', acknowledge=True)
    assert last['status'] == 'finished'
    assert set(last) == {'current', 'label', 'length', 'message', 'started', 'status', 'tags'}
    assert look_at('job') == last


def test_a_change_after_the_acknowledged_end_is_ignored(region):
    finished()
    get_progress_status('job')
    set_progress_status('job', message='too late')
    set_progress_status('job', 'finished', message='too late')
    assert get_progress_status('job') == UNKNOWN
    assert look_at('job')['message'] is None
    assert get_running_tasks() == set()


def test_a_change_before_the_end_is_acknowledged_takes_effect(region):
    finished()
    set_progress_status('job', 'finished', message='42 rows')
    assert get_progress_status('job')['message'] == '42 rows'


def test_no_linger(region):
    region.use(linger=0)
    finished()
    assert look_at('job', acknowledge=True)['status'] == 'finished'
    assert look_at('job') == UNKNOWN
    init_progress_status('job', 'bob', 'Another')
    assert get_progress_status('job')['owner'] == 'bob'


def test_ended_tasks_linger_as_long_as_others_live_except_where_keeping_them_costs(region):
    assert current_store().linger == (3600 if region.kind.generic else 999999)
    region.use(expire=60)
    assert current_store().linger == 60
    region.use(linger=5000)
    assert current_store().linger == 5000


def test_a_change_after_the_acknowledged_end_of_an_id_never_started_starts_anew(region):
    set_progress_status('job', 'finished', message='old', current=1)
    assert get_progress_status('job')['status'] == 'finished'
    assert look_at('job')['message'] == 'old'
    set_progress_status('job', length=10)
    assert get_progress_status('job') == {'status': 'running', 'message': None, 'length': 10, 'current': None}


def test_the_end_is_not_acknowledged_on_request(region):
    finished()
    for _again in range(2):
        assert get_progress_status('job', acknowledge=False)['status'] == 'finished'
    assert get_running_tasks() == {'job'}
    assert get_progress_status('job')['status'] == 'finished'
    assert get_progress_status('job', acknowledge=False) == UNKNOWN


def test_linger_ends(region, wait_until):
    region.use(linger=0.3)
    finished()
    get_progress_status('job')
    wait_until(lambda: look_at('job') == UNKNOWN, 3, 'it lingers for ever')
    set_progress_status('job', message='a new one')
    assert look_at('job')['message'] == 'a new one'
    init_progress_status('job', 'bob', 'Another')
    assert get_running_tasks() == {'job'}


@pytest.mark.parametrize('status', ['failed', 'cancelled'])
def test_a_failed_or_cancelled_task_leaves_the_list_and_stays_readable(region, status):
    init_progress_status('job', 'ann', 'Import')
    set_progress_status('job', status, message='line 7')
    assert get_running_tasks() == set()
    for _again in range(2):
        assert get_progress_status('job')['status'] == look_at('job', acknowledge=True)['status'] == status
    assert get_progress_status('job')['message'] == 'line 7'
    set_progress_status('job', 'running')
    assert get_running_tasks() == {'job'}


# Owners


@pytest.mark.parametrize('end', [None, 'finished', 'acknowledged', 'failed', 'cancelled'])
def test_the_same_owner_may_start_it_anew(region, end):
    init_progress_status('job', 'ann', 'Import', tags=['old'])
    set_progress_status('job', message='old', length=10, current=5)
    if end:
        set_progress_status('job', 'finished' if end == 'acknowledged' else end)
    if end == 'acknowledged':
        get_progress_status('job')
    init_progress_status('job', 'ann', 'Again')
    status = get_progress_status('job')
    del status['started']
    assert status == {
        'status': 'running', 'owner': 'ann', 'label': 'Again', 'tags': None, 'length': None, 'current': None,
    }  # fmt: skip
    assert get_running_tasks() == {'job'}


def test_any_owner_may_start_an_id_never_started(region):
    set_progress_status('job', message='early', current=1)
    init_progress_status('job', 'ann', 'Import')
    assert get_progress_status('job')['owner'] == 'ann'
    assert 'message' not in get_progress_status('job')


# Values


VALUES = [
    None, True, False, 0, -1, 1, 1.0, -0.0, 0.1 + 0.2, 1e300, 5e-324, 2**53 + 1, -(2**63), 2**64, 10**40,
    '', ' ', 'text', '"', '\\', "'", '%1', '%s %(a)s {0}', 'null', '1', '[]', '{"status":"finished"}', '\n', '\r\n\t\0',
    'a",\n,"status":"failed"\n}', '\x7f\x85\u2028\u2029\ufeff', 'é', 'e\u0301', '\\xe9', '進行', '😀', '\U0010ffff',
    'x' * 5000,
    [], {}, [[]], [{}], {'': []}, {'a': {'b': [1, 1.0, None, '1', {'c': {}}]}}, [[], {}, '', 0, None, False],
    {'status': 'finished', '_acknowledged': True, 'owner': None}, [list(range(50))] * 3,
]  # fmt: skip


def alike(one, other):
    """Return whether two values are equal and of the same types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(alike, one.values(), other.values()))
    return repr(one) == repr(other)


def test_values_come_back_exactly(region):
    for number, value in enumerate(VALUES):
        progress_id = f'job {number}'
        init_progress_status(progress_id, value, value, tags=value)
        for change in (None, 'other'):
            if change:
                set_progress_status(progress_id, message=change)
            status = get_progress_status(progress_id)
            assert alike(status['owner'], value)
            assert alike(status['label'], value)
            assert alike(status['tags'], value)
        set_progress_status(progress_id, message=value)
        set_progress_status(progress_id, current=number)
        status = get_progress_status(progress_id)
        assert alike([status['message'], status['tags'], status['current']], [value, value, number])


def test_numbers_come_back_exactly(region):
    for number in (0, 1, 1.0, 0.1 + 0.2, -5, 2**53 + 1, 2**63, 2**70, 1e20, None):
        init_progress_status('job', 'ann', 'Import', length=number, current=number)
        status = get_progress_status('job')
        assert alike([status['length'], status['current']], [number, number])
        set_progress_status('job', length=number, current=number)
        status = get_progress_status('job')
        assert alike([status['length'], status['current']], [number, number])


def test_a_position_beyond_the_length_is_stored_as_given(region):
    set_progress_status('job', length=10, current=11)
    assert (get_progress_status('job')['length'], get_progress_status('job')['current']) == (10, 11)


OTHER_FORMS = [
    ((1, (2,), ()), [1, [2], []]),
    ('half \ud83d', 'half \ufffd'),
    ('\udc00\ud800 halves', '\ufffd\ufffd halves'),
    ('\ud800a', '\ufffda'),
    ('\ud83d\ude00', '😀'),
    (['\ud83d', {'\udc00': 1}], ['\ufffd', {'\ufffd': 1}]),
    (_('import', default='Import of ${name}', mapping={'name': 'a "b"'}), 'Import of a "b"'),
    ([_('import', default='Import')], ['Import']),
]


def test_values_that_json_stores_in_another_form(region):
    for number, (value, stored) in enumerate(OTHER_FORMS):
        init_progress_status(f'job {number}', value, value, tags=value)
        set_progress_status(f'job {number}', message=value)
        status = get_progress_status(f'job {number}')
        for name in ('owner', 'label', 'tags', 'message'):
            assert alike(status[name], stored)


def test_readers_and_writers_have_copies(region):
    tags = ['a', {'b': []}]
    init_progress_status('job', 'ann', 'Import', tags=tags)
    tags[1]['b'].append('later')
    status = get_progress_status('job')
    status['tags'].append('c')
    status['status'] = 'finished'
    seen = look_at('job')
    seen['tags'].clear()
    listed = get_running_tasks()
    listed.clear()
    assert get_progress_status('job')['tags'] == ['a', {'b': []}]
    assert get_progress_status('job')['status'] == 'running'
    assert get_running_tasks() == {'job'}


class Thing:
    pass


SELF_CONTAINING = []
SELF_CONTAINING.append(SELF_CONTAINING)

BAD_VALUES = [
    (float('nan'), ValueError), (float('inf'), ValueError), ([-float('inf')], ValueError),
    ({1, 2}, TypeError), (b'bytes', TypeError), (Thing(), TypeError), (Thing, TypeError), (1j, TypeError),
    (datetime.now(timezone.utc), TypeError), ([{'a': {'b': {3}}}], TypeError), ({1: 'one'}, TypeError),
    ({None: 'none'}, TypeError), (range(3), TypeError), (iter([]), TypeError), (SELF_CONTAINING, ValueError),
]  # fmt: skip


def test_other_values_are_refused_at_the_writer(region):
    """What they are is the matter of another test; here nothing of a refused call is stored."""
    init_progress_status('job', 'ann', 'Import')
    before = get_progress_status('job')
    for value, error in BAD_VALUES:
        for name in ('owner', 'label', 'tags'):
            with pytest.raises(error, match=f'^{name} '):
                init_progress_status('job', **({'owner': 'ann', 'label': 'Import'} | {name: value}))
        with pytest.raises(error, match=r'^message '):
            set_progress_status('job', current=5, message=value)
    for value in ('1', [1], b'1', 1j):
        for name in ('length', 'current'):
            with pytest.raises(TypeError, match=f'^{name} '):
                init_progress_status('job', 'ann', 'Import', **{name: value})
            with pytest.raises(TypeError, match=f'^{name} '):
                set_progress_status('job', message='refused', **{name: value})
    with pytest.raises(TypeError, match=r'^status '):
        set_progress_status('job', None)
    assert get_progress_status('job') == before


# Ids


HOSTILE_IDS = [
    '../../x', '/etc/passwd', 'a/b', 'a b', ' ', 'a ', ' a', 'é', 'e\u0301', '\\xe9', '%C3%A9', '%', '*', '?',
    '[a]', '{}', 'x' * 255, 'x' * 254, 'x' * 254 + 'é', '進' * 255, 'index', 'Index', 'tasks', 'list', '_acknowledged',
    'started', '0', '00', '0.0', "'; DROP TABLE tasks; --", '"', '\\', '$HOME', '<img src=x>', ':', 'a:b', 'a_b', 'a.b',
    '.', '..', '\u2028', 'İ', 'i̇', 'job', 'Job', 'JOB', 'None', 'null', '😀',
]  # fmt: skip


def test_ids_never_collide(region):
    for number, progress_id in enumerate(HOSTILE_IDS):
        init_progress_status(progress_id, number, progress_id)
        set_progress_status(progress_id, current=number)
    assert get_running_tasks() == set(HOSTILE_IDS)
    for number, progress_id in enumerate(HOSTILE_IDS):
        status = get_progress_status(progress_id)
        assert (status['owner'], status['label'], status['current']) == (number, progress_id, number)
        set_progress_status(progress_id, 'finished')
        assert get_progress_status(progress_id)['status'] == 'finished'
        assert get_progress_status(progress_id) == UNKNOWN
    assert get_running_tasks() == set()


def test_no_id_is_an_internal_key(region):
    """The keys under which drivers hold things are ids like any other."""
    namespace = region.settings['progress.namespace']
    ours = [beaker.record_key('job'), beaker.parts_key(beaker.record_key('job')), beaker.record_key('index')]
    keys = ['index', *ours, namespace, f'{namespace}:00', f'{{{namespace}}}:tasks']
    keys += [f'{namespace}:tasks:job', f'{{{namespace}}}:tasks:job', ':job', 'tasks:job', '{job}']
    init_progress_status('job', 'ann', 'Import')
    for key in keys:
        assert get_progress_status(key) == UNKNOWN
        init_progress_status(key, key, key)
    assert {get_progress_status(key)['label'] for key in keys} == set(keys)
    assert get_running_tasks() == {'job', *keys}


BAD_IDS = [
    ('', ValueError), ('x' * 256, ValueError), ('a\nb', ValueError), ('\0', ValueError), ('\x7f', ValueError),
    ('\x85', ValueError), ('half \ud83d', ValueError), (None, TypeError), (1, TypeError), (b'job', TypeError),
]  # fmt: skip


def test_invalid_ids_are_refused(region):
    for progress_id, error in BAD_IDS:
        for call in (
            partial(init_progress_status, progress_id, 'ann', 'Import'),
            partial(set_progress_status, progress_id),
            partial(get_progress_status, progress_id),
        ):
            with pytest.raises(error, match='progress_id'):
                call()
    assert get_running_tasks() == set()


# Lifetimes


def test_a_status_lives_for_the_expiry_of_its_region_after_its_last_change(region, wait_until):
    region.use(expire=2.4)
    init_progress_status('read', 'ann', 'Read all the time')
    init_progress_status('kept', 'ann', 'Changed all the time')
    set_progress_status('bare', message='Never started')
    finished('unread')
    init_progress_status('failed', 'ann', 'Failed')
    start = time.monotonic()
    set_progress_status('failed', 'failed')
    assert get_running_tasks() == {'read', 'kept', 'unread'}

    def only_one_is_left():
        set_progress_status('kept')
        assert get_progress_status('kept')['status'] == 'running'
        looked = [look_at(progress_id) for progress_id in ('read', 'bare', 'unread', 'failed')]
        return looked == [UNKNOWN] * 4

    wait_until(only_one_is_left, 8, 'they live for ever')
    assert time.monotonic() - start > 2.3
    assert get_running_tasks() == {'kept'}
    assert get_progress_status('unread') == UNKNOWN
    init_progress_status('read', 'bob', 'Anew')
    assert get_progress_status('read')['owner'] == 'bob'


def test_the_list_lives_as_long_as_the_statuses(region):
    region.use(['default'], expire=0.2)
    init_progress_status('job', 'ann', 'Import')
    time.sleep(0.4)
    assert get_running_tasks() == {'job'}
    assert get_progress_status('job')['status'] == 'running'


def test_without_a_lifetime_in_the_ini_a_status_lives_for_the_progress_setting(region, wait_until):
    """pyramid_beaker fills in 60 seconds; the application did not ask for them."""
    names = ('default', 'persistent')
    given = {f'cache.{name}.{option}': str(value) for name in names for option, value in region.options.items()}
    configure(region.settings | given | {'cache.regions': ', '.join(names), 'progress.expire': '0.4'})
    assert cache_regions['persistent']['expire'] == 60
    init_progress_status('job', 'ann', 'Import')
    assert get_running_tasks() == {'job'}
    wait_until(lambda: get_progress_status('job') == UNKNOWN, 5, 'it lives longer')
    assert get_running_tasks() == set()


# Regions


def test_a_disabled_cache_still_keeps_statuses(region):
    for name in ('default', 'persistent'):
        cache_regions[name] = cache_regions[name] | {'enabled': False}
    init_progress_status('job', 'ann', 'Import')
    set_progress_status('job', message='row 5')
    assert get_progress_status('job')['message'] == 'row 5'
    assert get_running_tasks() == {'job'}


def test_a_changed_region_counts_from_the_next_call(region, directory):
    init_progress_status('job', 'ann', 'Import')
    here = dict(cache_regions)
    elsewhere = {'type': 'file', 'data_dir': str(directory / 'elsewhere'), 'expire': 999999}
    cache_regions.update(default=elsewhere, persistent=elsewhere)
    assert get_progress_status('job') == UNKNOWN
    assert get_running_tasks() == set()
    init_progress_status('other', 'bob', 'Export')
    cache_regions.update(here)
    assert get_progress_status('job')['status'] == 'running'
    assert get_progress_status('other') == UNKNOWN
    cache_regions['persistent']['expire'] = 5  # in place
    assert get_running_tasks() == {'job'}


@pytest.mark.promises('processes')  # the type `memory` is not shared by applications either
def test_two_applications_share_a_store(region):
    mine, other = dict(region.settings), region.settings | {'progress.namespace': 'other application'}
    init_progress_status('job', 'ann', 'Import')
    configure(other)
    assert get_progress_status('job') == UNKNOWN
    init_progress_status('job', 'bob', 'Export')
    assert get_running_tasks() == {'job'}
    set_progress_status('job', 'finished')
    get_progress_status('job')
    configure(mine)
    assert get_progress_status('job')['owner'] == 'ann'
    assert get_running_tasks() == {'job'}


# A list and statuses in different places


@pytest.fixture
def apart(region, directory):
    """Keep the list elsewhere than the statuses."""
    region.use(['persistent'])
    kind = 'dbm' if region.type == 'file' else 'file'
    cache_regions['default'] = {'type': kind, 'data_dir': str(directory / 'list'), 'expire': 1}
    return region


@pytest.fixture
def swapped(apart):
    """Keep the statuses elsewhere than the list."""
    cache_regions['default'], cache_regions['persistent'] = cache_regions['persistent'], cache_regions['default']
    cache_regions['persistent']['expire'] = 999999
    return apart


def lives_apart(wait_until):
    for name in ('one', 'two', 'three', 'four'):
        init_progress_status(name, 'ann', name, length=10)
    set_progress_status('bare', current=1)
    assert get_running_tasks() == {'one', 'two', 'three', 'four'}
    set_progress_status('one', message='half', current=5)
    assert get_progress_status('one')['message'] == 'half'
    set_progress_status('two', 'finished')
    set_progress_status('three', 'failed')
    assert get_running_tasks() == {'one', 'two', 'four'}
    assert get_progress_status('two')['status'] == 'finished'
    assert get_progress_status('two') == UNKNOWN
    assert look_at('two')['status'] == 'finished'
    assert get_running_tasks() == {'one', 'four'}
    with pytest.raises(ValueError, match='another owner'):
        init_progress_status('one', 'bob', 'Mine')
    init_progress_status('two', 'ann', 'Again')
    init_progress_status('three', 'ann', 'Again')
    init_progress_status('bare', 'ann', 'At last')
    assert get_running_tasks() == {'one', 'two', 'three', 'four', 'bare'}
    cache_regions['persistent'] = cache_regions['persistent'] | {'expire': 0.3}
    for name in ('one', 'two', 'three', 'four'):
        set_progress_status(name)
    wait_until(lambda: get_progress_status('four') == UNKNOWN, 5, 'it lives for ever')
    assert get_running_tasks() - {'one', 'two', 'three'} == {'bare'}


def test_statuses_here_and_the_list_elsewhere(apart, wait_until):
    lives_apart(wait_until)


def test_the_list_here_and_statuses_elsewhere(swapped, wait_until):
    lives_apart(wait_until)


def test_a_list_without_its_statuses_is_empty(apart):
    """The statuses are the truth, whatever happens to their place."""
    for number in range(20):
        init_progress_status(f'job {number}', 'ann', 'Import')
    apart.settings['progress.namespace'] += ':list'  # where the statuses are not, and the list is not either
    configure(apart.settings)
    assert get_running_tasks() == set()


@pytest.fixture
def paired(directory):
    """Keep the list in files, and the statuses in memory; return the storage."""
    cache_regions['default'] = {'type': 'file', 'data_dir': str(directory)}
    cache_regions['persistent'] = {'type': 'memory'}
    configure({'progress.namespace': 'paired'})
    return current_store().storage


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that calls another one before the next call of a method of the list's storage."""

    def interrupt(name, function):
        method = getattr(beaker.BeakerStorage, name)

        def interrupted(*args, **kwargs):
            monkeypatch.setattr(beaker.BeakerStorage, name, method)
            function()
            return method(*args, **kwargs)

        monkeypatch.setattr(beaker.BeakerStorage, name, interrupted)

    return interrupt


def test_a_task_that_starts_while_its_old_entry_is_removed_is_on_the_list(paired, interrupt):
    init_progress_status('job', 'ann', 'Import')
    paired.statuses.delete('job')
    interrupt('delete', lambda: init_progress_status('job', 'ann', 'Again'))
    assert get_running_tasks() == set()
    assert get_running_tasks() == {'job'}
    assert [task['label'] for task in list_tasks(status='running')] == ['Again']


def test_a_task_that_starts_while_its_old_end_is_entered_is_on_the_list(paired, interrupt):
    init_progress_status('job', 'ann', 'Import')
    interrupt('start', lambda: init_progress_status('job', 'ann', 'Again'))
    set_progress_status('job', 'failed')
    assert get_running_tasks() == {'job'}
    assert list_tasks(status='failed') == []
    assert [task['label'] for task in list_tasks(status='running')] == ['Again']


def test_entries_that_are_out_of_date_are_skipped_and_corrected(paired):
    for name in ('gone', 'ended', 'taken over', 'kept'):
        init_progress_status(name, 'ann', 'Import')
    statuses = paired.statuses
    statuses.delete('gone')
    statuses.update('ended', {'status': '"failed"'}, 60)
    statuses.delete('taken over')
    statuses.start('taken over', task_record(2000000000000, '"bob"'), 60)
    assert [task['progress_id'] for task in list_tasks(owner='ann')] == ['kept', 'ended']
    assert [task['progress_id'] for task in list_tasks(status='running')] == ['taken over', 'kept']
    assert [task['progress_id'] for task in list_tasks(status='failed')] == ['ended']
    assert [task['progress_id'] for task in list_tasks(owner='bob')] == ['taken over']
    assert [entry.progress_id for entry in paired.tasks.list_entries(['owner:ann'], 9)] == ['kept', 'ended']


def test_a_heartbeat_restores_an_entry_that_the_list_lost(paired):
    with start_task('Import', owner='ann', progress_id='job'):
        run = {'job': paired.get_many(['job'])['job']['_run']}
        paired.tasks.delete('job')
        assert get_running_tasks() == set()
        paired.update_active({'job': {'current': '1'}}, 60, run)
        assert get_running_tasks() == set()
        paired.update_active({'job': {'_heartbeat': repr(paired.now())}}, 60, run)
        assert get_running_tasks() == {'job'}
        assert [task['progress_id'] for task in list_tasks(owner='ann')] == ['job']


def test_an_entry_lives_as_long_as_its_status(paired, wait_until):
    """Changes that do not concern the list extend the life of a status."""
    cache_regions['persistent']['expire'] = 2
    init_progress_status('job', 'ann', 'Import')
    for _change in range(3):
        time.sleep(1.2)
        assert get_running_tasks() == {'job'}
        set_progress_status('job')
    storage = current_store().storage
    assert wait_until(lambda: get_running_tasks() == set(), 5)
    wait_until(lambda: storage.tasks.get_many(['job']) == {}, 5, 'the entry lives for ever')


def test_every_pair_of_types(directory):
    """Where the list is kept does not matter for where the statuses are."""
    for tasks, statuses in itertools.permutations(('memory', 'file', 'dbm'), 2):
        place = directory / f'{tasks}-{statuses}'
        cache_regions['default'] = {'type': tasks, 'data_dir': str(place), 'expire': 1}
        cache_regions['persistent'] = {'type': statuses, 'data_dir': str(place), 'expire': 999999}
        init_progress_status('job', 'ann', 'Import')
        assert get_running_tasks() == {'job'}
        finished()
        assert get_progress_status('job')['status'] == 'finished'
        assert get_running_tasks() == set()
