"""The driver of Redis: round trips, the script, and servers that break, hang or refuse."""

import json
import random
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
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyramid_progress.model import record as rules
from pyramid_progress.model.record import Activity, dump, load
from pyramid_progress.storage import StorageError
from pyramid_progress.storage.paired import PairedStorage
from pyramid_progress.storage.redis import RedisStorage, driver
from pyramid_progress.storage.redis.location import MAX_CONNECTIONS
from pyramid_progress.storage.redis.semaphore import FairSemaphore

RECORD = {
    'status': '"running"', 'owner': '"ann"', 'label': '"Import"', 'tags': '[]', 'length': '10', 'current': '0',
    'started': '"2026-01-01T00:00:00+00:00"',
}  # fmt: skip
FINISHED = RECORD | {'status': '"finished"'}
FIFTY = [f'job {number}' for number in range(50)]


def open_storage(url, namespace='progress', timeout=5.0):
    return RedisStorage({'type': 'ext:redis', 'url': url}, namespace, timeout)


class Namespace:
    """A namespace of its own in the shared server, as the driver and as other clients see it."""

    def __init__(self, url):
        self.name = uuid.uuid4().hex
        self.list = f'{{{self.name}}}:tasks'
        self.storage = open_storage(url, self.name)
        self.server = redis.Redis.from_url(url)

    def key(self, progress_id):
        return f'{self.list}:{progress_id}'


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
        lambda storage: storage.now(),
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
        'now',
    ],
)
def test_an_operation_is_one_round_trip(storage, proxy, operation):
    before = proxy.round_trips
    operation(storage)
    assert proxy.round_trips == before + 1


def test_a_start_is_two_round_trips_if_the_list_is_on_another_server(redis_url):
    random.seed(1)  # One of many starts sweeps the list; not this one.
    proxies = [Proxy(redis_url) for _each in range(2)]
    storage = PairedStorage(*(open_storage(proxy.url, uuid.uuid4().hex) for proxy in proxies))
    storage.start('job 1', RECORD, 60)
    before = [proxy.round_trips for proxy in proxies]
    storage.start('job 2', RECORD, 60)
    assert [proxy.round_trips for proxy in proxies] == [count + 1 for count in before]
    storage.close()
    for proxy in proxies:
        proxy.close()


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
    monkeypatch.setattr(driver, 'monotonic', lambda: time.monotonic() + 61)
    storage.now()
    assert proxy.round_trips == before + 1


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


# The rules of records, in the script


NAMES = [
    'status',
    'owner',
    'started',
    'message',
    'length',
    rules.ACKNOWLEDGED,
    rules.CANCEL,
    rules.MESSAGE_CODE,
    '_heartbeat',
    's',
    'stat',
    'stat.s',
    '_',
    'A',
]
TEXTS = [
    '"running"', '"finished"', '"failed"', '"cancelled"', '"finished "', '"ann"', '"bob"', 'null', 'true', '1.0', '[]',
    '9007199254740993', '0.30000000000000004', '"%1"', '"%"', '""', r'"\""', r'"a\",\n,\"status\":\"failed\"\n}"', '{}',
    '{"status":"failed"}', '{"started":{"_acknowledged":1}}', r'"\":"', '"é進"', '"' + 'x' * 3000 + '"',
]  # fmt: skip
STATUS_AND_OWNER = {'status': '"running"', 'owner': '"ann"'}

members = st.tuples(st.sampled_from(NAMES), st.sampled_from(TEXTS))
changes = st.lists(members, unique_by=lambda member: member[0], max_size=6).map(dict)
records = changes.map(lambda change: change | STATUS_AND_OWNER | change)


def act(storage, action, old, new):
    """Change the task 'job'; return what this returned, what it must return, and what it must leave."""
    if action == 'start':
        starts = rules.may_start(old, new)
        return storage.start('job', new, 60), starts, new if starts else old
    if action == 'update':
        return storage.update('job', new, 60), None, rules.updated(old, new) or old
    if action == 'update_active':
        left = rules.updated_active(old, new) or old
        expected = {'job': rules.activity(left)} if left else {}
        return storage.update_active({'job': new, 'none': new}, 60), expected, left
    if action == 'acknowledge':
        left = rules.acknowledged(old)
        return storage.acknowledge('job', 60), left is not None, left or old
    return storage.delete('job'), None, None


@pytest.fixture(scope='module')
def shared_namespace(redis_url):
    return Namespace(redis_url)


ACTIONS = ['start', 'update', 'update_active', 'acknowledge', 'delete']


@given(st.sampled_from(ACTIONS), st.none() | records, records, changes, st.booleans())
@example('update', STATUS_AND_OWNER | {rules.MESSAGE_CODE: '"x"'}, {}, {'length': '1'}, False)
@example('update_active', {'message': '{"started":{"_acknowledged":1}}'} | STATUS_AND_OWNER, {}, {'length': '1'}, False)
@settings(max_examples=200, deadline=None, database=None)
def test_the_script_follows_the_rules_of_records(shared_namespace, action, old, new, change, listed):
    """For all members, in any order, with values that resemble other members."""
    namespace = shared_namespace
    namespace.server.delete(namespace.list, namespace.key('job'))
    if old:
        namespace.server.set(namespace.key('job'), dump(old))
    if listed:
        namespace.server.zadd(namespace.list, {'job': 9e15})
    if action == 'start':
        change = new | {'started': '"now"'}
    elif action == 'update':
        change = {'status': '"running"'} | change
    returned, expected, left = act(namespace.storage, action, old, change)
    assert returned == expected
    text = (namespace.server.get(namespace.key('job')) or b'').decode()
    assert (load(text) if text else None) == left
    assert not text or dump(load(text)) == text
    if left != old:
        assert (namespace.server.zscore(namespace.list, 'job') is not None) == bool(left and rules.is_listed(left))


def test_a_record_is_json(namespace):
    namespace.storage.start('job', RECORD, 60)
    namespace.storage.update('job', {'status': '"running"', 'message': '"50 %1"', 'current': '0.30000000000000004'}, 60)
    text = namespace.server.get(namespace.key('job')).decode()
    assert load(text) == RECORD | {'message': '"50 %1"', 'current': '0.30000000000000004'}
    assert json.loads(text)['message'] == '50 %1'


def test_keys_begin_with_the_namespace_and_share_a_hash_tag(namespace):
    namespace.storage.start('job', RECORD, 60)
    namespace.storage.update('bare', {'status': '"running"'}, 60)
    assert {key.decode() for key in namespace.server.scan_iter(f'*{namespace.name}*')} == {
        namespace.list,
        f'{{{namespace.name}}}:tasks:job',
        f'{{{namespace.name}}}:tasks:bare',
    }


def test_a_server_that_lost_the_script_receives_it_again(namespace):
    namespace.storage.start('job', RECORD, 60)
    namespace.server.script_flush()
    namespace.storage.update('job', {'current': '5'}, 60)
    assert namespace.storage.get_many(['job'])['job']['current'] == '5'


# The running list, and expired records


def expiry(namespace, progress_id):
    """Return the time in ms at which a record expires."""
    (seconds, microseconds), left = namespace.server.pipeline().time().pttl(namespace.key(progress_id)).execute()
    assert left > 0
    return seconds * 1000 + microseconds / 1000 + left


@pytest.mark.parametrize(
    'change',
    [
        lambda storage: storage.start('job', RECORD, 50),
        lambda storage: storage.update('job', {'current': '5'}, 50),
        lambda storage: storage.update('job', {'current': '5'}, 5000),
        lambda storage: storage.update_active({'job': {'current': '5'}}, 50.0005),
        lambda storage: storage.update('job', {'status': '"finished"'}, 2e9),
    ],
)
def test_an_entry_of_the_list_expires_with_its_record(namespace, change):
    namespace.storage.start('job', RECORD, 500)
    change(namespace.storage)
    assert -1.5 <= namespace.server.zscore(namespace.list, 'job') - expiry(namespace, 'job') < 1000


def test_a_lost_record_leaves_the_list(namespace):
    """Also if a status of its id is set again."""
    for progress_id in ('here', 'deleted', 'set again', 'emptied'):
        namespace.storage.start(progress_id, RECORD, 60)
    namespace.server.delete(*map(namespace.key, ('deleted', 'set again', 'emptied')))
    namespace.storage.update('set again', {'status': '"running"'}, 60)
    assert namespace.storage.running_ids() == {'here'}
    assert namespace.server.zrange(namespace.list, 0, -1) == [b'here']


def test_the_next_start_removes_expired_records_from_the_list(namespace, wait_until):
    namespace.storage.start('here', RECORD, 60)
    for number in range(20):
        namespace.storage.start(f'short {number}', RECORD, 0.05)
    namespace.storage.start('changed', RECORD, 0.05)
    namespace.storage.update('changed', {'current': '5'}, 60)
    wait_until(lambda: not namespace.server.exists(namespace.key('short 19')), 5, 'the record does not expire')
    namespace.storage.start('new', RECORD, 60)
    assert set(namespace.server.zrange(namespace.list, 0, -1)) == {b'here', b'changed', b'new'}
    assert namespace.storage.running_ids() == {'here', 'changed', 'new'}


@pytest.mark.parametrize(('linger', 'left'), [(60, [RECORD, 60000]), (0.5, [RECORD, 500]), (0, None)])
def test_an_acknowledged_record_lingers(namespace, linger, left):
    namespace.storage.start('job', FINISHED, 600)
    assert namespace.storage.acknowledge('job', linger)
    assert namespace.server.zcard(namespace.list) == 0
    if left:
        assert 0 < namespace.server.pttl(namespace.key('job')) <= linger * 1000
    else:
        assert not namespace.server.exists(namespace.key('job'))


# The location of the server


@pytest.mark.parametrize(
    'query', ['', '?protocol=3', '?decode_responses=True', '?retry_on_timeout=yes&encoding=latin-1']
)
def test_options_of_the_url_do_not_change_results(redis_url, query):
    storage = open_storage(redis_url + query, uuid.uuid4().hex)
    assert storage.start('jöb', RECORD | {'label': '"é進"'}, 60)
    assert storage.update_active({'jöb': {'current': '5'}}, 60) == {'jöb': Activity.ACTIVE}
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


def test_redis_cluster_is_refused():
    with pytest.raises(ValueError, match='Redis Cluster'):
        RedisStorage({'type': 'ext:rediscluster', 'urls': 'redis://localhost:7001'}, 'progress', 1.0)


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
            lambda server: server.set('{progress}:tasks', 'mine'),
            lambda server: server.delete('{progress}:tasks'),
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
                storage.update('job', {'status': '"running"'}, 60)
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
    ],
    ids=['start', 'update', 'update_active', 'acknowledge', 'delete', 'get_many'],
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
    assert activities == {'one': Activity.ACTIVE, 'two': Activity.ENDED}
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


def test_a_forked_child_makes_connections_of_its_own(private_redis, forked):
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
                assert connection_ids(mine) == known

        for _again in range(2):
            with forked(child) as process:
                assert process.exit_status() == 0
            storage.running_ids()
            assert connection_ids(server) == before
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
