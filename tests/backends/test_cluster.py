"""Redis Cluster: where keys are, round trips, indexes that are out of date, nodes that fail, and slots that move."""

import math
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis
from beaker.cache import cache_regions
from support.failover import RECORD, Traffic, timed
from support.redis_cluster import RedisCluster
from support.servers import free_port
from support.waiting import wait_until

from pyramid_progress import configure
from pyramid_progress.model import record as rules
from pyramid_progress.model.record import Activity, new_run
from pyramid_progress.storage import Entry, StorageError, open_storage
from pyramid_progress.storage.redis import cluster_driver
from pyramid_progress.storage.redis.cluster import Cluster
from pyramid_progress.storage.redis.cluster_location import ClusterLocation
from pyramid_progress.storage.redis.topology import Node

IDS = [f'task {number}' for number in range(50)]


class Namespace:
    """A namespace of its own in a cluster, as the driver and as other clients see it."""

    def __init__(self, cluster, timeout=5.0, **options):
        self.name = uuid.uuid4().hex
        self.cluster = cluster
        region = {'type': 'ext:rediscluster', 'urls': cluster.urls, **options}
        self.storage = open_storage(region, region, namespace=self.name, timeout=timeout)
        self.client = redis.RedisCluster.from_url(cluster.servers[0].url, password=options.get('password'))

    def close(self):
        self.storage.close()
        self.client.close()

    def key(self, progress_id):
        return f'{{{self.name}:{progress_id}}}:tasks:{progress_id}'

    def index(self, key):
        return f'{{{self.name}:index:{key}}}:entries'

    def start(self, progress_id='job', expire=60, **options):
        """Start a run, and return its number."""
        run = new_run(self.storage.now())
        assert self.storage.start(progress_id, RECORD | {rules.RUN: run}, expire, **options)
        return run

    def listed(self, key):
        return [entry.progress_id for entry in self.storage.list_entries([key], 100)]


@pytest.fixture
def namespace(redis_cluster):
    namespace = Namespace(redis_cluster)
    yield namespace
    namespace.close()


@pytest.fixture
def calls(monkeypatch):
    """Return a list of the calls of a cluster: how many commands each has."""
    calls, call = [], Cluster.call

    def counted(cluster, commands):
        if commands:
            calls.append(len(commands))
        return call(cluster, commands)

    monkeypatch.setattr(Cluster, 'call', counted)
    return calls


# Keys and round trips


def test_tasks_are_sharded(namespace):
    for progress_id in IDS:
        namespace.start(progress_id)
    servers = {namespace.cluster.primary_of(namespace.key(progress_id)) for progress_id in IDS}
    assert servers == set(namespace.cluster.primaries())
    assert namespace.storage.running_ids() == set(IDS)


def test_parts_are_beside_their_task(namespace):
    run = new_run(namespace.storage.now())
    namespace.storage.start('job', RECORD | {rules.RUN: run, '_parts': '2'}, 60)
    part = {'task_run': run, 'part_run': run, 'expire': 60}
    assert namespace.storage.start_part('job', 0, heartbeat='1.5', **part) == Activity(0)
    assert namespace.storage.update_part('job', 0, {'current': '3'}, **part) == Activity(0)
    assert namespace.storage.get_many(['job'])['job']['current'] == '3'
    assert namespace.client.exists(f'{{{namespace.name}:job}}:parts:job') == 1


@pytest.mark.parametrize(
    ('operation', 'count'),
    [
        (lambda storage: storage.update('job', {'status': '"running"', 'current': '5'}, 60), 1),
        (lambda storage: storage.update_active({'job': {'current': '5'}}, 60), 1),
        (lambda storage: storage.get_many(['job']), 1),
        (lambda storage: storage.get_many(IDS), 1),
        (lambda storage: storage.list_entries(['running', 'finished'], 10), 1),
        (lambda storage: storage.start('new', RECORD, 60), 2),
        (lambda storage: storage.update('job', {'status': '"finished"'}, 60), 2),
        (lambda storage: storage.update_active({'job': {'status': '"failed"'}}, 60), 2),
        (lambda storage: storage.delete('job'), 2),
    ],
)
def test_round_trips(namespace, calls, operation, count):
    namespace.start()
    calls.clear()
    operation(namespace.storage)
    assert len(calls) == count


def test_reading_many_ids_uses_one_connection_to_each_node(namespace, monkeypatch):
    for progress_id in IDS:
        namespace.start(progress_id)
    taken, take = [], Node.take

    def counted(node):
        taken.append(node.address)
        return take(node)

    monkeypatch.setattr(Node, 'take', counted)
    assert set(namespace.storage.get_many(IDS)) == set(IDS)
    assert len(taken) == len(set(taken)) == 3


# Indexes that are out of date


def test_a_heartbeat_restores_entries_that_were_lost(namespace):
    namespace.start('lost')
    for key in ('running', 'owner:ann'):
        namespace.client.delete(namespace.index(key))
    assert namespace.storage.running_ids() == set()
    namespace.storage.update_active({'lost': {'current': '1'}}, 60)
    assert namespace.storage.running_ids() == set()
    namespace.storage.update_active({'lost': {'_heartbeat': '1.5'}}, 60)
    assert namespace.storage.running_ids() == {'lost'}
    assert namespace.listed('owner:ann') == ['lost']


def test_a_change_restores_entries_that_another_process_wrote(namespace):
    """Of a task without heartbeats."""
    namespace.start('lost')
    namespace.client.delete(namespace.index('running'))
    namespace.storage.update('lost', {'status': '"running"'}, 60)
    assert namespace.storage.running_ids() == set()
    other = Namespace(namespace.cluster)
    other.storage._namespace = namespace.name
    other.storage.update('lost', {'status': '"running"'}, 60)
    other.close()
    assert namespace.storage.running_ids() == {'lost'}


def test_a_repeated_end_restores_entries(namespace):
    """The process failed after the record was written, or the node of an index did."""
    namespace.start()
    namespace.storage.update_active({'job': {'status': '"failed"'}}, 60)
    namespace.client.delete(namespace.index('failed'))
    namespace.client.zadd(namespace.index('running'), {'job': 1})
    assert namespace.storage.update_active({'job': {'status': '"failed"'}}, 60) == {'job': Activity.ENDED}
    assert namespace.listed('failed') == ['job']
    assert namespace.listed('running') == []


@pytest.mark.parametrize('is_there', [False, True])
def test_an_entry_whose_record_does_not_belong_there_is_pruned(namespace, is_there):
    if is_there:
        namespace.start()
    namespace.client.zadd(namespace.index('failed'), {'job': 1000})
    assert namespace.listed('failed') == ['job']
    namespace.storage.prune('failed', ['job'])
    assert namespace.listed('failed') == []
    assert namespace.storage.running_ids() == ({'job'} if is_there else set())


def test_the_running_list_prunes_itself(namespace):
    namespace.client.zadd(namespace.index('running'), {'gone': 1000})
    assert namespace.storage.running_ids() == set()
    assert namespace.listed('running') == []


def test_an_entry_without_record_stays_while_its_task_may_be_starting(namespace):
    start = round(namespace.storage.now() * 1000)
    namespace.client.zadd(namespace.index('running'), {'starts': start})
    namespace.storage.prune('running', ['starts'])
    assert namespace.storage.list_entries(['running'], 10) == [Entry(start, 'starts')]


def test_a_start_that_is_refused_leaves_the_entries_as_they_were(namespace):
    run = namespace.start()
    other = RECORD | {'owner': '"bob"', rules.RUN: new_run(namespace.storage.now() + 5)}
    assert not namespace.storage.start('job', other, 60, rules.Start.NEW)
    start = rules.start_time({rules.RUN: run})
    assert namespace.storage.list_entries(['running'], 10) == [Entry(start, 'job')]
    assert namespace.listed('owner:bob') == []


def test_an_index_expires_with_its_tasks(namespace):
    namespace.start(expire=0.2)
    assert namespace.client.exists(namespace.index('owner:ann')) == 1
    wait_until(lambda: namespace.client.exists(namespace.index('owner:ann')) == 0, 5, 'the index stays')


def test_entries_live_as_long_as_changes_keep_their_task(namespace):
    namespace.start(expire=0.4)
    for _ in range(12):
        time.sleep(0.1)
        namespace.storage.update('job', {'status': '"running"'}, 0.4)
    assert namespace.listed('owner:ann') == ['job']


def test_an_entry_outlives_changes_that_do_not_write_it(namespace):
    namespace.start(expire=0.8)
    time.sleep(0.3)
    namespace.storage.update('job', {'status': '"running"'}, 0.8)
    time.sleep(0.65)
    assert namespace.storage.running_ids() == {'job'}


def test_what_a_process_remembers_has_a_bound(namespace, monkeypatch):
    monkeypatch.setattr(cluster_driver, '_REMEMBERED', 10)
    for progress_id in IDS:
        namespace.start(progress_id)
    assert len(namespace.storage._written) <= 10


def test_a_foreign_value_is_a_storage_error(namespace):
    namespace.start('job')
    namespace.client.lpush(namespace.key('other'), 'foreign')
    for operation in (
        lambda: namespace.storage.get_many(['other']),
        lambda: namespace.storage.update('other', {'status': '"running"'}, 60),
        lambda: namespace.storage.update_active({'other': {'current': '1'}}, 60),
    ):
        with pytest.raises(StorageError, match='not a record'):
            operation()
    assert set(namespace.storage.get_many(['job', 'other'])) == {'job'}
    changes = {'job': {'current': '1'}, 'other': {'current': '1'}}
    assert namespace.storage.update_active(changes, 60) == {'job': Activity(0)}


# Connections


def test_a_forked_child_makes_connections_of_its_own(namespace, forked):
    runs = {progress_id: namespace.start(progress_id) for progress_id in IDS}

    def read(ids):
        over = time.monotonic() + 0.3
        while time.monotonic() < over:
            for progress_id in ids:
                assert namespace.storage.get_many([progress_id])[progress_id][rules.RUN] == runs[progress_id]

    with forked(lambda: read(IDS[::-1])) as process:
        read(IDS)
        assert process.exit_status() == 0


def test_a_connection_that_was_closed_is_replaced_and_noted(namespace):
    """What the node took before may be lost."""
    namespace.start()
    assert namespace.storage.broke_at == -math.inf
    for server in namespace.cluster.servers:
        with namespace.cluster.client(server) as client:
            client.client_kill_filter(_type='normal', skipme=True)
    killed = time.monotonic()
    assert namespace.storage.running_ids() == {'job'}
    assert namespace.storage.broke_at > killed


@pytest.mark.slow  # its bound is a time, and other tests load the machine
def test_many_threads_are_served_fairly(redis_cluster):
    namespace = Namespace(redis_cluster, timeout=1.0)
    namespace.start()

    def read(_number):
        return [timed(namespace.storage.get_many, ['job']) for _ in range(20)]

    with ThreadPoolExecutor(128) as pool:
        calls = [call for calls in pool.map(read, range(128)) for call in calls]
    assert [result for result, _ in calls if isinstance(result, StorageError)] == []
    assert max(seconds for _, seconds in calls) < 1.0
    namespace.close()


def test_scripts_that_all_nodes_forget_are_sent_again(namespace):
    namespace.start()
    for server in namespace.cluster.servers:
        with namespace.cluster.client(server) as client:
            client.script_flush()
    namespace.storage.update('job', {'status': '"running"', 'current': '7'}, 60)
    assert namespace.storage.update_active({'job': {'current': '8'}, 'none': {'current': '1'}}, 60) == {'job': 0}
    assert namespace.storage.get_many(['job'])['job']['current'] == '8'


def test_a_cluster_that_is_down_is_an_error_when_it_is_used():
    urls = ','.join(f'redis://127.0.0.1:{free_port()}' for _ in range(3))
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'ext:rediscluster', 'urls': urls}
    store = configure({'progress.timeout': '0.5'}).store()
    assert store.storage.update_active({}, 60) == store.storage.get_many([]) == {}  # contact no server
    error, seconds = timed(store.storage.running_ids)
    assert isinstance(error, StorageError)
    assert re.search('127.0.0.1.* refused', str(error))
    assert seconds < 1.0


def test_the_password_and_other_keywords_of_beaker(program, tmp_path):
    password = 'a:b@c/d,e%f g#'  # noqa: S105
    cluster = RedisCluster(program('redis-server'), program('redis-cli'), tmp_path, password=password, replicas=0)
    try:
        namespace = Namespace(cluster, password=password, max_connections='4', ssl='false', lock_dir='/none')
        namespace.storage.start('job', RECORD, 60)
        assert namespace.storage.running_ids() == {'job'}
        region = {'type': 'ext:rediscluster', 'urls': cluster.urls, 'password': 'fa1sch'}
        error, _ = timed(open_storage(region, region, namespace='progress', timeout=1.0).running_ids)
        assert isinstance(error, StorageError)
        assert 'password' in str(error)
        assert 'fa1sch' not in str(error)
    finally:
        cluster.stop()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({}, 'needs the option urls'),
        ({'urls': ''}, 'needs the option urls'),
        ({'urls': object()}, 'needs the option urls'),
        ({'urls': 'localhost:7000'}, 'redis:// or rediss://'),
        ({'urls': 'redis://localhost:7000,'}, 'redis:// or rediss://'),
        ({'urls': 'redis://:gehe1m@localhost:port'}, 'cannot be parsed'),
        ({'urls': 'redis://:gehe1m@localhost/3'}, 'names a database'),
        ({'urls': 'redis://:gehe1m@localhost?nonsense=1'}, 'is invalid'),
        ({'urls': 'redis://localhost', 'password': 'gehe1m', 'ssl_nonsense': '1'}, 'is invalid'),
    ],
)
def test_invalid_options_are_a_value_error(options, message):
    region = {'type': 'ext:rediscluster', **options}
    with pytest.raises(ValueError, match=message) as caught:
        open_storage(region, region, namespace='progress', timeout=1.0)
    assert 'gehe1m' not in str(caught.value)


@pytest.mark.parametrize(
    'options',
    [
        {'urls': 'rediss://one:7000?ssl_ca_certs=/ca.pem, rediss://two'},
        {'urls': 'redis://one:7000,redis://two', 'ssl': 'true', 'ssl_ca_certs': '/ca.pem', 'ssl_check_hostname': 'no'},
    ],
)
def test_tls(options):
    location = ClusterLocation.parse({'type': 'ext:rediscluster', **options})
    assert location.connection_class is redis.SSLConnection
    assert location.options['ssl_ca_certs'] == '/ca.pem'
    assert location.nodes == (('one', 7000), ('two', 6379))
    assert location.options.get('ssl_check_hostname') is (False if 'ssl' in options else None)


# Nodes that fail, hang and move slots


def test_all_nodes_hanging_is_an_error_within_twice_the_timeout(redis_cluster):
    namespace, new = Namespace(redis_cluster, timeout=0.5), Namespace(redis_cluster, timeout=0.5)
    for progress_id in IDS:
        namespace.start(progress_id)

    def operations(storage):
        return [
            storage.running_ids,
            lambda: storage.get_many(IDS),
            lambda: storage.update('job', {'status': '"running"'}, 60),
            lambda: storage.start('job', RECORD, 60),
            lambda: storage.list_entries(['running', 'finished', 'failed', 'cancelled'], 10),
        ]

    with ExitStack() as stack:
        for server in redis_cluster.servers:
            stack.enter_context(server.down())
        for storage in (namespace.storage, new.storage):
            with ThreadPoolExecutor(48) as pool:  # more than there are connections
                calls = list(pool.map(timed, operations(storage) * 10))
            assert all(isinstance(result, StorageError) for result, _ in calls)
            assert max(seconds for _, seconds in calls) < 1.0 + 0.1
    wait_until(redis_cluster.is_complete, 20, 'the cluster does not recover')
    wait_until(lambda: not isinstance(timed(namespace.storage.get_many, IDS)[0], StorageError), 5, 'it still fails')
    assert set(namespace.storage.get_many(IDS)) == set(IDS)
    namespace.close()
    new.close()


def test_a_slot_that_moves(namespace):
    """Keys that have moved are found on the other node, and keys that have not on the first."""
    cluster = namespace.cluster
    namespace.start('there')
    key = namespace.key('there')
    source = cluster.primary_of(key)
    target = next(server for server in cluster.primaries() if server is not source)
    with cluster.client(source) as old, cluster.client(target) as new:
        slot = old.execute_command('CLUSTER', 'KEYSLOT', key)
        ids = [old.execute_command('CLUSTER', 'MYID').decode(), new.execute_command('CLUSTER', 'MYID').decode()]
        new.execute_command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[0])
        old.execute_command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[1])
        namespace.storage.update('there', {'status': '"running"', 'current': '1'}, 60)
        old.execute_command('MIGRATE', '127.0.0.1', target.port, key, 0, 1000)
        namespace.storage.update('there', {'status': '"running"', 'current': '2'}, 60)
        assert namespace.storage.get_many(['there'])['there']['current'] == '2'
        assert new.execute_command('CLUSTER', 'COUNTKEYSINSLOT', slot) == 1
        for node in (new, old):
            node.execute_command('CLUSTER', 'SETSLOT', slot, 'NODE', ids[1])
        namespace.storage.update('there', {'status': '"running"', 'current': '3'}, 60)
        assert namespace.storage.get_many(['there'])['there']['current'] == '3'


@pytest.fixture
def private_cluster(program, tmp_path):
    """Return a cluster of the test's own, which the default regions use."""
    cluster = RedisCluster(program('redis-server'), program('redis-cli'), tmp_path)
    cache_regions['default'] = cache_regions['persistent'] = {
        'type': 'ext:rediscluster', 'urls': cluster.urls, 'expire': 3600,
    }  # fmt: skip
    storage = configure({'progress.timeout': '1'}).store().storage
    yield cluster
    storage.close()
    cluster.stop()


@pytest.mark.slow
@pytest.mark.parametrize('failure', ['stop', 'pause'])
def test_work_goes_on_while_a_primary_fails(private_cluster, failure):
    with Traffic() as traffic:
        time.sleep(2)
        victim = private_cluster.primary_of('{pyramid_progress:long 0}:tasks:long 0')
        failed = time.monotonic()
        getattr(victim, failure)()
        wait_until(lambda: victim not in private_cluster.primaries(but=victim), 20, 'no other node becomes the primary')
        failover = time.monotonic()
        wait_until(lambda: traffic.answers_since(failover), 2, 'polls do not answer again')
        answered = time.monotonic()
        wait_until(traffic.are_running, failover + 6 - time.monotonic(), 'not all tasks are back')
        back = time.monotonic()
        print(f'failover {failover - failed:.1f} s, polls +{answered - failover:.1f} s, tasks +{back - failover:.1f} s')
        wait_until(lambda: not traffic.lost_ends(failed - 10, failed), 6, 'ends are lost')
        if failure == 'pause':
            victim.resume()
            time.sleep(1)
            wait_until(traffic.are_running, 5, 'the former primary disturbs')
    assert traffic.errors == []
    assert traffic.longest_poll < 2.0
    assert traffic.longest_step < 0.05


@pytest.mark.slow
def test_work_goes_on_while_slots_move(private_cluster):
    first, second, *_ = private_cluster.primaries()
    with private_cluster.client(first) as old, private_cluster.client(second) as new:
        ids = [client.execute_command('CLUSTER', 'MYID').decode() for client in (old, new)]
    with Traffic() as traffic:
        private_cluster.cli(
            'reshard', f'127.0.0.1:{first.port}',
            '--cluster-from', ids[0], '--cluster-to', ids[1], '--cluster-slots', '5461', '--cluster-yes',
        )  # fmt: skip
        moved = time.monotonic()
        wait_until(lambda: traffic.answers_since(moved), 2, 'polls do not answer again')
        assert traffic.are_running()
        assert traffic.lost_ends(0, moved) == []
    assert traffic.errors == []
    assert [poll for poll in traffic.polls if not poll[1]] == []
    assert traffic.longest_poll < 2.0
    assert traffic.longest_step < 0.05


@pytest.mark.parametrize('query', ['socket_timeout=5', 'socket_connect_timeout=5'])
def test_a_url_with_a_time_limit_is_no_error(query):
    storage = cluster_driver.ClusterStorage(
        {'type': 'ext:rediscluster', 'urls': f'redis://127.0.0.1:{free_port()}?{query}'}, 'x', 0.2
    )
    with pytest.raises(StorageError, match='Connection refused'):
        storage.now()


def test_options_of_tls_that_are_false():
    location = ClusterLocation.parse({'urls': 'rediss://127.0.0.1', 'ssl_validate_ocsp': 'false'})
    assert location.options['ssl_validate_ocsp'] is False
