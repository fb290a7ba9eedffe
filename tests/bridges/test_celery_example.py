"""The example with Celery, with a Redis server and the commands of its README."""

import ast
import io
import os
import re
import shlex
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
from zipfile import ZipFile

import pytest
from pyramid.paster import get_appsettings
from support.examples import EXAMPLES, GUIDES, load
from support.servers import RedisServer
from support.visitor import Visitor
from support.waiting import wait_until

from pyramid_progress import configure, testing

pytest.importorskip('celery')

from celery import Celery

EXAMPLE = EXAMPLES / 'celery'


class Site(Visitor):
    """A visitor of the running example."""

    def __init__(self, url, log):
        super().__init__(url)
        self.url = url
        self.log = log
        self.ini_file = log.with_name('production.ini')

    def send(self, button):
        """Press a button, and return the progress id in the URL of the page."""
        path = self.post('/', **{button: 'yes'}).removeprefix(self.url)
        progress_id = path.removeprefix('/reports/')
        assert f'progress-id="{progress_id}"' in self.open(path)[1]
        return progress_id

    def download(self, status):
        with urlopen(self.url + status['result']['url']) as answer:  # noqa: S310
            return answer.read()


def command(program):
    """Return the arguments and the environment variables of a program, as the README starts it."""
    (line,) = re.findall(
        rf'^    ((?:\w+=\S+ )*{program} .+?)(?:  +#.*)?$', (EXAMPLE / 'README.md').read_text(), re.MULTILINE
    )
    words = shlex.split(line)
    name = words.index(program)
    return words[name:], dict(word.split('=', 1) for word in words[:name])


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
        environ = os.environ | {'PYTHONPATH': str(EXAMPLE)}

        def run(name, *options):
            (_, *arguments), variables = command(name)
            process = subprocess.Popen(
                [Path(sys.executable).with_name(name), *arguments, *options],
                cwd=folder,
                env=environ | variables,
                stdout=output,
                stderr=output,
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        run('celery', '--concurrency', '2', '--loglevel', 'INFO', '--without-gossip', '--without-mingle')
        run('pserve')
        wait_until(lambda: ' ready.' in log.read_text() and f':{port}' in log.read_text(), 60)
        yield Site(f'http://127.0.0.1:{port}', log)
    assert 'Traceback' not in log.read_text()


def test_a_chord(site):
    status = site.end_of(site.send('chord'))
    assert (status['status'], status['label'], status['current']) == ('finished', 'Archive of all countries', 6)
    assert status['parts'] == {'ended': 6, 'total': 6}
    assert len(ZipFile(io.BytesIO(site.download(status))).namelist()) == 5


def run_in_worker(program):
    """Run a program that imports the module of the tasks, and return what it printed."""
    environ = os.environ | {'PYTHONPATH': str(EXAMPLE), 'SALES_INI': str(EXAMPLE / 'production.ini')}
    command = [sys.executable, '-c', textwrap.dedent(program)]
    return subprocess.run(command, env=environ, capture_output=True, check=True, text=True, timeout=60).stdout


@pytest.mark.parametrize('path', ['/reports/' + 'a' * 256, '/reports/%01', '/reports/unknown', '/reports/'])
def test_the_url_of_a_page_has_an_id_that_the_example_makes(site, path):
    with pytest.raises(HTTPError, match='404'):
        site.open(path)


def test_a_killed_worker_s_messages_are_delivered_again():
    program = """
        from sales.worker import app

        print({name: task.acks_late for name, task in app.tasks.items() if name.startswith('sales.')})
    """
    assert ast.literal_eval(run_in_worker(program)) == {
        'sales.worker.make_archive': True,
        'sales.worker.write_report': True,
    }


def test_a_worker_keeps_its_application():
    program = """
        import gc
        from pathlib import Path
        from sales.worker import make_application, result_of

        make_application()
        gc.collect()
        print(result_of(Path('a.csv'), 'Sales')['url'])
    """
    assert run_in_worker(program) == '/files/a.csv\n'


@pytest.mark.slow
def test_a_message_from_elsewhere(site, monkeypatch):
    """The example of docs/guides/celery.md, whose sender does not have the module of the tasks."""
    monkeypatch.syspath_prepend(EXAMPLE)  # the ini file names the application
    settings = get_appsettings(str(site.ini_file))
    configure(settings)
    sender = Celery('sender', broker=settings['celery.broker'], set_as_current=False)
    progress_id = load(GUIDES / 'send_task.py').send_report(testing.DummyRequest(), sender, 'France')
    status = testing.wait_for(progress_id)
    assert status['label'] == 'Sales of France'
    assert status['result']['url'] == f'/files/France-{progress_id}.csv'


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
