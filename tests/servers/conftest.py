"""Sites: the application on a real server, with a region."""

import json
import os
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from support.servers import RedisServer, Server, free_port
from support.waiting import wait_until

#: Seconds that submitted work gets to finish when its process ends.
DRAIN = 1.5


class Site:
    """The application on a server.

    :param command: the arguments of the server, in which ``{port}`` is replaced
    :param folder: an empty directory
    :param settings: the settings of the application
    """

    def __init__(self, command, folder, settings):
        port = free_port()
        self.url = f'http://127.0.0.1:{port}'
        environ = os.environ | {
            'APP_SETTINGS': json.dumps(settings | {'progress.drain': str(DRAIN)}),
            # uWSGI starts the interpreter again without its virtual environment.
            'PYTHONPATH': os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        }
        command = [argument.format(port=port) for argument in command]
        self.server = Server(command, port, folder / 'log', env=environ, cwd=folder, start_new_session=True)

    @property
    def log(self):
        return self.server.log

    def get(self, path, headers=None, **options):
        """Return the JSON of an answer."""
        return json.loads(self.read(path, headers, **options))

    def read(self, path, headers=None, **options):
        """Return the text of an answer."""
        request = Request(self.url + path, headers=headers or {}, **options)  # noqa: S310
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.read().decode()

    def submit(self, seconds):
        return self.get(f'/submit?seconds={seconds}')['progress_id']

    def status(self, progress_id):
        return self.get(f'/progress_status?progress_id={progress_id}')

    def cancel(self, progress_id):
        body = json.dumps({'progress_id': progress_id}).encode()
        headers = {'Sec-Fetch-Site': 'same-origin', 'Content-Type': 'application/json', 'Accept': 'application/json'}
        return self.get('/progress_cancel', headers, data=body)

    def wait_for(self, progress_id, seconds=15, **values):
        """Wait until a status has these values; a server that is just reloaded may refuse a connection."""
        status = {}

        def is_there():
            nonlocal status
            try:
                status = self.status(progress_id)
            except OSError as error:
                status = {'error': error}
            return values.items() <= status.items() and (values or status['current'])

        try:
            wait_until(is_there, seconds)
        except AssertionError:
            pytest.fail(f'the status is {status}, and not {values}\n{self.log[-3000:]}')

    def stop(self):
        """End the server as an operator does, and wait for it."""
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(DRAIN + 15)


@pytest.fixture(scope='session')
def redis_url(program, tmp_path_factory):
    server = RedisServer(program('redis-server'), tmp_path_factory.mktemp('redis'))
    yield server.url
    server.stop()


@pytest.fixture
def start(tmp_path, redis_url):
    """Return a function that starts the application on a server with a region of a type."""
    with ExitStack() as stack:

        def start(command, region, **more):
            folder = tmp_path / region.replace(':', '-')
            folder.mkdir()
            settings = {'cache.regions': 'default, persistent', 'cache.type': region, 'progress.namespace': str(folder)}
            settings |= {'cache.url': redis_url} if region == 'ext:redis' else {'cache.data_dir': str(folder)}
            site = Site(command, folder, settings | more)
            stack.callback(kill, site.server)
            return site

        yield start


def kill(server):
    """Kill a server and its workers."""
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
