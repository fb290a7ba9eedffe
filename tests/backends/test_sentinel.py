"""Redis Sentinel: a primary, a replica and three sentinels, which fail and hang."""

import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis
from beaker.cache import cache_regions
from support.failover import RECORD, Traffic, timed
from support.servers import RedisServer, Server, free_port
from support.waiting import wait_until

from pyramid_progress import configure
from pyramid_progress.runtime import Runtime
from pyramid_progress.storage import StorageError
from pyramid_progress.storage.redis import RedisStorage

SERVICE = 'progress-service'
PASSWORD = 'gehe1m'  # noqa: S105
DATABASE = 3


class Sentinel(Server):
    """A sentinel that watches a primary.

    :param path: the program redis-server
    :param directory: an empty directory
    :param primary: the server that is the primary at first
    """

    def __init__(self, path, directory, primary):
        port = free_port()
        file = directory / 'sentinel.conf'
        file.write_text(
            f'port {port}\nbind 127.0.0.1\ndir {directory}\n'
            f'sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2\n'
            f'sentinel auth-pass {SERVICE} {PASSWORD}\n'
            f'sentinel down-after-milliseconds {SERVICE} 500\n'
            f'sentinel failover-timeout {SERVICE} 2000\n'
        )
        super().__init__([path, file, '--sentinel'], port)


class Service:
    """A primary, its replica, and three sentinels that agree."""

    def __init__(self, path, directory, stack):
        self._stack = stack
        password = ['--requirepass', PASSWORD, '--masterauth', PASSWORD, '--repl-diskless-sync-delay', '0']
        self.servers = []
        for name in ('first', 'second'):
            replicates = ['--replicaof', '127.0.0.1', str(self.servers[0].port)] if self.servers else []
            self.servers.append(self._run(RedisServer, path, self._make(directory, name), *password, *replicates))
        self.sentinels = [
            self._run(Sentinel, path, self._make(directory, f'sentinel{number}'), self.servers[0])
            for number in range(3)
        ]
        self.options = {
            'type': 'ext:redis',
            'url': f'redis://:{PASSWORD}@/{DATABASE}',
            'sentinels': ', '.join(f'127.0.0.1:{sentinel.port}' for sentinel in self.sentinels),
            'service': SERVICE,
        }
        wait_until(self._is_complete, 20, 'the sentinels do not find each other and the replica')

    def open(self, timeout=1.0, **options):
        storage = RedisStorage(self.options | options, uuid.uuid4().hex, timeout)
        self._stack.callback(storage.close)
        return storage

    def client(self, server, **options):
        return redis.Redis(port=server.port, socket_timeout=2, **options)

    def _run(self, kind, *arguments):
        server = kind(*arguments)
        self._stack.callback(server.stop)
        return server

    @staticmethod
    def _make(directory, name):
        (directory / name).mkdir()
        return directory / name

    def _is_complete(self):
        for sentinel in self.sentinels:
            with self.client(sentinel) as client:
                state = client.sentinel_masters()[SERVICE]
                replicas = client.sentinel_slaves(SERVICE)
                if state['num-other-sentinels'] != 2 or len(replicas) != 1 or replicas[0]['master-link-status'] != 'ok':
                    return False
        return True


@pytest.fixture
def service(program, tmp_path):
    with ExitStack() as stack:
        yield Service(program('redis-server'), tmp_path, stack)


@pytest.fixture(scope='module')
def steady_service(program, tmp_path_factory):
    """Return a service that tests leave as it is."""
    with ExitStack() as stack:
        yield Service(program('redis-server'), tmp_path_factory.mktemp('sentinel'), stack)


def test_the_url_gives_database_and_credentials(steady_service):
    storage = steady_service.open(url=f'redis://:{PASSWORD}@ignored.invalid:1/{DATABASE}')
    assert storage.start('job', RECORD, 60)
    assert storage.get_many(['job']) == {'job': RECORD}
    primary = steady_service.servers[0]
    with steady_service.client(primary, password=PASSWORD, db=DATABASE) as client:
        assert [key for key in client.scan_iter() if key.endswith(b':job')]
    assert abs(storage.now() - time.time()) < 1


def test_a_wrong_password_is_a_storage_error_without_it(steady_service):
    storage = steady_service.open(url='redis://:fa1sch@/3')
    with pytest.raises(StorageError, match=rf'Redis at {SERVICE} \(sentinels 127\.0\.0\.1:\d+, .*password') as caught:
        storage.running_ids()
    assert 'fa1sch' not in str(caught.value)


def test_an_application_is_set_up_by_its_ini(steady_service):
    options = {f'cache.persistent.{name}': value for name, value in steady_service.options.items()}
    runtime = Runtime.from_settings({'cache.regions': 'persistent', 'progress.tasks_region': 'persistent', **options})
    storage = runtime.store().storage
    storage.update('ini', {'status': '"running"'}, 60)
    assert storage.get_many(['ini'])['ini']['status'] == '"running"'
    assert cache_regions['persistent']['service'] == SERVICE
    storage.close()


def test_an_unknown_service_is_a_storage_error(steady_service):
    error, seconds = timed(steady_service.open(service='other').running_ids)
    assert isinstance(error, StorageError)
    assert 'other (sentinels 127.0.0.1:' in str(error)
    assert isinstance(error.__cause__, redis.ConnectionError)
    assert seconds < 1


def test_a_forked_child_makes_connections_of_its_own(steady_service, forked):
    storage = steady_service.open()
    storage.start('job', RECORD, 60)

    def child():
        assert storage.get_many(['job']) == {'job': RECORD}

    with forked(child) as process:
        assert process.exit_status() == 0
    assert storage.get_many(['job']) == {'job': RECORD}


@pytest.mark.parametrize('count', [1, 2])
def test_sentinels_that_hang_are_passed_over(steady_service, count):
    with ExitStack() as stack:
        for sentinel in steady_service.sentinels[:count]:
            stack.enter_context(sentinel.down())
        storage = steady_service.open(timeout=0.9)
        ids, seconds = timed(storage.running_ids)
        assert ids == set()
        assert seconds < 0.9
        # The next connection asks the sentinel that answered.
        storage.close()
        assert timed(storage.running_ids) == (set(), pytest.approx(0, abs=0.1))


def test_all_sentinels_hanging_is_an_error_within_the_timeout(steady_service):
    storage, connected = steady_service.open(), steady_service.open()
    connected.running_ids()
    with ExitStack() as stack:
        for sentinel in steady_service.sentinels:
            stack.enter_context(sentinel.down())
        error, seconds = timed(storage.running_ids)
        assert isinstance(error, StorageError)
        assert seconds < 1.0
        assert connected.running_ids() == set()  # needs no sentinel
    assert storage.running_ids() == set()


def test_sentinels_and_primary_hanging_is_an_error_within_twice_the_timeout(steady_service):
    storage = steady_service.open()
    with ExitStack() as stack:
        for server in (*steady_service.sentinels[:2], steady_service.servers[0]):
            stack.enter_context(server.down())
        # Before the sentinel notices that the primary hangs.
        error, seconds = timed(storage.running_ids)
        assert isinstance(error, StorageError)
        assert seconds < 2.0
    wait_until(lambda: timed(storage.running_ids)[0] == set(), 10, 'it does not work again')


def test_connecting_in_many_threads_forgets_no_sentinel(steady_service):
    """Sentinels that fail for a time are asked again later."""
    storage, interval = steady_service.open(), sys.getswitchinterval()

    def connect(_number):
        storage.running_ids()
        storage.close()

    with steady_service.sentinels[0].down(), ThreadPoolExecutor(16) as pool:
        sys.setswitchinterval(1e-6)
        try:
            list(pool.map(connect, range(200)))
        finally:
            sys.setswitchinterval(interval)
    for sentinel in steady_service.sentinels:
        with ExitStack() as stack:
            for other in set(steady_service.sentinels) - {sentinel}:
                stack.enter_context(other.down())
            storage.close()
            assert storage.running_ids() == set()


def change_until(storage, condition, seconds=15):
    """Change a task until a condition holds; return how long each call took and which failed."""
    calls = []

    def step():
        result, took = timed(storage.update, 'job', {'status': '"running"', 'current': str(len(calls))}, 60)
        calls.append((result, took))
        return condition(result)

    wait_until(step, seconds, 'the new primary does not serve')
    return calls


def is_primary(service, server):
    try:
        with service.client(server, password=PASSWORD) as client:
            return client.role()[0] == b'master'
    except redis.ConnectionError:  # a server that changes its role drops its connections
        return False


@pytest.mark.parametrize('failure', ['stop', 'pause'])
def test_the_new_primary_serves_after_the_old_one_failed(service, failure):
    """Without a restart, and with errors only within twice the timeout."""
    first, second = service.servers
    storage = service.open(timeout=0.5)
    for progress_id in ('job', 'other'):
        storage.start(progress_id, RECORD, 60)
    with ThreadPoolExecutor(8) as pool:  # more connections than one
        list(pool.map(lambda _: [storage.running_ids() for _ in range(20)], range(8)))
    with service.client(first, password=PASSWORD) as client:
        assert client.wait(1, 2000) == 1
    getattr(first, failure)()
    failed = change_until(storage, lambda result: isinstance(result, StorageError))
    calls = failed + change_until(storage, lambda result: result is None)
    assert max(took for _, took in calls) < 1.0
    assert is_primary(service, second)
    assert storage.running_ids() == {'job', 'other'}
    assert not [took for result, took in (timed(storage.running_ids) for _ in range(20)) if took > 0.2]
    if failure == 'pause':
        first.resume()


@pytest.mark.slow
@pytest.mark.parametrize('failure', ['stop', 'pause'])
def test_work_goes_on_while_the_primary_fails(service, failure):
    first, second = service.servers
    cache_regions['default'] = cache_regions['persistent'] = service.options | {'expire': 3600}
    storage = configure({'progress.timeout': '1'}).store().storage
    with Traffic() as traffic:
        time.sleep(2)
        failed = time.monotonic()
        getattr(first, failure)()
        wait_until(lambda: is_primary(service, second), 20, 'the replica does not become the primary')
        failover = time.monotonic()
        wait_until(lambda: traffic.answers_since(failover), 2, 'polls do not answer again')
        answered = time.monotonic()
        wait_until(traffic.are_running, failover + 6 - time.monotonic(), 'not all tasks are back')
        back = time.monotonic()
        print(f'failover {failover - failed:.1f} s, polls +{answered - failover:.1f} s, tasks +{back - failover:.1f} s')
        wait_until(lambda: not traffic.lost_ends(failed - 10, failed), 6, 'ends are lost')
        if failure == 'pause':
            first.resume()
    storage.close()
    assert traffic.errors == []
    assert traffic.longest_poll < 2.0
    assert traffic.longest_step < 0.05


@pytest.mark.slow
def test_work_goes_on_while_all_sentinels_hang(service):
    cache_regions['default'] = cache_regions['persistent'] = service.options | {'expire': 3600}
    storage = configure({'progress.timeout': '1'}).store().storage
    with Traffic() as traffic:
        with ExitStack() as stack:
            for sentinel in service.sentinels:
                stack.enter_context(sentinel.down())
            hung = time.monotonic()
            wait_until(lambda: traffic.answers_since(hung + 1), 5, 'polls do not answer')
            storage.close()  # new connections need a sentinel
            time.sleep(1.5)
        resumed = time.monotonic()
        wait_until(lambda: traffic.answers_since(resumed), 3, 'polls do not answer again')
        assert traffic.are_running()
    storage.close()
    assert traffic.errors == []
    assert traffic.longest_poll < 2.0
    assert traffic.longest_step < 0.05


def test_a_failover_on_request_needs_no_restart(service):
    """The old primary becomes a replica, which refuses changes."""
    first, second = service.servers
    storage = service.open()
    storage.start('job', RECORD, 60)
    with service.client(service.sentinels[0]) as sentinel:
        sentinel.sentinel_failover(SERVICE)
    calls = change_until(storage, lambda _: is_primary(service, second))
    with service.client(first, password=PASSWORD) as client:  # the sentinels do this too, ten seconds later
        client.replicaof('127.0.0.1', second.port)
    calls += change_until(storage, lambda result: result is None)
    assert max(took for _, took in calls) < 2.0
    storage.update('job', {'status': '"running"', 'message': '"after"'}, 60)
    with service.client(second, password=PASSWORD, db=DATABASE) as client:
        assert [b'"after"' in client.get(key) for key in client.scan_iter() if key.endswith(b':job')] == [True]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'sentinels': 'localhost'}, 'sentinels and service'),
        ({'service': 'x'}, 'sentinels and service'),
        ({'sentinels': 'localhost:port', 'service': 'x'}, "'localhost:port' is not an address"),
        ({'sentinels': 'localhost:70000', 'service': 'x'}, "'localhost:70000' is not an address"),
        ({'sentinels': 'localhost:1,,', 'service': 'x'}, "'' is not an address"),
        ({'sentinels': ':26379', 'service': 'x'}, "':26379' is not an address"),
        ({'sentinels': 5, 'service': 'x'}, '5 is not a string'),
        ({'sentinels': 'localhost', 'service': 'x', 'url': 'unix:///run/redis.sock'}, 'redis:// or rediss://'),
        ({'sentinels': 'localhost', 'service': 'x', 'url': 'http://:gehe1m@localhost'}, 'begins with redis://'),
        ({'sentinels': 'localhost', 'service': 'x', 'url': 'redis://:gehe1m@/0?nonsense=1'}, 'url .* is invalid'),
    ],
)
def test_invalid_options_are_a_value_error(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        RedisStorage({'type': 'ext:redis', **options}, 'progress', 1.0)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ('sentinels', 'addresses'),
    [
        ('one:1,two:2', 'one:1, two:2'),
        (' one:1 , two ', 'one:1, two:26379'),
        ('[::1]:5, [fe80::1]', '::1:5, fe80::1:26379'),
    ],
)
def test_addresses_of_sentinels(sentinels, addresses):
    storage = RedisStorage({'type': 'ext:redis', 'sentinels': sentinels, 'service': 'x'}, 'progress', 0.1)
    with pytest.raises(StorageError) as caught:
        storage.running_ids()
    assert f'x (sentinels {addresses})' in str(caught.value)
