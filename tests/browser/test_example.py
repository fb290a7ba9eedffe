"""The example in a browser: a user signs in, sends the form, and sees the bar finish."""

import os
import re
import sys

import pytest
from support.environments import ROOT, run
from support.servers import Server

pytestmark = pytest.mark.not_in(webkit='it needs more of Playwright than the adapter for WebKit has')

EXAMPLE = ROOT / 'examples' / 'sqlalchemy'


@pytest.fixture
def start(tmp_path, free_port):
    """Make the database as the README says, and start the server; return its URL and what the first command printed."""
    port = free_port()
    ini = tmp_path / 'development.ini'
    ini.write_text((EXAMPLE / 'development.ini').read_text().replace('localhost:6543', f'127.0.0.1:{port}'))
    environ = os.environ | {'PYTHONPATH': str(EXAMPLE)}
    script = 'from contacts.scripts import initialize_db; initialize_db.main()'
    printed = run(sys.executable, '-c', script, ini, env=environ)
    server = Server([sys.executable, '-m', 'pyramid.scripts.pserve', str(ini)], port, tmp_path / 'log', env=environ)
    yield f'http://127.0.0.1:{port}', dict(re.findall(r'(\w+): +(\S+)', printed))
    server.stop()
    assert 'Traceback' not in server.log


def test_an_import(start, page, tmp_path):
    url, user = start
    page.goto(url)
    page.get_by_label('Name').fill(user['name'])
    page.get_by_label('Password').fill(user['password'])
    page.get_by_role('button', name='Sign in').click()
    rows = ''.join(f'Contact {number},{number}@example.com\n' for number in range(500))
    (tmp_path / 'contacts.csv').write_text(f'name,email\n{rows}')
    page.get_by_label('CSV file').set_input_files(tmp_path / 'contacts.csv')
    page.get_by_role('button', name='Import').click()
    page.wait_for_url(re.compile('/import/[0-9a-f]{32}$'))
    assert page.get_by_role('progressbar', name='Importing contacts').is_visible()
    page.get_by_text('Finished', exact=True).wait_for()
    page.get_by_role('link', name='500 contacts').click()
    page.get_by_text('Contact 0 <0@example.com>').wait_for()

    # The client with the token of the same user finds the task.
    script = 'import sys; from contacts.scripts import client; print(client.Client(*sys.argv[1:]).tasks())'
    printed = run(sys.executable, '-c', script, url, user['token'], env=os.environ | {'PYTHONPATH': str(EXAMPLE)})
    assert "'label': 'Importing contacts'" in printed
