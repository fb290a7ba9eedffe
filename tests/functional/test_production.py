"""The demo as production.ini runs it: `pserve`, a Celery worker and a Redis server."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import pytest
from support.servers import RedisServer
from support.visitor import Visitor
from support.waiting import wait_until

PRODUCTION_INI = Path(__file__).parents[2] / 'production.ini'


class Demo(NamedTuple):
    """The running demo."""

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
    """Start the demo, and return it when all of its processes are ready."""
    pytest.importorskip('celery')
    folder = tmp_path_factory.mktemp('production')
    web = free_port()
    text = PRODUCTION_INI.read_text().replace('localhost:6543', f'127.0.0.1:{web}')
    demo = Demo(f'http://127.0.0.1:{web}', folder)
    with ExitStack() as stack:
        redis = RedisServer(program('redis-server'), folder)
        stack.callback(redis.stop)
        (folder / 'production.ini').write_text(text.replace('localhost:6379', f'127.0.0.1:{redis.port}'))
        log = stack.enter_context((folder / 'log').open('w'))

        def run(*command):
            process = subprocess.Popen(
                command, cwd=folder, env=os.environ | {'DEMO_INI': 'production.ini'}, stdout=log, stderr=log
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        run(
            *(sys.executable, '-m', 'celery', '--app', 'pyramid_progress.demo.worker', 'worker'),
            *('--concurrency', '1', '--loglevel', 'INFO', '--without-gossip', '--without-mingle'),
        )
        run(sys.executable, '-m', 'pyramid.scripts.pserve', 'production.ini')
        wait_until(lambda: ' ready.' in demo.log and f':{web}' in demo.log, 60)
        yield demo
    assert 'Traceback' not in demo.log


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
    wait_until(lambda: (demo.folder / f'var/demo/files/{task_id}.sqlite').exists())
    visitor.post('/progress_cancel', progress_id=task_id)
    assert visitor.end_of(task_id)['status'] == 'cancelled'
    assert demo.files == before
