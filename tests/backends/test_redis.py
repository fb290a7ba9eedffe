"""What is special to Redis: one round trip, the script, a server that breaks, hangs or refuses."""

import json
import random
import re
import select
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from threading import Event, Thread, Timer
from urllib.parse import urlsplit

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyramid_progress.storage import StorageError
from pyramid_progress.storage import record as rules
from pyramid_progress.storage import redis as driver
from pyramid_progress.storage.paired import PairedStorage
from pyramid_progress.storage.record import dump, load
from pyramid_progress.storage.redis import CONNECTIONS, RedisStorage

RECORD = {
    'status': '"running"', 'owner': '"ann"', 'label': '"Import"', 'tags': '[]', 'length': '10', 'current': '0',
    'started': '"2026-01-01T00:00:00+00:00"',
}  # fmt: skip
FINISHED = RECORD | {'status': '"finished"'}
FIFTY = [f'job {number}' for number in range(50)]


def open_storage(url, namespace='progress', timeout=5.0):
    return RedisStorage({'type': 'ext:redis', 'url': url}, namespace, timeout)


class Place:
    """A namespace of its own in the shared server, as the driver and as others see it."""

    def __init__(self, url):
        self.namespace = uuid.uuid4().hex
        self.list = f'{{{self.namespace}}}:tasks'
        self.storage = open_storage(url, self.namespace)
        self.server = redis.Redis.from_url(url)

    def key(self, progress_id):
        return f'{self.list}:{progress_id}'


@pytest.fixture
def place(redis_url):
    place = Place(redis_url)
    yield place
    place.storage.close()
    place.server.close()


# Round trips


class Proxy:
    """Passes on what a client and a server say, and counts how often it is the client's turn."""

    def __init__(self, url):
        self._server = urlsplit(url).hostname, urlsplit(url).port
        self._listener = socket.create_server(('127.0.0.1', 0))
        self._pairs = []
        self.url = f'redis://127.0.0.1:{self._listener.getsockname()[1]}/0'
        self.turns = 0
        Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._pairs.append((client, server))
                Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client, server):
        speaker = server
        with client, server, suppress(OSError):
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    if one is client and speaker is server:
                        self.turns += 1
                    speaker = one
                    (server if one is client else client).sendall(data)

    def drop(self):
        """Break the connections there are."""
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
    """Return a storage behind the proxy, that is connected, and has fifty tasks."""
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
        lambda storage: storage.amend({progress_id: {'current': '1'} for progress_id in FIFTY}, 60),
        lambda storage: storage.read(['job 1']),
        lambda storage: storage.read(FIFTY),
        lambda storage: storage.take('job 1', 60),
        lambda storage: storage.discard('job 1'),
        lambda storage: storage.tasks(),
        lambda storage: storage.now(),
    ],
    ids=['start', 'update', 'bare', 'amend', 'read', 'read50', 'take', 'discard', 'tasks', 'now'],
)
def test_one_round_trip(storage, proxy, operation):
    before = proxy.turns
    operation(storage)
    assert proxy.turns == before + 1


def test_two_round_trips_to_start_where_the_list_is_on_another_server(redis_url):
    random.seed(1)  # Now and then a start sweeps the list; not this one.
    proxies = [Proxy(redis_url) for _each in range(2)]
    storage = PairedStorage(*(open_storage(proxy.url, uuid.uuid4().hex) for proxy in proxies))
    storage.start('job 1', RECORD, 60)
    before = [proxy.turns for proxy in proxies]
    storage.start('job 2', RECORD, 60)
    assert [proxy.turns for proxy in proxies] == [turns + 1 for turns in before]
    storage.close()
    for proxy in proxies:
        proxy.close()


def test_nothing_is_said_of_no_ids(storage, proxy):
    before = proxy.turns
    assert storage.read([]) == {}
    assert proxy.turns == before


def test_the_time_is_asked_for_once_a_minute(storage, proxy, monkeypatch):
    assert abs(storage.now() - time.time()) < 1
    before = proxy.turns
    times = [storage.now() for _each in range(10)]
    assert times == sorted(times)
    assert proxy.turns == before
    monkeypatch.setattr(driver, 'monotonic', lambda: time.monotonic() + 61)
    storage.now()
    assert proxy.turns == before + 1


def test_a_long_list_comes_in_parts(storage, proxy):
    more = {f'more {number}' for number in range(1200)}
    for progress_id in more:
        storage.start(progress_id, RECORD, 60)
    before = proxy.turns
    assert storage.tasks() == more | set(FIFTY)
    assert 2 <= proxy.turns - before <= 5


def test_a_connection_that_broke_is_made_anew(storage, proxy):
    for _again in range(3):
        proxy.drop()
        storage.update('job 1', {'current': '5'}, 60)
        proxy.drop()
        assert storage.read(['job 1'])['job 1']['current'] == '5'
        proxy.drop()
        assert storage.tasks() == set(FIFTY)


# What the script makes of records


NAMES = ['status', 'owner', 'started', 'message', 'length', rules.TAKEN, '_beat', 's', 'stat', 'stat.s', '_', 'A']
TEXTS = [
    '"running"', '"finished"', '"failed"', '"cancelled"', '"finished "', '"ann"', '"bob"', 'null', 'true', '1.0', '[]',
    '9007199254740993', '0.30000000000000004', '"%1"', '"%"', '""', r'"\""', r'"a\",\n,\"status\":\"failed\"\n}"', '{}',
    '{"status":"failed"}', '{"started":{"_taken":1}}', r'"\":"', '"é進"', '"' + 'x' * 3000 + '"',
]  # fmt: skip
STATUS_AND_OWNER = {'status': '"running"', 'owner': '"ann"'}

members = st.tuples(st.sampled_from(NAMES), st.sampled_from(TEXTS))
changes = st.lists(members, unique_by=lambda member: member[0], max_size=6).map(dict)
records = changes.map(lambda change: change | STATUS_AND_OWNER | change)


def act(storage, action, old, new):
    """Do something to the task 'job'; return what this returned, what it should have, and what it should leave."""
    if action == 'start':
        starts = rules.may_start(old, new)
        return storage.start('job', new, 60), starts, new if starts else old
    if action == 'update':
        return storage.update('job', new, 60), None, rules.updated(old, new) or old
    if action == 'amend':
        left = rules.amended(old, new) or old
        return storage.amend({'job': new, 'none': new}, 60), {'job': left} if left else {}, left
    if action == 'take':
        takes = rules.can_take(old)
        return storage.take('job', 60), takes, rules.taken(old) if takes else old
    return storage.discard('job'), None, None


@pytest.fixture(scope='module')
def place_for_all(redis_url):
    return Place(redis_url)


ACTIONS = ['start', 'update', 'amend', 'take', 'discard']


@given(st.sampled_from(ACTIONS), st.none() | records, records, changes, st.booleans())
@example('amend', {'message': '{"started":{"_taken":1}}'} | STATUS_AND_OWNER, {}, {'length': '1'}, False)
@settings(max_examples=120, deadline=None, database=None)
def test_the_script_has_the_rules_of_records(place_for_all, action, old, new, change, listed):
    """Whatever the members are, in whatever order, and whatever their values look like."""
    place = place_for_all
    place.server.delete(place.list, place.key('job'))
    if old:
        place.server.set(place.key('job'), dump(old))
    if listed:
        place.server.zadd(place.list, {'job': 9e15})
    if action == 'start':
        change = new | {'started': '"now"'}
    elif action == 'update':
        change = {'status': '"running"'} | change
    returned, expected, left = act(place.storage, action, old, change)
    assert returned == expected
    text = (place.server.get(place.key('job')) or b'').decode()
    assert (load(text) if text else None) == left
    assert not text or dump(load(text)) == text
    if left != old:
        assert (place.server.zscore(place.list, 'job') is not None) == bool(left and rules.is_listed(left))


def test_a_record_is_json_that_others_can_read(place):
    place.storage.start('job', RECORD, 60)
    place.storage.update('job', {'status': '"running"', 'message': '"50 %1"', 'current': '0.30000000000000004'}, 60)
    text = place.server.get(place.key('job')).decode()
    assert load(text) == RECORD | {'message': '"50 %1"', 'current': '0.30000000000000004'}
    assert json.loads(text)['message'] == '50 %1'


def test_keys_begin_with_the_namespace_and_share_a_hash_tag(place):
    place.storage.start('job', RECORD, 60)
    place.storage.update('bare', {'status': '"running"'}, 60)
    assert {key.decode() for key in place.server.scan_iter(f'*{place.namespace}*')} == {
        place.list,
        f'{{{place.namespace}}}:tasks:job',
        f'{{{place.namespace}}}:tasks:bare',
    }


def test_a_server_that_lost_the_script_gets_it_again(place):
    place.storage.start('job', RECORD, 60)
    place.server.script_flush()
    place.storage.update('job', {'current': '5'}, 60)
    assert place.storage.read(['job'])['job']['current'] == '5'


# The list, and what has expired


def expiry(place, progress_id):
    """Return the time in ms at which a record expires."""
    (seconds, microseconds), left = place.server.pipeline().time().pttl(place.key(progress_id)).execute()
    assert left > 0
    return seconds * 1000 + microseconds / 1000 + left


@pytest.mark.parametrize(
    'change',
    [
        lambda storage: storage.start('job', RECORD, 50),
        lambda storage: storage.update('job', {'current': '5'}, 50),
        lambda storage: storage.update('job', {'current': '5'}, 5000),
        lambda storage: storage.amend({'job': {'current': '5'}}, 50.0005),
        lambda storage: storage.update('job', {'status': '"finished"'}, 2e9),
    ],
)
def test_an_entry_of_the_list_lives_as_long_as_its_record(place, change):
    place.storage.start('job', RECORD, 500)
    change(place.storage)
    assert -1.5 <= place.server.zscore(place.list, 'job') - expiry(place, 'job') < 1000


def test_what_is_gone_is_off_the_list(place):
    """Whether it was deleted by hand or evicted, and whether or not somebody sets a status of that id again."""
    for progress_id in ('here', 'deleted', 'set again', 'emptied'):
        place.storage.start(progress_id, RECORD, 60)
    place.server.delete(*map(place.key, ('deleted', 'set again', 'emptied')))
    place.storage.update('set again', {'status': '"running"'}, 60)
    assert place.storage.tasks() == {'here'}
    assert place.server.zrange(place.list, 0, -1) == [b'here']


def test_what_has_expired_is_swept_from_the_list_at_the_next_start(place, wait_until):
    place.storage.start('here', RECORD, 60)
    for number in range(20):
        place.storage.start(f'short {number}', RECORD, 0.05)
    place.storage.start('changed', RECORD, 0.05)
    place.storage.update('changed', {'current': '5'}, 60)
    wait_until(lambda: not place.server.exists(place.key('short 19')), 5, 'it does not expire')
    place.storage.start('new', RECORD, 60)
    assert set(place.server.zrange(place.list, 0, -1)) == {b'here', b'changed', b'new'}
    assert place.storage.tasks() == {'here', 'changed', 'new'}


@pytest.mark.parametrize(('linger', 'left'), [(60, [RECORD, 60000]), (0.5, [RECORD, 500]), (0, None)])
def test_what_was_taken_lingers(place, linger, left):
    place.storage.start('job', FINISHED, 600)
    assert place.storage.take('job', linger)
    assert place.server.zcard(place.list) == 0
    if left:
        assert 0 < place.server.pttl(place.key('job')) <= linger * 1000
    else:
        assert not place.server.exists(place.key('job'))


# Where the server is


@pytest.mark.parametrize(
    'query', ['', '?protocol=3', '?decode_responses=True', '?retry_on_timeout=yes&encoding=latin-1']
)
def test_what_the_url_asks_for_does_not_change_what_comes_back(redis_url, query):
    storage = open_storage(redis_url + query, uuid.uuid4().hex)
    assert storage.start('jöb', RECORD | {'label': '"é進"'}, 60)
    assert storage.amend({'jöb': {'current': '5'}}, 60) == storage.read(['jöb']) != {}
    assert storage.read(['jöb', 'none']) == {'jöb': RECORD | {'label': '"é進"', 'current': '5'}}
    assert storage.tasks() == {'jöb'}
    assert abs(storage.now() - time.time()) < 1
    storage.close()


@pytest.fixture
def listening(program, tmp_path, wait_until):
    """Return a context manager for a server that listens as its options say, and on a Unix socket too."""

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
    """Return the address of a server that speaks TLS, with the certificate by which to know it."""
    port, certificate, key = free_port(), tmp_path / 'certificate', tmp_path / 'key'
    name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
    request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', *name, '-keyout', key, '-out', certificate]
    subprocess.run([program('openssl'), *request], check=True, capture_output=True)
    files = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate]
    with listening('--tls-port', str(port), '--tls-auth-clients', 'no', *files):
        yield f'rediss://127.0.0.1:{port}/1?ssl_ca_certs={certificate}'


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # redis-py 5.0 forgets to close it
def test_a_unix_socket(listening):
    with listening() as path:
        storage = open_storage(f'unix://{path}?db=1')
        assert storage.start('job', RECORD, 60)
        assert storage.read(['job']) == {'job': RECORD}
        storage.close()
    with pytest.raises(StorageError, match=f'Redis at {re.escape(str(path))} failed'):
        storage.read(['job'])


def test_tls(tls_url):
    storage = open_storage(tls_url)
    assert storage.start('job', RECORD, 60)
    assert storage.read(['job']) == {'job': RECORD}
    storage.close()


def test_a_server_that_cannot_prove_who_it_is(tls_url):
    storage = open_storage(tls_url.partition('?')[0])
    with pytest.raises(StorageError, match=r'127\.0\.0\.1:\d+.*certificate'):
        storage.read(['job'])


@pytest.mark.parametrize(
    'url',
    [
        None, '', 'localhost:6379', 'http://localhost', 'redis:/localhost', 'redis://localhost:port/0', 'redis://[::1',
        'redis://localhost/0?nonsense=1', 'redis://localhost/0?protocol=9', 'redis://localhost/0?socket_timeout=x',
        'rediss://localhost/0?ssl_cert_reqs=perhaps',
    ],
)  # fmt: skip
def test_a_url_that_will_not_do(url):
    with pytest.raises(ValueError, match='url'):
        open_storage(url)


def test_redis_cluster_is_refused():
    with pytest.raises(ValueError, match='Redis Cluster'):
        RedisStorage({'type': 'ext:rediscluster', 'urls': 'redis://localhost:7001'}, 'progress', 1.0)


def test_without_the_library():
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


def test_a_password_is_used_and_never_told(private_redis):
    password, wrong = 'gehe1m', 'fa1sch'
    with redis.Redis.from_url(private_redis.url) as server:
        server.config_set('requirepass', password)
    storage = open_storage(private_redis.url.replace('//', f'//:{password}@'))
    assert storage.start('job', RECORD, 60)
    storage.close()
    for url in (private_redis.url, private_redis.url.replace('//', f'//user:{wrong}@')):
        with pytest.raises(StorageError, match=r'127\.0\.0\.1:\d+') as caught:
            open_storage(url).read(['job'])
        assert isinstance(caught.value.__cause__, redis.RedisError)
        assert not any(wrong in message for message in messages(caught.value))
    private_redis.stop()
    with pytest.raises(StorageError, match='refused') as caught:
        open_storage(private_redis.url.replace('//', f'//:{wrong}@')).read(['job'])
    assert not any(wrong in message for message in messages(caught.value))


@pytest.mark.parametrize('rest', ['/x@localhost:6379/0', '@localhost:port/0', '@localhost/0?nonsense=1'])
def test_a_password_in_a_url_that_will_not_do_is_not_told(rest):
    with pytest.raises(ValueError, match='url') as caught:
        open_storage('redis://user:gehe1m' + rest)
    assert not any('gehe1m' in message for message in messages(caught.value))


@pytest.mark.parametrize(
    ('spoil', 'mend', 'message'),
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
def test_what_the_server_refuses(private_redis, spoil, mend, message):
    storage = open_storage(private_redis.url)
    storage.start('job', RECORD, 60)
    with redis.Redis.from_url(private_redis.url) as server:
        spoil(server)
        for _again in range(2):
            with pytest.raises(StorageError, match=rf'127\.0\.0\.1:\d+ failed: .*({message})') as caught:
                storage.update('job', {'status': '"running"'}, 60)
            assert isinstance(caught.value.__cause__, redis.ResponseError)
        mend(server)
    storage.start('job', RECORD, 60)
    assert storage.tasks() == {'job'}
    storage.close()


class Load:
    """Threads that change tasks and read them again, each its own, and keep what happens."""

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
                record = self._storage.read([progress_id])
                if record and record[progress_id]['current'] != str(number):
                    self.wrong.append(record)
                self.done += 1
            except StorageError:
                self.failed += 1
                time.sleep(0.01)
            except BaseException as error:  # noqa: BLE001  (whatever it is, the test shows it)
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


def test_a_server_that_is_stopped_and_started_under_load(private_redis, wait_until):
    storage = open_storage(private_redis.url, timeout=1.0)
    with Load(storage) as load:
        for _again in range(2):
            done, failed = load.done, load.failed
            wait_until(lambda done=done: load.done > done + 50, 10, 'nothing gets done')
            private_redis.stop()
            wait_until(lambda failed=failed: load.failed > failed + 20, 10, 'nothing fails')
            done = load.done
            private_redis.start()
            wait_until(lambda done=done: load.done > done + 50, 10, 'it does not work again')
    assert load.wrong == []
    assert load.longest < 2
    storage.close()


def test_a_server_that_hangs(private_redis, wait_until):
    """More threads than connections wait no longer than one does, and nobody gets another's answer afterwards."""
    storage = open_storage(private_redis.url, timeout=0.6)
    ids = [f'job {number}' for number in range(CONNECTIONS + 8)]
    for progress_id in ids:
        storage.start(progress_id, RECORD | {'label': f'"{progress_id}"'}, 60)

    def read(progress_id):
        began = time.monotonic()
        try:
            return storage.read([progress_id])[progress_id]['label'], time.monotonic() - began
        except StorageError as error:
            return type(error), time.monotonic() - began

    with ThreadPoolExecutor(len(ids)) as pool:
        assert [label for label, _ in pool.map(read, ids)] == [f'"{progress_id}"' for progress_id in ids]
        private_redis.pause()
        try:
            first = [pool.submit(read, progress_id) for progress_id in ids[:CONNECTIONS]]
            wait_until(lambda: not storage._server._free, 5, 'there are connections to spare')
            results = [*pool.map(read, ids[CONNECTIONS:]), *(future.result() for future in first)]
        finally:
            private_redis.resume()
        assert {error for error, _ in results} == {StorageError}
        assert max(seconds for _, seconds in results) < 1.0
        assert [label for label, _ in pool.map(read, ids)] == [f'"{progress_id}"' for progress_id in ids]
    storage.close()


def test_a_server_that_hangs_while_a_connection_is_made(private_redis):
    private_redis.pause()
    try:
        began = time.monotonic()
        with pytest.raises(StorageError, match=r'127\.0\.0\.1:\d+ failed: Timeout'):
            open_storage(private_redis.url, timeout=0.3).tasks()
        assert 0.25 < time.monotonic() - began < 0.9
    finally:
        private_redis.resume()


def test_a_connection_made_in_the_last_moment_is_as_good_as_any(private_redis):
    """The time that was left when it was made is not the time for each command from then on."""
    storage = open_storage(private_redis.url, timeout=1.5)
    in_use = storage._server._free[:]
    storage._server._free.clear()
    back = Timer(1.0, storage._server._free.extend, [in_use])
    back.start()
    assert storage.tasks() == set()
    private_redis.pause()
    again = Timer(0.8, private_redis.resume)
    again.start()
    assert storage.tasks() == set()
    storage.close()


def test_an_interrupted_wait_leaves_no_answer_for_the_next(place):
    """Whatever ends a wait, such as a signal handler that raises: the connection is not used again as it is."""
    place.storage.start('one', RECORD, 60)
    place.storage.start('two', FINISHED, 60)
    connection = place.storage._server._free[-1]
    read_response = connection.read_response

    def interrupted():
        del connection.read_response
        raise KeyboardInterrupt

    connection.read_response = interrupted
    with pytest.raises(KeyboardInterrupt):
        place.storage.read(['one'])
    assert connection.read_response == read_response
    assert place.storage.read(['two']) == {'two': FINISHED}


# Threads and processes


def test_connections_are_few_and_are_closed(private_redis, wait_until):
    storage = open_storage(private_redis.url)
    with redis.Redis.from_url(private_redis.url) as server:
        with Load(storage, CONNECTIONS + 8) as load:
            wait_until(lambda: load.done > 200, 20, 'nothing gets done')
            assert 1 < len(server.client_list()) <= CONNECTIONS + 1
        assert load.wrong == []
        storage.close()
        wait_until(lambda: len(server.client_list()) == 1, 5, 'connections stay open')


def test_one_thread_uses_one_connection(private_redis):
    storage = open_storage(private_redis.url)
    for _again in range(20):
        storage.tasks()
    with redis.Redis.from_url(private_redis.url) as server:
        assert len(server.client_list()) == 2
    storage.close()


def test_to_close_it_hurts_nobody_who_still_uses_it(place, wait_until):
    with Load(place.storage) as load:
        for _again in range(20):
            done = load.done
            place.storage.close()
            wait_until(lambda done=done: load.done > done, 10, 'nothing gets done')
    assert load.wrong == []
    assert load.failed == 0


def test_a_forked_child_makes_connections_of_its_own(place, forked):
    def connection():
        return place.storage._server.ask('CLIENT', 'ID')

    before = connection()

    def child():
        assert connection() == connection() != before
        place.storage.close()

    for _again in range(2):
        with forked(child) as process:
            assert process.exit_status() == 0
        assert connection() == before


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_a_process_that_forks_while_its_threads_talk(place, forked, wait_until):
    def child():
        for number in range(20):
            place.storage.update('child', {'status': '"running"', 'current': str(number)}, 60)
            assert place.storage.read(['child'])['child']['current'] == str(number)

    with Load(place.storage) as load:
        for _again in range(3):
            done = load.done
            with forked(child) as process:
                assert process.exit_status() == 0
            wait_until(lambda done=done: load.done > done + 10, 10, 'nothing gets done')
    assert load.wrong == []
    assert load.failed == 0
