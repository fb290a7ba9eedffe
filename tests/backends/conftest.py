"""Every region type, on real servers, in this process and in others.

A test that asks for ``region`` runs once for each of :data:`KINDS`; with ``@pytest.mark.promises('processes')`` it runs
for those that promise that.
"""

import faulthandler
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import pytest
from beaker.cache import cache_regions
from support.redis_cluster import RedisCluster
from support.servers import MemcachedServer, RedisServer
from support.waiting import wait_until

from pyramid_progress import configure


@dataclass(frozen=True)
class Kind:
    """What a region type promises, and how much of it a test can do in a second on a slow machine."""

    type: str
    #: Several processes may share it.
    processes: bool = True
    #: A writer that is killed spoils nothing.
    kills: bool = True
    #: It goes through Beaker's NamespaceManager, under our own locks.
    generic: bool = True
    #: What has expired, a server knows by its own clock.
    server_clock: bool = False
    #: It knows that by the time of day, which may be put back or forward.
    time_of_day: bool = True
    #: How many tasks may come and go in a test of growth.
    many: int = 10000
    #: The lists are kept elsewhere than the statuses.
    paired: bool = False

    marks: tuple = ()

    @property
    def own_clock(self):
        return not self.server_clock


WORKER = Path(__file__).with_name('worker.py')
WORKERS = 4

#: In `make test`, `file` stands for all types that Beaker drives.
SLOW = pytest.mark.slow

#: A thread of python-memcached's that ends does not close its connection.
LEAVES_SOCKETS = pytest.mark.filterwarnings('ignore:unclosed <socket:ResourceWarning')

KINDS = [
    Kind('memory', processes=False, kills=False, generic=False, time_of_day=False),
    Kind('file', many=1000),
    Kind('file', many=300, paired=True, marks=(SLOW,)),
    Kind('dbm', kills=False, many=200, marks=(SLOW,)),
    Kind('ext:database', many=300, marks=(SLOW,)),
    Kind('ext:memcached', many=2000, marks=(SLOW, LEAVES_SOCKETS)),
    Kind('sqlite', generic=False, many=2000),
    Kind('ext:redis', generic=False, server_clock=True, time_of_day=False, many=1000),
    Kind('ext:rediscluster', generic=False, server_clock=True, time_of_day=False, many=300, marks=(SLOW,)),
]


def pytest_configure(config):
    config.addinivalue_line('markers', 'promises(*names): run for the region types that promise these alone')


def pytest_generate_tests(metafunc):
    if 'region' in metafunc.fixturenames:
        names = [name for mark in metafunc.definition.iter_markers('promises') for name in mark.args]
        kinds = [kind for kind in KINDS if all(getattr(kind, name) for name in names)]
        cases = [pytest.param(kind, id=kind.type + '-paired' * kind.paired, marks=kind.marks) for kind in kinds]
        metafunc.parametrize('region', cases, indirect=True)


@pytest.fixture(scope='session')
def redis_url(program, tmp_path_factory):
    """Return the address of a Redis server that all tests of this process share."""
    server = RedisServer(program('redis-server'), tmp_path_factory.mktemp('redis'))
    yield server.url
    server.stop()


@pytest.fixture(scope='session')
def redis_cluster(program, tmp_path_factory):
    """Return a Redis Cluster that all tests of this process share, and leave as it is."""
    cluster = RedisCluster(program('redis-server'), program('redis-cli'), tmp_path_factory.mktemp('cluster'))
    yield cluster
    cluster.stop()


@pytest.fixture
def private_redis(program, tmp_path):
    """Return a Redis server of the test's own: ``url``, ``stop()``, ``start()``, ``pause()``, ``resume()``."""
    server = RedisServer(program('redis-server'), tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope='session')
def memcached_url(program):
    """Return the address of a memcached that all tests of this process share."""
    server = MemcachedServer(program('memcached'))
    yield server.url
    server.stop()


class Region:
    """A Beaker region of one type, empty, and other processes that use it too."""

    def __init__(self, kind, options, workers):
        self.kind = kind
        self._workers = workers
        self.type = kind.type
        self.options = options
        self.settings = {'progress.namespace': f't{uuid.uuid4().hex}'}

    def use(self, regions=('default', 'persistent'), *, expire=999999, **settings):
        """Keep everything here, with these ``progress.`` settings, from the next call on."""
        for name in regions:
            cache_regions[name] = self.options | {'expire': expire}
            if name == 'default' and self.kind.paired:
                cache_regions[name]['data_dir'] += '-lists'
        self.settings |= {f'progress.{name}': str(value) for name, value in settings.items()}
        configure(self.settings)

    def empty(self):
        """Start with nothing in it."""
        self.use(namespace=f't{uuid.uuid4().hex}')

    def in_processes(self, job, *each):
        """Run a job of ``worker.py`` in several processes at the same time; return their results.

        :param each: a list of arguments for each process, of which there are :data:`WORKERS`
        """
        regions = {name: cache_regions[name] for name in ('default', 'persistent')}
        for worker, arguments in zip(self._workers, each, strict=True):
            worker.send([regions, self.settings, job, arguments])
        for worker in self._workers:
            assert worker.receive() == 'ready'
        for worker in self._workers:
            worker.send('go')
        answers = [worker.receive() for worker in self._workers]
        assert not [answer['error'] for answer in answers if 'error' in answer]
        return [answer['result'] for answer in answers]

    def in_threads(self, job, *each):
        """Run a job of ``worker.py`` in several threads at the same time; return their results."""
        function = runpy.run_path(str(WORKER))[job]
        barrier = Barrier(len(each))

        def run(arguments):
            barrier.wait(10)
            return function(*arguments)

        with ThreadPoolExecutor(len(each)) as pool:
            return list(pool.map(run, each))

    def at_once(self, job, *each):
        """Run a job several times at the same time: in processes, where the type promises to serve several."""
        return (self.in_processes if self.kind.processes else self.in_threads)(job, *each)


class Worker:
    """A Python process that runs jobs of ``worker.py``. Both sides write a line of JSON at a time."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, message):
        print(json.dumps(message), file=self._process.stdin, flush=True)

    def receive(self):
        """Return what it says next."""
        answers, _, _ = select.select([self._process.stdout], [], [], 60)
        assert answers, 'the worker does not answer'
        return json.loads(self._process.stdout.readline())

    def end(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope='session')
def workers():
    """Return the processes that all tests share: to start one takes a second."""
    workers = [Worker() for _number in range(WORKERS)]
    yield workers
    for worker in workers:
        worker.end()


@pytest.fixture
def directory():
    """Return a directory for regions: in memory where the system has such a place, not to wait for a disk."""
    with TemporaryDirectory(dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else None) as name:
        yield Path(name)


@pytest.fixture
def region(request, directory, workers):
    """Make both regions one empty place of a region type."""
    kind = request.param
    options = {'type': kind.type}
    if kind.type != 'memory':
        options |= {'data_dir': str(directory / 'data'), 'lock_dir': str(directory / 'locks')}
    if kind.type == 'ext:database':
        options['url'] = f'sqlite:///{directory}/beaker.db'
    elif kind.type == 'ext:memcached':
        options['url'] = request.getfixturevalue('memcached_url')
    elif kind.type == 'ext:redis':
        options['url'] = request.getfixturevalue('redis_url')
    elif kind.type == 'ext:rediscluster':
        options['urls'] = request.getfixturevalue('redis_cluster').urls
    region = Region(kind, options, workers)
    region.use()
    return region


class Child:
    """A forked process."""

    def __init__(self, pid):
        self.pid = pid
        self.status = None

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def wait_until_stopped(self):
        """Wait until it stops itself with SIGSTOP."""
        wait_until(lambda: os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)[0], 10, 'the child does not stop')

    def exit_status(self, timeout=10):
        """Wait for its end, and return what it exited with; a signal is negative."""

        def ended():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return pid

        wait_until(ended, timeout, 'the child does not end')
        return self.status


@pytest.fixture
def forked():
    """Return a context manager that runs a function in a forked child, and kills what is left of it at the end.

    The child prints its traceback, or after five seconds where it hangs, and exits with another status than 0.
    """

    @contextmanager
    def fork(function):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                faulthandler.dump_traceback_later(5, exit=True, file=sys.__stderr__)
                function()
                status = 0
            except BaseException:  # noqa: BLE001  (the child must never return to pytest)
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        child = Child(pid)
        try:
            yield child
        finally:
            if child.status is None:
                child.kill()
                child.exit_status()

    return fork
