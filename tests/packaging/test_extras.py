"""Each extra, alone in a fresh environment, has all that it is for; so have those that the README names."""

import json
import re
import shutil
import subprocess
from contextlib import ExitStack

import pytest
from support.environments import ROOT
from support.servers import RedisServer, free_port
from support.terminal import CTRL_C, Terminal
from support.visitor import Visitor
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

INI = """\
[app:main]
paste.app_factory = shop:main
cache.regions = default, persistent
cache.type = {type}
cache.url = {url}
cache.data_dir = %(here)s/data
celery.broker = {url}
"""

SHOP = """\
from pathlib import Path
import pyramid_progress
from plaster import get_settings

settings = get_settings(str(Path(__file__).with_name('shop.ini')), 'app:main')
pyramid_progress.configure(settings)

def main(global_config, **settings):
    raise RuntimeError('this is not called')
"""

START = """
import shop
from pyramid_progress import init_progress_status
init_progress_status('customers', 'mary', 'Importing customers', length=10, current=4)
"""


@pytest.fixture
def redis(program, tmp_path):
    """A Redis server."""
    (tmp_path / 'redis').mkdir()
    server = RedisServer(program('redis-server'), tmp_path / 'redis')
    yield server
    server.stop()


@pytest.fixture
def make_shop(tmp_path):
    """Return a function that writes an application with a store of a type, and returns its directory."""

    def make(region_type, url='', module=''):
        folder = tmp_path / 'shop'
        folder.mkdir()
        (folder / 'shop.ini').write_text(INI.format(type=region_type, url=url))
        (folder / 'shop.py').write_text(SHOP + module)
        return folder

    return make


@pytest.fixture
def start_program():
    """Return a function that runs a program until the end of the test, with its output in a file."""
    with ExitStack() as stack:

        def start(command, log, **options):
            output = stack.enter_context(log.open('a'))
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **options)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            return process

        yield start


def table(output):
    """Return the lines of the output of ``pprogress`` as lists of cells, without ages."""
    return [row[:5] + row[6:] for row in (re.split('  +', line) for line in output.splitlines())]


TABLE = [
    ['ID', 'LABEL', 'OWNER', 'STATUS', 'PROGRESS', 'MESSAGE'],
    ['customers', 'Importing customers', 'mary', 'running', '40% 4/10'],
]


def test_without_extras_pprogress_lists_tasks_and_shows_no_warning(make_environment, make_shop):
    environment, folder = make_environment(), make_shop('sqlite')
    environment.run(environment.python, '-c', START, cwd=folder)
    variables = environment.variables | {'PYTHONPATH': str(folder)}
    # pkg_resources, which Pyramid imports, warns since setuptools 80.9.
    imported = subprocess.run(
        [environment.python, '-c', 'import pyramid.path'], capture_output=True, text=True, check=True
    )
    assert 'UserWarning: pkg_resources is deprecated' in imported.stderr
    command = [environment.bin / 'pprogress', folder / 'shop.ini']
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert (done.stderr, table(done.stdout)) == ('', TABLE)


def test_redis(make_environment, make_shop, redis):
    environment, folder = make_environment('redis'), make_shop('ext:redis', redis.url)
    environment.run(environment.python, '-c', START, cwd=folder)
    command = [environment.bin / 'pprogress', 'shop.ini']
    assert table(environment.run(*command, cwd=folder, env={'PYTHONPATH': str(folder)})) == TABLE


def test_terminal(make_environment, make_shop):
    environment, folder = make_environment('terminal'), make_shop('sqlite')
    environment.run(environment.python, '-c', START, cwd=folder)
    command = [str(environment.bin / 'pprogress'), str(folder / 'shop.ini'), '--watch']
    variables = environment.variables | {'TERM': 'xterm', 'PYTHONPATH': str(folder)}
    terminal = Terminal(command, variables, size=(24, 200))
    try:
        terminal.shows('40% 4/10')
        terminal.press(CTRL_C)
        assert terminal.end() == 130
        assert 'Traceback' not in terminal.output
    finally:
        terminal.close()


def test_tqdm(make_environment, make_shop):
    environment, folder = make_environment('tqdm'), make_shop('sqlite')
    script = """
import shop
from pyramid_progress import get_progress_status, start_task
from pyramid_progress.tqdm import tqdm
with start_task('Import') as task:
    for _ in tqdm(range(1000), disable=True):
        pass
    print(task.current, task.length)
print(get_progress_status(task.id)['status'])
"""
    assert environment.run(environment.python, '-c', script, cwd=folder) == '1000 1000\nfinished\n'


def test_toolbar(make_environment, make_shop):
    environment, folder = make_environment('toolbar'), make_shop('sqlite')
    script = """
import re
import shop
from pyramid.config import Configurator
from pyramid.request import Request
import pyramid_progress
settings = {**shop.settings, 'debugtoolbar.includes': 'pyramid_progress.toolbar'}
with Configurator(settings=settings) as config:
    config.include('pyramid_progress')
    config.include('pyramid_debugtoolbar')
    config.add_route('page', '/')
    config.add_view(lambda request: request.response.__class__('<html><body></body></html>'), route_name='page')
app = config.make_wsgi_app()
pyramid_progress.init_progress_status('customers', 'mary', 'Importing customers')
get = lambda path: Request.blank(path, environ={'REMOTE_ADDR': '127.0.0.1'}).get_response(app).text
print(get(re.search('/_debug_toolbar/[0-9a-f]+', get('/')).group()))
"""
    assert 'Importing customers' in environment.run(environment.python, '-c', script, cwd=folder)


TASKS = """
from celery import Celery
from pyramid_progress.celery import ProgressTask

app = Celery('shop', broker=settings['celery.broker'])

@app.task(base=ProgressTask, bind=True)
def export(self, rows):
    for _ in self.progress.track(range(rows)):
        pass
    return {'text': f'{rows} rows'}
"""

SEND = """
import json, time
import shop
from pyramid_progress import get_progress_status
task_id = shop.export.apply_async([5], progress={'label': 'Export'}).id
while (status := get_progress_status(task_id))['status'] in ('pending', 'running'):
    time.sleep(0.05)
print(json.dumps(status))
"""


def test_celery(make_environment, make_shop, redis, start_program):
    environment, folder = make_environment('celery'), make_shop('sqlite', redis.url, TASKS)
    start_program(
        [environment.bin / 'celery', '--app', 'shop', 'worker', '--concurrency', '1'],
        folder / 'log',
        cwd=folder,
        env=environment.variables,
    )
    status = json.loads(environment.run(environment.python, '-c', SEND, cwd=folder, timeout=120))
    assert (status['status'], status['label'], status['result']) == ('finished', 'Export', {'text': '5 rows'})


def wait_for_page(url, log):
    """Wait until a server serves a page; return the visitor."""
    visitor = Visitor(url)

    def serves():
        try:
            return visitor.open('/')
        except OSError:
            return False

    wait_until(serves, 60, f'{url} does not answer')
    return visitor


def take_census(visitor):
    """Take a census in the demo, and check its end."""
    status = visitor.end_of(visitor.start('/census', package='plaster'))
    assert (status['status'], status['label']) == ('finished', 'Census of plaster')
    assert 'loaders.py' in visitor.open(status['result']['url'])[1]


def test_demo(make_environment, tmp_path, start_program):
    environment, port = make_environment('demo'), free_port()
    text = (ROOT / 'development.ini').read_text()
    (tmp_path / 'development.ini').write_text(text.replace('localhost:6543', f'127.0.0.1:{port}'))
    log = tmp_path / 'log'
    start_program([environment.bin / 'pserve', 'development.ini'], log, cwd=tmp_path, env=environment.variables)
    take_census(wait_for_page(f'http://127.0.0.1:{port}', log))
    assert 'Traceback' not in log.read_text()


def test_the_commands_for_production_in_the_readme_work(make_environment, tmp_path, redis, start_program):
    (block,) = re.findall(r'(?m)^    pip install .*celery.*\n(?:    .+\n)+', (ROOT / 'README.md').read_text())
    install, start_redis, *programs = [line.strip() for line in block.splitlines()]
    environment = make_environment(re.fullmatch(r"pip install '\.\[(.+)\]'", install)[1])
    assert start_redis == 'redis-server'  # here it runs on a free port
    port = free_port()
    text = (ROOT / 'production.ini').read_text().replace('localhost:6543', f'127.0.0.1:{port}')
    (tmp_path / 'production.ini').write_text(text.replace('localhost:6379', f'127.0.0.1:{redis.port}'))
    log = tmp_path / 'log'
    assert len(programs) == 2
    for command in programs:
        # `exec`, so that the signal at the end reaches the program and not the shell.
        shell = re.sub(r'^((?:\w+=\S+ )*)', r'\1exec ', command)
        start_program(['sh', '-c', shell], log, cwd=tmp_path, env=environment.variables)
    take_census(wait_for_page(f'http://127.0.0.1:{port}', log))
    assert 'Traceback' not in log.read_text()
    assert shutil.which('celery', path=str(environment.bin))
