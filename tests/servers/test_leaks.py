"""Streams that are opened and dropped, again and again, leave nothing behind in the server."""

import os
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
import redis
from support.events import EventClient
from support.servers import Server, free_port
from support.waiting import wait_until

import pyramid_progress
from pyramid_progress import start_task

from .test_events import ONE
from .test_pprogress_events import COMMAND

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='the system has no /proc with threads'),
]

#: Seconds during which streams are opened and dropped, and how many in a second.
DURATION = 30
RATE = 10

#: Seconds before, so that threads, connections and caches are there.
WARM_UP = 10

#: Bytes for each stream that count as a leak.
LEAK = 15_000

#: Threads and descriptors that may be new: a connection to Redis, for example, if two threads need one at a time.
FEW = 5

#: Looks without a change, a tenth of a second apart, after which the server has noticed all: it needs up to 10 s.
REST = 120

INI = """
[app:main]
use = call:events_site:main
cache.regions = default, persistent
cache.type = ext:redis
cache.url = {url}
progress.namespace = {namespace}
"""


@pytest.fixture
def start_events(tmp_path, redis_url):
    """Return a function that starts pprogress-events, and returns its process, its URL and its namespace."""
    namespace = 'leaks-of-events'
    with ExitStack() as stack:

        def start():
            ini = tmp_path / 'site.ini'
            ini.write_text(INI.format(url=redis_url, namespace=namespace))
            port = free_port()
            environ = os.environ | {'PYTHONPATH': str(Path(__file__).parent)}
            command = [*COMMAND, str(ini), '--listen', f'127.0.0.1:{port}']
            server = Server(command, port, tmp_path / 'log', env=environ)
            stack.callback(server.stop)
            return server.process, f'http://127.0.0.1:{port}', namespace

        yield start


@pytest.fixture
def start_web(start):
    """Return a function that starts the application in waitress, and returns its process, its URL and its namespace."""

    def start_it():
        command = [{'6': '110'}.get(argument, argument) for argument in ONE['waitress']]
        settings = {'progress.streams': '100', 'progress.namespace': 'leaks-of-web'}
        site = start(command, 'ext:redis', **settings)
        return site.server.process, site.url, settings['progress.namespace']

    return start_it


class Usage:
    """What a process uses now."""

    def __init__(self, process):
        folder = Path(f'/proc/{process.pid}')
        self.threads = len(list((folder / 'task').iterdir()))
        self.descriptors = len(list((folder / 'fd').iterdir()))
        self.memory = int((folder / 'statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def __str__(self):
        return f'{self.threads} threads, {self.descriptors} descriptors, {self.memory / 1e6:.1f} MB'


def churn(url, task, seconds, numbers):
    """Open streams and drop them, half of them with a task that changes, all of them with an id of their own."""
    started = time.monotonic()
    for turn in range(seconds * RATE):
        time.sleep(max(0, started + turn / RATE - time.monotonic()))
        task.advance()
        progress_ids = [f'dropped-{next(numbers)}', *([task.id] if turn % 2 else [])]
        with EventClient(url + '/progress_events', *progress_ids, headers={'X-User': 'mary'}) as client:
            client.next()


def usage_at_rest(process):
    """Return what a process uses when it has noticed that its clients have gone."""
    usages = []

    def is_at_rest():
        usages.append(Usage(process))
        time.sleep(0.1)
        latest = {(usage.threads, usage.descriptors) for usage in usages[-REST:]}
        return len(usages) > REST and len(latest) == 1

    wait_until(is_at_rest, 60, 'the process does not come to rest')
    return usages[-1]


def commands_during_a_stream(redis_url, url):
    """Return what Redis is asked for while there is one stream."""
    with (
        redis.Redis.from_url(redis_url) as client,
        client.monitor() as monitor,
        EventClient(url + '/progress_events', 'last', headers={'X-User': 'mary'}),
    ):
        return [monitor.next_command()['command'] for _ in range(10)]


@pytest.mark.timeout(DURATION + 200)
@pytest.mark.parametrize('server', ['start_web', 'start_events'])
def test_streams_that_are_opened_and_dropped(request, redis_url, server):
    process, url, namespace = request.getfixturevalue(server)()
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'ext:redis', 'cache.url': redis_url}
    pyramid_progress.configure(settings | {'progress.namespace': namespace})
    numbers = count()
    with start_task('Import', owner='mary') as task:
        churn(url, task, WARM_UP, numbers)
        before = usage_at_rest(process)
        churn(url, task, DURATION, numbers)
        after = usage_at_rest(process)
    print(f'before: {before}; after: {after}')
    assert after.threads < before.threads + FEW
    assert after.descriptors < before.descriptors + FEW
    assert after.memory - before.memory < DURATION * RATE * LEAK
    commands = commands_during_a_stream(redis_url, url)
    assert any('last' in command for command in commands)
    assert not any('dropped' in command for command in commands)
