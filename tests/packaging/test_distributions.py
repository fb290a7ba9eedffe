"""Wheel and sdist carry all that an application needs."""

import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: An application that serves itself, asks itself over HTTP for what a page needs, and prints what it got.
APPLICATION = """
import threading, urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid_progress import init_progress_status

with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
    config.include('pyramid_progress')
    config.add_route('page', '/')
    config.add_view(
        lambda request: request.response.__class__(request.progress.assets() + request.progress.bar('a')),
        route_name='page',
    )

class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass

server = make_server('127.0.0.1', 0, config.make_wsgi_app(), handler_class=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
init_progress_status('a', None, 'Out of the wheel')

def get(path):
    with urllib.request.urlopen(f'http://127.0.0.1:{server.server_port}{path}', timeout=10) as answer:
        return answer.headers.get_content_type(), answer.read().decode()

import importlib.metadata, re
page = get('/')[1]
print('Out of the wheel' in page, 'in German too', 'Läuft' in get('/?_LOCALE_=de')[1])
for path in sorted(set(re.findall(r'"(/pyramid_progress/[^"]+)"', page))):
    kind, text = get(path)
    print(path.rsplit('/', 1)[1], kind, len(text) > 500)
    for module in re.findall(r"(?m)(?:^import .* from |import\\()'\\./([a-z_]+\\.js)'", text):
        kind, text = get(path.rsplit('/', 1)[0] + '/' + module)
        print(module, kind, len(text) > 500)
"""


@pytest.fixture(scope='module')
def distributions(tmp_path_factory):
    """Build the sdist, and the wheel from the sdist."""
    directory = tmp_path_factory.mktemp('dist')
    subprocess.run([sys.executable, '-m', 'build', '--outdir', directory, ROOT], check=True, capture_output=True)
    return directory


def test_the_wheel_works_in_a_clean_environment(distributions, tmp_path):
    venv.create(tmp_path / 'env', with_pip=True)
    python = tmp_path / 'env/bin/python'
    (wheel,) = distributions.glob('*.whl')
    subprocess.run([python, '-m', 'pip', 'install', '--quiet', wheel], check=True)
    lines = subprocess.run(
        [python, '-c', APPLICATION], check=True, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ).stdout.splitlines()
    assert 'True in German too True' in lines
    assert 'progress.css text/css True' in lines
    assert 'progress.js text/javascript True' in lines
    assert 'poller.js text/javascript True' in lines
    assert 'form.js text/javascript True' in lines
    assert not [line for line in lines if line.endswith('False')]


def test_the_sdist_has_the_script_and_the_tests(distributions):
    (sdist,) = distributions.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        names = {name.split('/', 1)[1] for name in archive.getnames() if '/' in name}
    assert {
        'static/progress.js',
        'pyramid_progress/static/progress.js',
        'pyramid_progress/py.typed',
        'pyramid_progress/templates/bar.pt',
        'tests/unit/test_docs.py',
        'LICENSE',
        'CHANGES.md',
        'docs/progress.rst',
    } <= names
