"""A real Celery application: a broker, workers in processes of their own, and this process in place of the web's."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.servers import RedisServer
from support.waiting import wait_until

from pyramid_progress import configure

APP = Path(__file__).with_name('celery_app')

INI = """\
[app:main]
celery.broker = {broker}
shop.gates = {directory}/gates
cache.regions = default, persistent
cache.type = ext:redis
cache.url = {statuses}
cache.expire = 999999
"""


@pytest.fixture(scope='session')
def _start_server(program, tmp_path_factory):
    servers = []

    def start():
        servers.append(RedisServer(program('redis-server'), tmp_path_factory.mktemp('redis')))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope='session')
def broker_url(_start_server):
    """Return the address of a Redis server for the messages."""
    return _start_server().url


@pytest.fixture(scope='session')
def store_server(_start_server):
    """Return the Redis server of the statuses, which may be ``down()`` for a while."""
    return _start_server()


class Worker:
    """A ``celery worker`` in a process group of its own, that takes the tasks of one queue."""

    def __init__(self, directory, queue, *options, **environment):
        self.log = directory / f'{queue}-{time.monotonic_ns()}.log'
        command = f'-m celery --app shop.tasks worker --queues {queue} --hostname {queue} --loglevel INFO'
        quick = '--without-gossip --without-mingle --without-heartbeat'
        with self.log.open('wb') as log:
            self._process = subprocess.Popen(
                [sys.executable, *command.split(), *quick.split(), *options],
                env=os.environ | {'PYTHONPATH': f'{APP}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'} | environment,
                cwd=directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self):
        def is_ready():
            assert self._process.poll() is None, self.log.read_text()
            return ' ready.' in self.log.read_text()

        wait_until(is_ready, 30)

    def kill(self):
        """End it and its children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope='session')
def directory(tmp_path_factory, broker_url, store_server):
    """Return the directory of the application: its ini file, and what belongs to it."""
    directory = tmp_path_factory.mktemp('shop')
    (directory / 'gates').mkdir()
    ini = INI.format(broker=broker_url, statuses=store_server.url, directory=directory)
    (directory / 'production.ini').write_text(ini)
    return directory


@pytest.fixture(scope='session')
def _shop(directory):
    before = dict(os.environ)
    os.environ['SHOP_INI'] = str(directory / 'production.ini')
    sys.path.insert(0, str(APP))
    tasks = importlib.import_module('shop.tasks')
    yield tasks
    tasks.app.close()
    sys.path.remove(str(APP))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def shop(_shop):
    """Return the module of the tasks, as the web application imports it."""
    configure(_shop.settings)
    return _shop


@pytest.fixture(scope='session')
def start_worker(_shop, directory):
    """Return a function that starts a worker for a queue, with the options and the environment of ``celery worker``."""
    workers = []

    def start(queue, *options, **environment):
        workers.append(Worker(directory, queue, *options, **environment))
        workers[-1].wait_until_ready()
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


@pytest.fixture(scope='session')
def worker(start_worker):
    """Start the worker that most tests share: two forked processes, on the default queue."""
    return start_worker('celery', '--pool', 'prefork', '--concurrency', '2')
