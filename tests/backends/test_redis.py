"""The driver of Redis: round trips, the script, and servers that break, hang or refuse."""

import json
import math
import re
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from threading import Barrier, Event, Thread
from urllib.parse import urlsplit

import pytest
import redis
from beaker.cache import cache_regions
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.failover import Traffic

from pyramid_progress import configure, start_task
from pyramid_progress.model import parts
from pyramid_progress.model import record as rules
from pyramid_progress.model.parts import PARTS
from pyramid_progress.model.record import Activity, dump, load
from pyramid_progress.storage import Entry, StorageError
from pyramid_progress.storage.redis import RedisStorage, base
from pyramid_progress.storage.redis.client import Client
from pyramid_progress.storage.redis.location import MAX_CONNECTIONS
from pyramid_progress.storage.redis.semaphore import FairSemaphore
from pyramid_progress.work.run import TaskRun

RECORD = {
    'status': '"running"', 'owner': '"ann"', 'label': '"Import"', 'tags': '[]', 'length': '10', 'current': '0',
    'started': '"2026-01-01T00:00:00+00:00"',
}  # fmt: skip
FINISHED = RECORD | {'status': '"finished"'}
FIFTY = [f'job {number}' for number in range(50)]
RUNS = [f'"{number:013d}-0000000{digit}"' for number in (0, 1764115200000, 1764115200001) for digit in 'a9']


def open_storage(url, namespace='progress', timeout=5.0):
    return RedisStorage({'type': 'ext:redis', 'url': url}, namespace, timeout)


class Namespace:
    """A namespace of its own in the shared server, as the driver and as other clients see it."""

    def __init__(self, url):
        self.name = uuid.uuid4().hex
        self.prefix = f'{{{self.name}}}:'
        self.storage = open_storage(url, self.name)
        self.server = redis.Redis.from_url(url)

    def key(self, progress_id):
        return f'{self.prefix}tasks:{progress_id}'

    def parts(self, progress_id):
        return f'{self.prefix}parts:{progress_id}'

    def index(self, key):
        return f'{self.prefix}index:{key}'


@pytest.fixture
def namespace(redis_url):
    namespace = Namespace(redis_url)
    yield namespace
    namespace.storage.close()
    namespace.server.close()


# Round trips


def address(url):
    return urlsplit(url).hostname, urlsplit(url).port


class Proxy:
    """Forwards between clients and a server, and counts the round trips.

    ``server`` may be changed: it is the address to which new connections are forwarded.
    """

    def __init__(self, url):
        self.server = address(url)
        self._listener = socket.create_server(('127.0.0.1', 0))
        self._pairs = []
        self.url = f'redis://127.0.0.1:{self._listener.getsockname()[1]}/0'
        self.round_trips = 0
        Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.server)
                self._pairs.append((client, server))
                Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client, server):
        speaker = server
        with client, server, suppress(OSError):
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    if one is client and speaker is server:
                        self.round_trips += 1
                    speaker = one
                    (server if one is client else client).sendall(data)

    def drop(self):
        """Break all connections."""
        for one in chain(*self._pairs):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()
        self.drop()


@pytest.fixture
def proxy(redis_url):
    proxy = Proxy(redis_url)
    yield proxy
    proxy.close()


@pytest.fixture
def storage(proxy):
    """Return a connected storage with fifty tasks, behind the proxy."""
    storage = open_storage(proxy.url, uuid.uuid4().hex)
    for progress_id in FIFTY:
        storage.start(progress_id, RECORD, 60)
    yield storage
    storage.close()


@pytest.mark.parametrize(
    'operation',
    [
        lambda storage: storage.start('new', RECORD, 60),
        lambda storage: storage.update('job 1', {'status': '"failed"', 'message': json.dumps('x' * 100000)}, 60),
        lambda storage: storage.update('bare', {'current': '1'}, 60),
        lambda storage: storage.update_active({progress_id: {'current': '1'} for progress_id in FIFTY}, 60),
        lambda storage: storage.get_many(['job 1']),
        lambda storage: storage.get_many(FIFTY),
        lambda storage: storage.acknowledge('job 1', 60),
        lambda storage: storage.delete('job 1'),
        lambda storage: storage.running_ids(),
        lambda storage: storage.list_entries(rules.ALL_KEYS, 10),
        lambda storage: storage.prune('running', FIFTY),
        lambda storage: storage.start_part('job 1', 0, task_run='', part_run=RUNS[0], heartbeat='1', expire=60),
        lambda storage: storage.update_part('job 1', 0, {}, task_run='', part_run=RUNS[0], expire=60),
    ],
    ids=[
        'start',
        'update',
        'bare',
        'update_active',
        'get_many',
        'get_many 50',
        'acknowledge',
        'delete',
        'running_ids',
        'list_entries',
        'prune',
        'start_part',
        'update_part',
    ],
)
def test_an_operation_is_one_round_trip(storage, proxy, namespace, operation):
    operation(namespace.storage)  # From now on the server knows the script.
    before = proxy.round_trips
    operation(storage)
    assert proxy.round_trips == before + 1


def test_reading_no_ids_contacts_no_server(storage, proxy):
    before = proxy.round_trips
    assert storage.get_many([]) == {}
    assert proxy.round_trips == before


def test_the_servers_time_is_read_once_a_minute(storage, proxy, monkeypatch):
    assert abs(storage.now() - time.time()) < 1
    before = proxy.round_trips
    times = [storage.now() for _each in range(10)]
    assert times == sorted(times)
    assert proxy.round_trips == before
    monkeypatch.setattr(base, 'monotonic', lambda: time.monotonic() + 61)
    storage.now()
    assert proxy.round_trips == before + 1


def test_a_slow_sample_of_the_servers_time_is_not_used(namespace, monkeypatch):
    """The time to connect would count half."""
    call, seconds = Client.call, [0.3, 0.0]

    def slow(client, *arguments):
        time.sleep(seconds.pop(0))
        return call(client, *arguments)

    monkeypatch.setattr(Client, 'call', slow)
    assert abs(namespace.storage.now() - time.time()) < 0.1
    assert seconds == []


def test_a_long_list_is_read_in_parts(storage, proxy):
    more = {f'more {number}' for number in range(1200)}
    for progress_id in more:
        storage.start(progress_id, RECORD, 60)
    before = proxy.round_trips
    assert storage.running_ids() == more | set(FIFTY)
    assert 2 <= proxy.round_trips - before <= 5


def test_a_broken_connection_is_replaced(storage, proxy):
    for _again in range(3):
        proxy.drop()
        storage.update('job 1', {'current': '5'}, 60)
        proxy.drop()
        assert storage.get_many(['job 1'])['job 1']['current'] == '5'
        proxy.drop()
        assert storage.running_ids() == set(FIFTY)


# The rules of records and parts, in the scripts


NAMES = [
    'status', 'owner', 'message', 'length', 'current', rules.ACKNOWLEDGED, rules.CANCEL, rules.MESSAGE_CODE, 's',
    'stat', 'stat.s', '_', 'A', '_ended', '_failure',
]  # fmt: skip
STATUSES = ['"running"', '"finished"', '"failed"', '"cancelled"', '"finished "', '"paused"']
OWNERS = [
    '"ann"', '"5"', '5', 'null', '"null"', r'"\"é\\n"', r'"\u0000\u001f"', '""', '["ann"]', '{"a":1.0}', '"owner:ann"',
]  # fmt: skip
TEXTS = [
    'null', 'true', '1.0', '[]', '9007199254740993', '0.30000000000000004', '"%1"', '"%"', '""', r'"\""',
    r'"a\",\n,\"status\":\"failed\"\n}"', '{}', '{"status":"failed"}', '{"started":{"_acknowledged":1}}', r'"\":"',
    '"é進"', '"' + 'x' * 3000 + '"',
]  # fmt: skip

texts = {'status': st.sampled_from(STATUSES), 'owner': st.sampled_from(OWNERS)}
one_member = st.sampled_from(NAMES).flatmap(
    lambda name: st.tuples(st.just(name), texts.get(name, st.sampled_from(TEXTS)))
)
changes = st.lists(one_member, unique_by=lambda member: member[0], max_size=6).map(dict)
runs = st.sampled_from(RUNS)
#: In use, or not, by a wide margin.
activity_times = st.sampled_from([{}, *({name: time} for name in ('_heartbeat', '_changed') for time in ('1', '9e9'))])


@st.composite
def records(draw, started=None):
    """Give a record that a start or a change may leave, with its members in any order, often as a start has them."""
    record = {'status': draw(texts['status'])} | draw(changes) | draw(activity_times)
    if started is None and draw(st.booleans()):
        record.pop('owner', None)
    else:
        record |= {'owner': draw(texts['owner']), 'started': '"now"', rules.RUN: draw(runs)}
        if started is None and draw(st.integers(0, 9)) == 0:
            del record[rules.RUN]
    if draw(st.booleans()):
        status = draw(st.sampled_from(['"running"', record.pop('status')]))
        return {'status': status} | record | {'message': '"so far"', 'current': '1'}
    return dict(draw(st.permutations(list(record.items()))))


def indexes_of(record):
    if record is None:
        return {}
    return {key: {'job': rules.start_time(record)} for key in rules.index_keys(record)}


class State:
    """The task 'job' in a namespace, as other clients of the server see and change it."""

    def __init__(self, namespace):
        self._namespace = namespace
        self._server = namespace.server
        self._prefix = f'{{{namespace.name}}}:index:'

    def put(self, record, parts=None):
        if keys := list(self._server.scan_iter(f'*{self._namespace.name}*', 1000)):
            self._server.delete(*keys)
        if record:
            self._server.set(self._namespace.key('job'), dump(record))
        for key, entry in indexes_of(record).items():
            self._server.zadd(self._prefix + key, entry)
        for number, part in (parts or {}).items():
            self._server.hset(self._namespace.parts('job'), number, dump(part))

    @property
    def record(self):
        text = (self._server.get(self._namespace.key('job')) or b'').decode()
        assert not text or dump(load(text)) == text
        return load(text) if text else None

    @property
    def parts(self):
        parts = self._server.hgetall(self._namespace.parts('job')).items()
        return {int(number): load(text.decode()) for number, text in parts}

    @property
    def indexes(self):
        keys = list(self._server.scan_iter(f'{self._prefix}*', 1000))
        return {
            key.decode().removeprefix(self._prefix): {
                progress_id.decode(): score for progress_id, score in self._server.zrange(key, 0, -1, withscores=True)
            }
            for key in keys
        }


@pytest.fixture(scope='module')
def shared_namespace(redis_url):
    return Namespace(redis_url)


script_settings = settings(max_examples=200, deadline=None, database=None)


def examples_of_use(function):
    """Add starts by another owner, of tasks that are in use, and of tasks that are not."""
    for name in (rules.HEARTBEAT, rules.CHANGED):
        for ago in (-60, 5, 60, 600, 1200):
            old = RECORD | {rules.RUN: RUNS[2], name: repr(time.time() - ago)}
            function = example(old, RECORD | {'owner': '"bob"', rules.RUN: RUNS[3]}, rules.Start.ANY)(function)
    return function


@given(st.none() | records(), records(started=True), st.sampled_from(rules.Start))
@examples_of_use
@script_settings
def test_the_script_starts_by_the_rules(shared_namespace, old, new, mode):
    state = State(shared_namespace)
    state.put(old, {0: STATUS_AND_RUN})
    starts = rules.may_start(old, new, mode, time.time())
    assert shared_namespace.storage.start('job', new, 60, mode) is starts
    assert state.record == (new if starts else old)
    assert state.indexes == indexes_of(state.record)
    # Parts are found only where the record has some.
    has_parts = PARTS in new or PARTS in (old or {})
    assert state.parts == ({} if starts and has_parts else {0: STATUS_AND_RUN})


STATUS_AND_RUN = {'status': '"running"', rules.RUN: RUNS[0]}
STATUS_AND_OWNER = {'status': '"running"', 'owner': '"ann"', 'started': '"now"'}


@given(st.none() | records(), changes)
@example(STATUS_AND_OWNER | {rules.MESSAGE_CODE: '"x"'}, {'length': '1'})
@script_settings
def test_the_script_updates_by_the_rules(shared_namespace, old, change):
    state = State(shared_namespace)
    state.put(old)
    change = {'status': '"running"'} | change
    shared_namespace.storage.update('job', change, 60)
    assert state.record == (rules.updated(old, change) or old)
    assert state.indexes == indexes_of(state.record)


@given(st.none() | records(), changes | changes.map(lambda change: change | {rules.RUN: RUNS[3]}), st.none() | runs)
@example({'message': '{"started":{"_acknowledged":1}}'} | STATUS_AND_OWNER, {'length': '1'}, None)
@example(RECORD | {'message': '"x"', rules.MESSAGE_CODE: '"x"'}, {'message': '"y"'}, None)
@script_settings
def test_the_script_updates_active_tasks_by_the_rules(shared_namespace, old, change, run):
    state = State(shared_namespace)
    state.put(old)
    left = rules.updated_active(old, change, run) or old
    activity = rules.activity(left, run)
    answer = shared_namespace.storage.update_active(
        {'job': change, 'none': change}, 60, None if run is None else {'job': run, 'none': run}
    )
    assert answer == ({} if activity is None else {'job': activity})
    assert state.record == left
    assert state.indexes == indexes_of(left)


@given(st.none() | records(), st.sampled_from([0, 60]))
@script_settings
def test_the_script_acknowledges_by_the_rules(shared_namespace, old, linger):
    state = State(shared_namespace)
    state.put(old)
    acknowledged = rules.acknowledged(old)
    assert shared_namespace.storage.acknowledge('job', linger) is (acknowledged is not None)
    assert state.record == ((acknowledged if linger else None) if acknowledged else old)
    assert state.indexes == indexes_of(state.record)


@given(st.none() | records())
@script_settings
def test_the_script_deletes_a_task_with_its_parts(shared_namespace, old):
    state = State(shared_namespace)
    state.put(old, {0: STATUS_AND_RUN})
    assert shared_namespace.storage.delete('job') is (old is not None)
    assert state.record is None
    assert state.indexes == {}
    assert state.parts == ({} if old else {0: STATUS_AND_RUN})


NUMBERS = [
    '0', '-0.0', '-3', '2.5', '0.1', '0.2', '9007199254740991', '9007199254740992', '1e300', '7.0',
    '0.30000000000000004',
]  # fmt: skip
numbers = st.sampled_from(NUMBERS) | st.floats(-1e18, 1e18).map(repr) | st.integers(-(2**55), 2**55).map(str)
MESSAGES = [{}, {'message': 'null'}, {'message': '"a message"'}, {'message': '"50 %"', rules.MESSAGE_CODE: '"x"'}]
messages_with_codes = st.sampled_from(MESSAGES)
counts = st.sampled_from(['0', '1', '2', '3'])


@st.composite
def tasks_with_parts(draw):
    """Give a task's record and that of its part 0, None if there is none."""
    task = {
        'status': draw(texts['status'] | st.just('"running"')), 'owner': '"ann"', 'started': '"now"', 'length': '10',
        'current': draw(numbers | st.just('null')), rules.RUN: draw(runs),
    }  # fmt: skip
    task |= draw(messages_with_codes)
    optional = {
        '_ended': counts, '_failed': counts, '_cancelled': counts, '_p0': st.just('1.5'), '_p1': st.just('2.5'),
        '_failure': st.just('"it failed"'), '_failure_code': st.just('"f"'), rules.CANCEL: st.just('true'),
        '_last': runs,
    }  # fmt: skip
    task |= draw(st.fixed_dictionaries({}, optional=optional))
    if draw(st.integers(0, 9)):
        task['_parts'] = draw(counts)
    part = {
        rules.RUN: draw(runs),
        'status': draw(texts['status'].filter(lambda text: ' ' not in text)),
        'current': draw(numbers),
    }
    return draw(st.sampled_from([task, task, task, None])), draw(st.sampled_from([part, part, None]))


def check_part(state, before, change, answer):
    left = change.task or before[0], change.part or before[1]
    assert answer == change.activity
    assert (type(answer) is Activity) == (answer is not None)
    assert (state.record, state.parts.get(0)) == left
    assert state.indexes == indexes_of(left[0])


def near(old, draw_from):
    """Give the run of a record more often than another."""
    return (st.just(old[rules.RUN]) | draw_from) if old else draw_from


@given(tasks_with_parts(), st.data())
@script_settings
def test_the_script_starts_parts_by_the_rules(shared_namespace, before, data):
    task, part = before
    state = State(shared_namespace)
    state.put(task, {0: part} if part else {})
    arguments = {'task_run': data.draw(near(task, runs)), 'part_run': data.draw(runs), 'heartbeat': '1764115200.25'}
    change = parts.start_part(task, part, number=0, **arguments)
    check_part(state, before, change, shared_namespace.storage.start_part('job', 0, expire=60, **arguments))


@given(tasks_with_parts(), st.data())
@settings(script_settings, max_examples=500)
def test_the_script_updates_parts_by_the_rules(shared_namespace, before, data):
    task, part = before
    state = State(shared_namespace)
    state.put(task, {0: part} if part else {})
    optional = {
        'current': numbers, 'status': texts['status'], rules.HEARTBEAT: st.just('1764115200.25'),
        'result': st.just('{"url":"/table"}'), rules.CHANGED: st.just('1764115200'),
    }  # fmt: skip
    change = data.draw(st.fixed_dictionaries({}, optional=optional)) | data.draw(messages_with_codes)
    arguments = {'task_run': data.draw(near(task, runs)), 'part_run': data.draw(near(part, runs))}
    expected = parts.update_part(task, part, change, number=0, **arguments)
    check_part(state, before, expected, shared_namespace.storage.update_part('job', 0, change, expire=60, **arguments))


def test_a_record_is_json(namespace):
    namespace.storage.start('job', RECORD, 60)
    namespace.storage.update('job', {'status': '"running"', 'message': '"50 %1"', 'current': '0.30000000000000004'}, 60)
    text = namespace.server.get(namespace.key('job')).decode()
    assert load(text) == RECORD | {'message': '"50 %1"', 'current': '0.30000000000000004'}
    assert json.loads(text)['message'] == '50 %1'


def test_keys_begin_with_the_namespace_and_share_a_hash_tag(namespace):
    namespace.storage.start('job', RECORD | {'_parts': '1', rules.RUN: RUNS[2]}, 60)
    namespace.storage.start_part('job', 0, task_run=RUNS[2], part_run=RUNS[2], heartbeat='1', expire=60)
    namespace.storage.update('bare', {'status': '"running"'}, 60)
    assert {key.decode() for key in namespace.server.scan_iter(f'*{namespace.name}*')} == {
        f'{{{namespace.name}}}:{key}'
        for key in ('tasks:job', 'tasks:bare', 'parts:job', 'index:running', 'index:owner:ann', 'due')
    }


def test_a_server_that_lost_the_script_receives_it_again(namespace):
    namespace.storage.start('job', RECORD, 60)
    namespace.server.script_flush()
    namespace.storage.update('job', {'current': '5'}, 60)
    assert namespace.storage.get_many(['job'])['job']['current'] == '5'


# Indexes, and expired records


def members(namespace, name):
    return {member.decode() for member in namespace.server.zrange(namespace.prefix + name, 0, -1)}


def expire_now(namespace, *progress_ids):
    """Let records expire, and let their index entries be due."""
    for progress_id in progress_ids:
        namespace.server.delete(namespace.key(progress_id))
        for member in members(namespace, 'due'):
            if member.startswith(f'{progress_id}\n'):
                namespace.server.zadd(f'{namespace.prefix}due', {member: 1})


@pytest.mark.parametrize('status', ['running', 'pending'])
def test_no_changes_do_not_extend_the_lifetime(namespace, status):
    namespace.storage.start('job', RECORD | {'status': f'"{status}"'}, 60)
    assert namespace.storage.update_active({'job': {}}, 600) == {'job': Activity(0)}
    assert namespace.server.pttl(namespace.key('job')) <= 60_000


def test_a_change_that_moves_nothing_uses_the_keys_of_the_task_alone(private_redis):
    storage = open_storage(private_redis.url)
    storage.start('job', RECORD | {'_parts': '1', rules.RUN: RUNS[2]}, 60)
    with redis.Redis.from_url(private_redis.url) as server:
        server.config_resetstat()
        storage.update('job', {'status': '"running"', 'current': '5'}, 60)
        storage.update_active({'job': {'current': '6', '_heartbeat': '1.5'}}, 60, {'job': RUNS[2]})
        storage.start_part('job', 0, task_run=RUNS[2], part_run=RUNS[2], heartbeat='1', expire=60)
        storage.update_part('job', 0, {'current': '7'}, task_run=RUNS[2], part_run=RUNS[2], expire=60)
        used = {name.removeprefix('cmdstat_') for name in server.info('commandstats')}
    assert used - {'evalsha', 'eval', 'config', 'config|resetstat', 'info'} == {'get', 'set', 'pexpire', 'hget', 'hset'}
    storage.close()


@pytest.mark.parametrize(
    'change',
    [
        lambda storage: storage.update('job', {'current': '5'}, 600),
        lambda storage: storage.update_active({'job': {'current': '5'}}, 600),
        lambda storage: storage.update_part('job', 0, {}, task_run=RUNS[2], part_run=RUNS[2], expire=600),
        lambda storage: storage.start_part('job', 1, task_run=RUNS[2], part_run=RUNS[2], heartbeat='1', expire=600),
    ],
)
def test_parts_expire_with_their_task(namespace, change):
    namespace.storage.start('job', RECORD | {'_parts': '2', rules.RUN: RUNS[2]}, 60)
    namespace.storage.start_part('job', 0, task_run=RUNS[2], part_run=RUNS[2], heartbeat='1', expire=60)
    change(namespace.storage)
    for key in (namespace.key('job'), namespace.parts('job')):
        assert 590_000 < namespace.server.pttl(key) <= 600_000


def test_a_lost_record_is_not_on_the_running_list(namespace):
    """Also if a status of its id is set again, or its end is restored."""
    for progress_id in ('here', 'deleted', 'set again', 'restored'):
        namespace.storage.start(progress_id, RECORD, 60)
    namespace.server.delete(*map(namespace.key, ('deleted', 'set again', 'restored')))
    namespace.storage.update('set again', {'status': '"running"'}, 60)
    namespace.storage.start('restored', RECORD | {'status': '"failed"', rules.RUN: RUNS[2]}, 60, rules.Start.RESTORE)
    assert namespace.storage.running_ids() == {'here'}


def test_starts_remove_the_tasks_whose_records_expired(namespace):
    """From all indexes; a few at each start."""
    ids = {f'job {number}' for number in range(10)}
    for progress_id in ids:
        namespace.storage.start(progress_id, RECORD | {'owner': f'"{progress_id}"'}, 60)
    namespace.storage.update_active({progress_id: {'status': '"finished"'} for progress_id in ids}, 60)
    expire_now(namespace, *ids)
    for number in range(3):
        assert members(namespace, 'index:finished') != set()
        namespace.storage.start(f'new {number}', RECORD, 60)
    assert members(namespace, 'index:finished') == set()
    assert members(namespace, 'index:running') == {'new 0', 'new 1', 'new 2'}
    assert {key.decode() for key in namespace.server.scan_iter(f'{namespace.prefix}index:*')} == {
        f'{namespace.prefix}index:{key}' for key in ('running', 'owner:ann')
    }
    assert members(namespace, 'due') == {f'new {number}\nowner:ann' for number in range(3)}


def test_a_task_that_lives_on_is_due_again_when_it_expires(namespace):
    namespace.storage.start('job', RECORD, 60)
    namespace.server.zadd(f'{namespace.prefix}due', {'job\nowner:ann': 1})
    namespace.storage.start('other', RECORD, 60)
    assert namespace.server.zscore(f'{namespace.prefix}due', 'job\nowner:ann') == pytest.approx(
        (time.time() + 60) * 1000, abs=10_000
    )
    assert members(namespace, 'index:owner:ann') == members(namespace, 'index:running') == {'job', 'other'}


def test_a_task_of_another_owner_leaves_the_index_of_the_former_owner(namespace):
    """Its record was lost before, so that the start does not know the former owner."""
    namespace.storage.start('job', RECORD, 60)
    expire_now(namespace, 'job')
    namespace.storage.start('job', RECORD | {'owner': '"bob"'}, 60)
    assert members(namespace, 'index:owner:ann') == set()
    assert members(namespace, 'index:owner:bob') == members(namespace, 'index:running') == {'job'}
    assert members(namespace, 'due') == {'job\nowner:bob'}


def test_a_deleted_task_leaves_no_key(namespace):
    namespace.storage.start('job', RECORD | {'_parts': '1', rules.RUN: RUNS[2]}, 60)
    namespace.storage.start_part('job', 0, task_run=RUNS[2], part_run=RUNS[2], heartbeat='1', expire=60)
    assert namespace.storage.delete('job')
    assert list(namespace.server.scan_iter(f'*{namespace.name}*')) == []
    assert not namespace.storage.delete('job')


def test_an_index_loses_the_entries_that_do_not_belong_there(namespace):
    for progress_id in ('here', 'lost', 'older'):
        namespace.storage.start(progress_id, RECORD | {rules.RUN: RUNS[2]}, 60)
    namespace.server.delete(namespace.key('lost'))
    namespace.storage.start('failed', RECORD | {'status': '"failed"', rules.RUN: RUNS[2]}, 60)
    namespace.server.zadd(namespace.index('running'), {'older': 5, 'never': 6, 'failed': 7})
    namespace.storage.prune('running', ['here', 'lost', 'older', 'never', 'failed'])
    assert namespace.server.zrange(namespace.index('running'), 0, -1, withscores=True) == [
        (b'here', 1764115200000), (b'older', 1764115200000),
    ]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(['a', 'ab', 'B', 'é', '進', '-', '_']))),
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(['a', 'b', 'Z', 'ê', '𝄞', '-', '_']))),
    st.integers(1, 5),
    st.none() | st.tuples(st.integers(0, 5), st.sampled_from(['a', 'aa', 'B', 'é', '進', ','])),
)
@script_settings
def test_entries_are_listed_in_descending_order(shared_namespace, first, second, limit, before):
    namespace = shared_namespace
    namespace.server.delete(namespace.index('one'), namespace.index('two'))
    entries = set()
    for name, index in (('one', first), ('two', second)):
        scores = {progress_id: start for start, progress_id in index}
        entries |= {Entry(start, progress_id) for progress_id, start in scores.items()}
        if scores:
            namespace.server.zadd(namespace.index(name), scores)
    before = before and Entry(*before)
    expected = sorted((entry for entry in entries if before is None or entry < before), reverse=True)[:limit]
    assert namespace.storage.list_entries(['one', 'two', 'none'], limit, before) == expected


def test_a_page_of_a_long_index_is_read_in_few_steps(private_redis):
    """Also if all of its tasks started at the same time."""
    storage = open_storage(private_redis.url)
    with redis.Redis.from_url(private_redis.url) as server:
        for start in range(0, 100_000, 10_000):
            ids = {f'job {number:06d}': 1764115200000 for number in range(start, start + 10_000)}
            server.zadd('{progress}:index:running', ids)
        server.config_resetstat()
        page = storage.list_entries(['running'], 3, Entry(1764115200000, 'job 050000'))
        calls = server.info('commandstats')['cmdstat_zrevrange']['calls']
    assert page == [Entry(1764115200000, f'job {number:06d}') for number in (49999, 49998, 49997)]
    assert calls < 20
    storage.close()


@pytest.mark.parametrize('spoil', [('config', 'set', 'maxmemory', '1'), ('replicaof', '127.0.0.1', '1')])
def test_reading_works_where_the_server_refuses_changes(private_redis, spoil):
    writer = open_storage(private_redis.url)
    for number in range(3):
        writer.start(f'job {number}', RECORD | {rules.RUN: RUNS[2]}, 60)
    with redis.Redis.from_url(private_redis.url) as server:
        server.execute_command(*spoil)
        server.script_flush()
    storage = open_storage(private_redis.url)
    assert storage.running_ids() == {'job 0', 'job 1', 'job 2'}
    assert storage.list_entries(['owner:ann'], 1) == [Entry(1764115200000, 'job 2')]
    assert storage.list_entries(['running'], 2, Entry(1764115200000, 'job 2')) == [
        Entry(1764115200000, 'job 1'), Entry(1764115200000, 'job 0'),
    ]  # fmt: skip
    assert list(storage.get_many_serialized(['job 1'])) == ['job 1']
    assert list(storage.get_many_serialized(['job 1', 'job 2'])) == ['job 1', 'job 2']
    assert abs(storage.now() - time.time()) < 1
    with pytest.raises(StorageError):
        storage.update('job 1', {'status': '"running"'}, 60)
    writer.close()
    storage.close()


@pytest.mark.parametrize(('linger', 'left'), [(60, True), (0.5, True), (0, False)])
def test_an_acknowledged_record_lingers(namespace, linger, left):
    namespace.storage.start('job', FINISHED, 600)
    assert namespace.storage.acknowledge('job', linger)
    assert members(namespace, 'index:running') == set()
    if left:
        assert 0 < namespace.server.pttl(namespace.key('job')) <= linger * 1000
        assert members(namespace, 'index:finished') == {'job'}
    else:
        assert list(namespace.server.scan_iter(f'*{namespace.name}*')) == []


# The location of the server


@pytest.mark.parametrize(
    'query', ['', '?protocol=3', '?decode_responses=True', '?retry_on_timeout=yes&encoding=latin-1']
)
def test_options_of_the_url_do_not_change_results(redis_url, query):
    storage = open_storage(redis_url + query, uuid.uuid4().hex)
    assert storage.start('jöb', RECORD | {'label': '"é進"'}, 60)
    assert storage.update_active({'jöb': {'current': '5'}}, 60) == {'jöb': Activity(0)}
    assert storage.get_many(['jöb']) == {'jöb': RECORD | {'label': '"é進"', 'current': '5'}}
    assert storage.get_many(['jöb', 'none']) == {'jöb': RECORD | {'label': '"é進"', 'current': '5'}}
    assert storage.running_ids() == {'jöb'}
    assert abs(storage.now() - time.time()) < 1
    storage.close()


@pytest.fixture
def listening(program, tmp_path, wait_until):
    """Return a context manager for a server with these options, which listens on a Unix socket too."""

    @contextmanager
    def listen(*options):
        path = tmp_path / 'redis.sock'
        command = [
            program('redis-server'),
            '--port',
            '0',
            '--unixsocket',
            path,
            '--dir',
            tmp_path,
            '--save',
            '',
            *options,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_until(path.exists, 10, 'redis-server does not listen')
            yield path
        finally:
            process.kill()
            process.wait()

    return listen


@pytest.fixture
def tls_url(listening, program, free_port, tmp_path):
    """Return the url of a server with TLS, with its certificate."""
    port, certificate, key = free_port(), tmp_path / 'certificate', tmp_path / 'key'
    name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
    request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', *name, '-keyout', key, '-out', certificate]
    subprocess.run([program('openssl'), *request], check=True, capture_output=True)
    files = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate]
    with listening('--tls-port', str(port), '--tls-auth-clients', 'no', *files):
        yield f'rediss://127.0.0.1:{port}/1?ssl_ca_certs={certificate}'


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # redis-py 5.0 does not close it
def test_a_unix_socket(listening):
    with listening() as path:
        storage = open_storage(f'unix://{path}?db=1')
        assert storage.start('job', RECORD, 60)
        assert storage.get_many(['job']) == {'job': RECORD}
        storage.close()
    with pytest.raises(StorageError, match=f'Redis at {re.escape(str(path))} failed'):
        storage.get_many(['job'])


def test_tls(tls_url):
    storage = open_storage(tls_url)
    assert storage.start('job', RECORD, 60)
    assert storage.get_many(['job']) == {'job': RECORD}
    storage.close()


def test_a_server_with_an_unknown_certificate_is_an_error(tls_url):
    storage = open_storage(tls_url.partition('?')[0])
    with pytest.raises(StorageError, match=r'127\.0\.0\.1:\d+.*certificate'):
        storage.get_many(['job'])


@pytest.mark.parametrize(
    'url',
    [
        None, '', 'localhost:6379', 'http://localhost', 'redis:/localhost', 'redis://localhost:port/0', 'redis://[::1',
        'redis://localhost/0?nonsense=1', 'redis://localhost/0?protocol=9', 'redis://localhost/0?socket_timeout=x',
        'rediss://localhost/0?ssl_cert_reqs=perhaps',
    ],
)  # fmt: skip
def test_an_invalid_url_is_a_value_error(url):
    with pytest.raises(ValueError, match='url'):
        open_storage(url)


def test_the_extra_is_named_if_the_library_is_missing():
    code = "import sys; sys.modules['redis'] = None; import pyramid_progress.storage.redis"
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert 'ImportError: ' in process.stderr.splitlines()[-1]
    assert 'install pyramid_progress[redis]' in process.stderr


# Servers that break, hang or refuse


def messages(error):
    while error:
        yield str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_password_is_used_and_never_shown(private_redis):
    password, wrong = 'gehe1m', 'fa1sch'
    with redis.Redis.from_url(private_redis.url) as server:
        server.config_set('requirepass', password)
    storage = open_storage(private_redis.url.replace('//', f'//:{password}@'))
    assert storage.start('job', RECORD, 60)
    storage.close()
    for url in (private_redis.url, private_redis.url.replace('//', f'//user:{wrong}@')):
        with pytest.raises(StorageError, match=r'127\.0\.0\.1:\d+') as caught:
            open_storage(url).get_many(['job'])
        assert isinstance(caught.value.__cause__, redis.RedisError)
        assert not any(wrong in message for message in messages(caught.value))
    private_redis.stop()
    with pytest.raises(StorageError, match='refused') as caught:
        open_storage(private_redis.url.replace('//', f'//:{wrong}@')).get_many(['job'])
    assert not any(wrong in message for message in messages(caught.value))


@pytest.mark.parametrize('rest', ['/x@localhost:6379/0', '@localhost:port/0', '@localhost/0?nonsense=1'])
def test_a_password_in_an_invalid_url_is_not_shown(rest):
    with pytest.raises(ValueError, match='url') as caught:
        open_storage('redis://user:gehe1m' + rest)
    assert not any('gehe1m' in message for message in messages(caught.value))


@pytest.mark.parametrize(
    ('spoil', 'repair', 'message'),
    [
        (
            lambda server: server.config_set('maxmemory', 1),
            lambda server: server.config_set('maxmemory', 0),
            'maxmemory',
        ),
        (
            lambda server: server.replicaof('127.0.0.1', 1),
            lambda server: server.replicaof('no', 'one'),
            'read only',
        ),
        (
            lambda server: server.set('{progress}:due', 'mine'),
            lambda server: server.delete('{progress}:due'),
            'WRONGTYPE|wrong kind',
        ),
    ],
    ids=['full', 'replica', 'wrong type'],
)
def test_a_refusal_of_the_server_is_a_storage_error(private_redis, spoil, repair, message):
    storage = open_storage(private_redis.url)
    storage.start('job', RECORD, 60)
    with redis.Redis.from_url(private_redis.url) as server:
        spoil(server)
        for _again in range(2):
            with pytest.raises(StorageError, match=rf'127\.0\.0\.1:\d+ failed: .*({message})') as caught:
                storage.start('job', RECORD, 60)
            assert isinstance(caught.value.__cause__, redis.ResponseError)
        repair(server)
    storage.start('job', RECORD, 60)
    assert storage.running_ids() == {'job'}
    storage.close()


class Load:
    """Threads that each change a task of their own and read it again, and note what happens."""

    def __init__(self, storage, count=4):
        self.done = self.failed = 0
        self.longest = 0.0
        self.wrong = []
        self._storage = storage
        self._over = Event()
        self._threads = [Thread(target=self._run, args=(f'load {number}',)) for number in range(count)]

    def _run(self, progress_id):
        number = 0
        while not self._over.is_set():
            number += 1
            began = time.monotonic()
            try:
                self._storage.update(progress_id, {'status': '"running"', 'current': str(number)}, 60)
                record = self._storage.get_many([progress_id])
                if record and record[progress_id]['current'] != str(number):
                    self.wrong.append(record)
                self.done += 1
            except StorageError:
                self.failed += 1
                time.sleep(0.01)
            except BaseException as error:  # noqa: BLE001  (the test shows it)
                self.wrong.append(error)
            self.longest = max(self.longest, time.monotonic() - began)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()


def test_a_restarted_server_is_used_again(private_redis, wait_until):
    storage = open_storage(private_redis.url, timeout=1.0)
    with Load(storage) as load:
        for _again in range(2):
            done, failed = load.done, load.failed
            wait_until(lambda done=done: load.done > done + 50, 10, 'no call succeeds')
            private_redis.stop()
            wait_until(lambda failed=failed: load.failed > failed + 20, 10, 'no call fails')
            done = load.done
            private_redis.start()
            wait_until(lambda done=done: load.done > done + 50, 10, 'calls still fail')
    assert load.wrong == []
    assert load.longest < 2
    storage.close()


def test_a_connection_that_was_closed_is_replaced_and_noted(private_redis):
    """What the server took before may be lost."""
    storage = open_storage(private_redis.url)
    storage.start('job', RECORD, 60)
    storage.running_ids()
    assert storage.broke_at == -math.inf
    with redis.Redis.from_url(private_redis.url) as server:
        server.client_kill_filter(_type='normal', skipme=True)
    killed = time.monotonic()
    assert storage.running_ids() == {'job'}
    assert storage.broke_at > killed
    storage.close()


def test_what_a_restarted_server_lost_is_written_again(private_redis, wait_until):
    """Running tasks, and ends of the last seconds."""
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'ext:redis', 'url': private_redis.url}
    storage = configure({'progress.timeout': '1'}).store().storage
    with Traffic(4) as traffic:
        private_redis.stop()
        stopped = time.monotonic()
        private_redis.start()
        wait_until(traffic.are_running, 6, 'not all tasks are back')
        wait_until(lambda: not traffic.lost_ends(0, stopped), 6, 'ends are lost')
    storage.close()
    assert traffic.errors == []
    assert traffic.longest_poll < 2


def test_a_released_task_is_not_written_again(private_redis, wait_until):
    """Its record is another process's."""
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'ext:redis', 'url': private_redis.url}
    storage = configure({'progress.timeout': '1'}).store().storage
    TaskRun(progress_id='released', label='Import').start().release()
    with start_task('Import', progress_id='ended'):
        pass
    private_redis.stop()
    private_redis.start()
    wait_until(lambda: storage.get_many(['ended']), 6, 'the end is lost')
    assert storage.get_many(['released']) == {}
    storage.close()


def timed(function, *arguments):
    """Return what a call returns, or the class of its error, and how many seconds it took."""
    began = time.monotonic()
    try:
        result = function(*arguments)
    except StorageError as error:
        result = type(error)
    return result, time.monotonic() - began


def test_a_server_that_hangs_is_an_error_within_twice_the_timeout(private_redis):
    """In more threads than there are connections; and later no thread reads another's answer."""
    storage = open_storage(private_redis.url, timeout=0.6)
    ids = [f'job {number}' for number in range(MAX_CONNECTIONS + 8)]
    for progress_id in ids:
        storage.start(progress_id, RECORD | {'label': f'"{progress_id}"'}, 60)
    all_connect = Barrier(len(ids))

    def read(progress_id):
        all_connect.wait()
        return timed(lambda: storage.get_many([progress_id])[progress_id]['label'])

    with ThreadPoolExecutor(len(ids)) as pool:
        assert [label for label, _ in pool.map(read, ids)] == [f'"{progress_id}"' for progress_id in ids]
        private_redis.pause()
        try:
            results = list(pool.map(read, ids))
        finally:
            private_redis.resume()
        assert {error for error, _ in results} == {StorageError}
        assert max(seconds for _, seconds in results) < 1.2
        assert [label for label, _ in pool.map(read, ids)] == [f'"{progress_id}"' for progress_id in ids]
    storage.close()


@pytest.mark.parametrize('operation', ['running_ids', 'now', 'update'])
def test_one_thread_waits_one_timeout_for_a_server_that_hangs(private_redis, operation):
    storage = open_storage(f'{private_redis.url}?retry_on_timeout=yes&socket_timeout=9', timeout=0.5)
    arguments = ('job', {'status': '"running"'}, 60) if operation == 'update' else ()
    for _connected in range(2):
        private_redis.pause()
        try:
            error, seconds = timed(getattr(storage, operation), *arguments)
        finally:
            private_redis.resume()
        assert error is StorageError
        assert 0.45 < seconds < 0.8
        storage.running_ids()
    storage.close()


def test_a_connection_that_breaks_while_the_server_hangs_is_an_error_within_twice_the_timeout(proxy, private_redis):
    storage = open_storage(proxy.url, timeout=0.5)
    storage.running_ids()
    proxy.server = address(private_redis.url)
    private_redis.pause()
    try:
        proxy.drop()
        error, seconds = timed(storage.running_ids)
    finally:
        private_redis.resume()
    assert error is StorageError
    assert seconds < 1.0
    storage.close()


@contextmanager
def loading_server():
    """Give the address of a server that answers as Redis does while it reads its data from the disk."""

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    while connection.recv(65536):
                        connection.sendall(b'-LOADING Redis is loading the dataset in memory\r\n')

    with socket.create_server(('127.0.0.1', 0)) as listener:
        Thread(target=serve, daemon=True).start()
        yield listener.getsockname()


@pytest.fixture(params=['READONLY', 'MASTERDOWN', 'LOADING'])
def not_the_primary(request, private_redis):
    """Return the address of a server that answers with this error."""
    if request.param == 'LOADING':
        with loading_server() as server:
            yield server
        return
    with redis.Redis.from_url(private_redis.url) as server:
        server.replicaof('127.0.0.1', 1)
        server.config_set('replica-serve-stale-data', 'no' if request.param == 'MASTERDOWN' else 'yes')
    yield address(private_redis.url)


def test_a_server_that_is_not_the_primary_leads_to_a_new_connection(proxy, not_the_primary, redis_url):
    """Behind the same address, a proxy or the DNS may have the new primary."""
    storage = open_storage(proxy.url, uuid.uuid4().hex)
    for _again in range(3):
        proxy.server = not_the_primary
        proxy.drop()
        with pytest.raises(StorageError):
            storage.update('job', {'status': '"running"'}, 60)
        proxy.server = address(redis_url)
        storage.update('job', {'status': '"running"'}, 60)
        assert storage.get_many(['job'])['job']['status'] == '"running"'
    storage.close()


def test_all_idle_connections_to_a_former_primary_are_dropped(proxy, private_redis, redis_url):
    """Each of them would fail, one call after the other."""
    proxy.server = address(private_redis.url)
    storage = open_storage(proxy.url, uuid.uuid4().hex)
    with Load(storage, 8) as load:
        while load.done < 100:
            time.sleep(0.01)
    with redis.Redis.from_url(private_redis.url) as server:
        server.replicaof('127.0.0.1', 1)
    proxy.server = address(redis_url)
    for _connection in range(8):
        storage.update('job', {'status': '"running"'}, 60)
    storage.close()


class Interrupted(BaseException):
    """What the signal handler raises."""


def test_an_interrupted_call_leaves_no_answer_for_the_next(private_redis):
    """A signal handler may raise while a call waits for its answer."""

    def interrupt(*_):
        raise Interrupted

    storage = open_storage(private_redis.url)
    storage.start('one', RECORD, 60)
    storage.start('two', FINISHED, 60)
    previous = signal.signal(signal.SIGALRM, interrupt)
    private_redis.pause()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupted):
            storage.get_many(['one'])
    finally:
        private_redis.resume()
        signal.signal(signal.SIGALRM, previous)
    assert storage.get_many(['two']) == {'two': FINISHED}
    storage.close()


# Values of others


FOREIGN = {
    'a hash': lambda server, key: server.hset(key, 'status', '"running"'),
    'a list': lambda server, key: server.lpush(key, '{"status":"running"\n}'),
    'a text': lambda server, key: server.set(key, 'mine'),
    'an empty text': lambda server, key: server.set(key, ''),
    'other JSON': lambda server, key: server.set(key, '{"status": "running"}'),
    'JSON without a status': lambda server, key: server.set(key, '{"current":5\n}'),
}
CHANGES = {'status': '"running"', 'current': '5'}


@pytest.fixture(params=list(FOREIGN))
def foreign(request, namespace):
    """Return a namespace in which the key of 'job' has a value that is not a record."""
    FOREIGN[request.param](namespace.server, namespace.key('job'))
    return namespace


@pytest.mark.parametrize(
    'operation',
    [
        lambda storage: storage.start('job', RECORD, 60),
        lambda storage: storage.update('job', CHANGES, 60),
        lambda storage: storage.update_active({'job': CHANGES}, 60),
        lambda storage: storage.acknowledge('job', 60),
        lambda storage: storage.delete('job'),
        lambda storage: storage.get_many(['job']),
        lambda storage: storage.start_part('job', 0, task_run='', part_run='', heartbeat='1', expire=60),
    ],
    ids=['start', 'update', 'update_active', 'acknowledge', 'delete', 'get_many', 'start_part'],
)
def test_a_foreign_value_is_a_storage_error_that_names_the_key(foreign, operation):
    before = foreign.server.dump(foreign.key('job'))
    with pytest.raises(StorageError, match=rf'key {re.escape(foreign.key("job"))} has a value that is not a record'):
        operation(foreign.storage)
    assert foreign.server.dump(foreign.key('job')) == before


def test_a_foreign_value_does_not_affect_the_other_ids_of_a_batch(foreign):
    foreign.storage.start('one', RECORD, 60)
    foreign.storage.start('two', FINISHED, 60)
    before = foreign.server.dump(foreign.key('job'))
    assert foreign.storage.get_many(['one', 'job', 'two', 'none']) == {'one': RECORD, 'two': FINISHED}
    activities = foreign.storage.update_active(dict.fromkeys(('one', 'job', 'two', 'none'), CHANGES), 60)
    assert activities == {'one': Activity(0), 'two': Activity.ENDED}
    assert foreign.storage.get_many(['one', 'two']) == {'one': RECORD | CHANGES, 'two': FINISHED}
    assert foreign.server.dump(foreign.key('job')) == before


def test_bytes_that_are_not_text_are_not_a_record(namespace):
    namespace.server.set(namespace.key('job'), b'{"status":"\xff"\n}')
    with pytest.raises(StorageError, match='not a record'):
        namespace.storage.get_many(['job'])
    assert namespace.storage.get_many(['job', 'none']) == {}


# Threads and processes


def test_connections_are_few_and_are_closed(private_redis, wait_until):
    storage = open_storage(private_redis.url)
    with redis.Redis.from_url(private_redis.url) as server:
        with Load(storage, MAX_CONNECTIONS + 8) as load:
            wait_until(lambda: load.done > 200, 20, 'no call succeeds')
            assert 1 < len(server.client_list()) <= MAX_CONNECTIONS + 1
        assert load.wrong == []
        storage.close()
        wait_until(lambda: len(server.client_list()) == 1, 5, 'connections stay open')


def test_the_url_may_allow_fewer_connections(private_redis):
    storage = open_storage(f'{private_redis.url}?max_connections=2')
    with redis.Redis.from_url(private_redis.url) as server:
        with Load(storage, 8) as load:
            while load.done < 100:
                assert len(server.client_list()) <= 3
        assert load.wrong == []
        assert load.failed == 0
    storage.close()


@pytest.mark.slow  # its bound is a time, and other tests load the machine
def test_many_threads_are_served_fairly(redis_url):
    """More threads than connections: each call takes less than the timeout, and none fails."""
    storage = open_storage(redis_url, uuid.uuid4().hex, timeout=1.0)
    with Load(storage, 128) as load:
        time.sleep(3)
    assert load.wrong == []
    assert load.failed == 0
    assert load.done > 128
    assert load.longest < 1.0
    storage.close()


def test_threads_are_admitted_in_the_order_in_which_they_came(wait_until):
    semaphore, admitted = FairSemaphore(1), []
    assert semaphore.acquire(0)

    def wait(number):
        assert semaphore.acquire(10)
        admitted.append(number)
        semaphore.release()

    threads = [Thread(target=wait, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    semaphore.release()
    # This thread comes last, although it runs while the others still wake up.
    assert semaphore.acquire(10)
    assert admitted == list(range(20))
    semaphore.release()
    for thread in threads:
        thread.join()


def test_a_thread_that_gives_up_passes_nothing_on():
    semaphore = FairSemaphore(1)
    assert semaphore.acquire(0)
    assert timed(semaphore.acquire, 0.1) == (False, pytest.approx(0.1, abs=0.09))
    semaphore.release()
    assert semaphore.acquire(0)
    assert not semaphore.acquire(0)


def test_one_thread_uses_one_connection(private_redis):
    storage = open_storage(private_redis.url)
    for _again in range(20):
        storage.running_ids()
    with redis.Redis.from_url(private_redis.url) as server:
        assert len(server.client_list()) == 2
    storage.close()


def test_closing_does_not_disturb_calls_in_progress(namespace, wait_until):
    with Load(namespace.storage) as load:
        for _again in range(20):
            done = load.done
            namespace.storage.close()
            wait_until(lambda done=done: load.done > done, 10, 'no call succeeds')
    assert load.wrong == []
    assert load.failed == 0


def connection_ids(server):
    return {client['id'] for client in server.client_list()}


def test_a_forked_child_makes_connections_of_its_own(private_redis, forked, wait_until):
    storage = open_storage(private_redis.url)
    storage.running_ids()
    with redis.Redis.from_url(private_redis.url) as server:
        before = connection_ids(server)

        def child():
            with redis.Redis.from_url(private_redis.url) as mine:
                known = connection_ids(mine)
                storage.running_ids()
                storage.running_ids()
                assert len(connection_ids(mine) - known) == 1
                storage.close()
                wait_until(lambda: connection_ids(mine) == known, 2)  # the server notes it a moment later

        for _again in range(2):
            with forked(child) as process:
                assert process.exit_status() == 0
            storage.running_ids()
            wait_until(lambda: connection_ids(server) == before, 2)
    storage.close()


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_a_process_forks_while_its_threads_call_the_server(namespace, forked, wait_until):
    def child():
        for number in range(20):
            namespace.storage.update('child', {'status': '"running"', 'current': str(number)}, 60)
            assert namespace.storage.get_many(['child'])['child']['current'] == str(number)

    with Load(namespace.storage) as load:
        for _again in range(3):
            done = load.done
            with forked(child) as process:
                assert process.exit_status() == 0
            wait_until(lambda done=done: load.done > done + 10, 10, 'no call succeeds')
    assert load.wrong == []
    assert load.failed == 0
