"""The example with Celery, as its README starts it: `pserve`, a worker, and a Redis server."""

import io
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen
from zipfile import ZipFile

import pytest
from support.servers import RedisServer
from support.visitor import Visitor
from support.waiting import wait_until

pytest.importorskip('celery')

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'celery'


class Site(Visitor):
    """A visitor of the running example."""

    def __init__(self, url, log):
        super().__init__(url)
        self.url = url
        self.log = log

    def send(self, button):
        """Press a button, and return the progress id in the URL of the page."""
        url = self.post('/', **{button: 'yes'})
        (progress_id,) = parse_qs(urlsplit(url).query)['progress_id']
        assert f'progress-id="{progress_id}"' in self.open(f'/?progress_id={progress_id}')[1]
        return progress_id

    def download(self, status):
        with urlopen(self.url + status['result']['url']) as answer:  # noqa: S310
            return answer.read()


@pytest.fixture(scope='module')
def site(program, free_port, tmp_path_factory):
    folder = tmp_path_factory.mktemp('sales')
    port = free_port()
    log = folder / 'log'
    with ExitStack() as stack:
        redis = RedisServer(program('redis-server'), folder)
        stack.callback(redis.stop)
        text = (EXAMPLE / 'production.ini').read_text().replace('localhost:6379', f'127.0.0.1:{redis.port}')
        (folder / 'production.ini').write_text(text.replace('localhost:6543', f'127.0.0.1:{port}'))
        output = stack.enter_context(log.open('w'))
        environ = os.environ | {'SALES_INI': 'production.ini', 'PYTHONPATH': str(EXAMPLE)}

        def run(*command):
            process = subprocess.Popen(
                [sys.executable, '-m', *command], cwd=folder, env=environ, stdout=output, stderr=output
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        quick = ('--without-gossip', '--without-mingle')
        run('celery', '--app', 'sales.worker', 'worker', '--concurrency', '2', '--loglevel', 'INFO', *quick)
        run('pyramid.scripts.pserve', 'production.ini')
        wait_until(lambda: ' ready.' in log.read_text() and f':{port}' in log.read_text(), 60)
        yield Site(f'http://127.0.0.1:{port}', log)
    assert 'Traceback' not in log.read_text()


def test_a_chord(site):
    status = site.end_of(site.send('chord'))
    assert (status['status'], status['label'], status['current']) == ('finished', 'Archive of all countries', 6)
    assert status['parts'] == {'ended': 6, 'total': 6}
    assert len(ZipFile(io.BytesIO(site.download(status))).namelist()) == 5


@pytest.mark.slow
def test_one_task(site):
    status = site.end_of(site.send('one'))
    assert (status['status'], status['length']) == ('finished', 12)
    assert site.download(status).startswith(b'France,1\n')


@pytest.mark.slow
def test_a_group(site):
    status = site.end_of(site.send('group'))
    assert (status['status'], status['parts']) == ('finished', {'ended': 5, 'total': 5})


@pytest.mark.slow
def test_a_cancelled_group(site):
    progress_id = site.send('group')
    wait_until(lambda: '"running"' in site.open(f'/progress_status?progress_id={progress_id}')[1])
    site.post('/progress_cancel', progress_id=progress_id)
    assert site.end_of(progress_id)['status'] == 'cancelled'
