"""The demo as production.ini runs it: `pserve`, a Celery worker, and a Redis server between them."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

PRODUCTION_INI = Path(__file__).parents[2] / 'production.ini'


def wait_for(condition, seconds=60):
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, 'it did not happen in time'
        time.sleep(0.05)
    return result


class Demo(NamedTuple):
    """All of it."""

    url: str
    folder: Path

    @property
    def log(self):
        return (self.folder / 'log').read_text()

    @property
    def files(self):
        return sorted((self.folder / 'var/demo/files').iterdir())


@pytest.fixture(scope='module')
def demo(program, free_port, tmp_path_factory):
    """Return the demo, once all of it runs."""
    pytest.importorskip('celery')
    folder = tmp_path_factory.mktemp('production')
    web, redis = free_port(), free_port()
    text = PRODUCTION_INI.read_text().replace('localhost:6543', f'127.0.0.1:{web}')
    (folder / 'production.ini').write_text(text.replace('localhost:6379', f'127.0.0.1:{redis}'))
    demo = Demo(f'http://127.0.0.1:{web}', folder)
    with ExitStack() as stack:
        log = stack.enter_context((folder / 'log').open('w'))

        def run(*command):
            process = subprocess.Popen(
                command, cwd=folder, env=os.environ | {'DEMO_INI': 'production.ini'}, stdout=log, stderr=log
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        run(program('redis-server'), '--port', str(redis), '--bind', '127.0.0.1', '--save', '')
        run(
            *(sys.executable, '-m', 'celery', '--app', 'pyramid_progress.demo.worker', 'worker'),
            *('--concurrency', '1', '--loglevel', 'INFO', '--without-gossip', '--without-mingle'),
        )
        run(sys.executable, '-m', 'pyramid.scripts.pserve', 'production.ini')
        wait_for(lambda: ' ready.' in demo.log and f':{web}' in demo.log)
        yield demo
    assert 'Traceback' not in demo.log


class Visitor:
    """A browser without script."""

    def __init__(self, url):
        self._url = url
        self._opener = build_opener(HTTPCookieProcessor())

    def open(self, path, **fields):
        """Return the final URL and the text; with *fields*, a form is sent."""
        body = urlencode(fields).encode() if fields else None
        with self._opener.open(self._url + path, body, timeout=30) as response:
            return response.url, response.read().decode()

    def post(self, path, **fields):
        """Send a form of the index, and return the URL that it led to."""
        token = re.search('name="csrf_token" value="([^"]+)"', self.open('/')[1])[1]
        return self.open(path, csrf_token=token, **fields)[0]

    def start(self, path, **fields):
        """Start a job, and return its progress id."""
        return urlsplit(self.post(path, **fields)).fragment.removeprefix('task-')

    def end_of(self, task_id):
        """Wait until a task has ended, and return its status."""

        def status():
            found = json.loads(self.open(f'/progress_status?progress_id={task_id}')[1])
            return found['status'] in ('finished', 'failed', 'cancelled') and found

        return wait_for(status)


def test_census_from_click_to_result(demo):
    visitor = Visitor(demo.url)
    task_id = visitor.start('/census', package='plaster')
    status = visitor.end_of(task_id)
    assert (status['status'], status['label']) == ('finished', 'Census of plaster')
    assert status['result']['url'] == f'/tasks/{task_id}'
    assert 'loaders.py' in visitor.open(status['result']['url'])[1]
    assert f'worker.count_code[{task_id}] succeeded' in demo.log
    with pytest.raises(URLError):
        Visitor(demo.url).open(status['result']['url'])


def test_import_from_click_to_result(demo):
    visitor = Visitor(demo.url)
    task_id = visitor.start('/import-sample')
    status = visitor.end_of(task_id)
    assert status['status'] == 'finished'
    assert 'U+2603' in visitor.open(f'{status["result"]["url"]}?words=snowman')[1]
    # The upload is gone.
    assert [path.name for path in demo.files] == [f'{task_id}.sqlite']


def test_cancelled_import_leaves_nothing(demo):
    before = demo.files
    visitor = Visitor(demo.url)
    task_id = visitor.start('/import-sample')
    wait_for(lambda: (demo.folder / f'var/demo/files/{task_id}.sqlite').exists())
    visitor.post('/progress_cancel', progress_id=task_id)
    assert visitor.end_of(task_id)['status'] == 'cancelled'
    assert demo.files == before
