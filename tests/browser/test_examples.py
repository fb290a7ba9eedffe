"""The examples of the tutorial and the guides in a browser, each on its own server."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from support.environments import ROOT, run
from support.examples import EXAMPLES, GUIDES
from support.servers import Server

TUTORIAL = EXAMPLES / 'tutorial' / 'app.py'
TOOLS = ROOT / 'node_modules' / '.bin'


@pytest.fixture(scope='module')
def engine():
    """The name of the browser: the bars have tests with the others."""
    return 'chromium'


@pytest.fixture
def start(tmp_path, free_port):
    """Return a function that starts the server of an example, and returns its URL."""
    servers = []

    def start(code, folder=tmp_path):
        port = free_port()
        assert 'localhost:6543' in code
        (folder / 'app.py').write_text(code.replace('localhost:6543', f'127.0.0.1:{port}'))
        servers.append(Server([sys.executable, 'app.py'], port, tmp_path / 'log', cwd=folder))
        return f'http://127.0.0.1:{port}'

    yield start
    for server in servers:
        server.stop()
        assert 'Traceback' not in server.log


def press_import(page, url):
    """Start the work of the tutorial."""
    page.goto(url)
    page.get_by_role('button', name='Import').click()
    page.wait_for_url(re.compile('/imports/[0-9a-f]{32}$'))


def test_the_tutorial(start, page, tmp_path):
    wait = "while number == 50 and not pathlib.Path('go').exists():\n            time.sleep(0.01)"
    press_import(page, start('import pathlib\n' + TUTORIAL.read_text().replace('time.sleep(0.1)', wait)))
    for _ in range(2):  # loaded once more
        page.get_by_text('Customer 51', exact=True).wait_for()
        page.get_by_text('50%', exact=True).wait_for()
        page.reload()
    (tmp_path / 'go').touch()
    page.get_by_text('Finished', exact=True).wait_for()
    page.get_by_role('link', name='100 customers').click()
    page.get_by_role('button', name='Import').wait_for()


@pytest.mark.slow
def test_the_cancel_button_of_the_tutorial(start, page):
    press_import(page, start(TUTORIAL.read_text()))
    page.get_by_role('button', name='Cancel').click()
    page.get_by_text('Cancelled', exact=True).wait_for()


@pytest.mark.slow
def test_the_error_of_the_tutorial(start, page):
    document = (ROOT / 'docs' / 'tutorial.md').read_text()
    (lines,) = re.findall(r'```python\n(.*?)```', document, re.DOTALL)
    code = TUTORIAL.read_text().replace('        time.sleep(0.1)\n', f'{lines}        time.sleep(0.01)\n')
    press_import(page, start(f'import pyramid_progress\n{code}'))
    page.get_by_text('Customer 51 has no name.', exact=True).wait_for()
    assert page.locator('pyramid-progress').get_attribute('state') == 'failed'


#: Notes what a bar shows. Playwright waits for the answer before it looks at a page whose form is being sent.
NOTE_BAR = """setInterval(() => {
    const bar = document.querySelector('pyramid-progress progress');
    if (bar?.checkVisibility()) localStorage[bar.ariaLabel] = bar.value;
}, 50);"""


def send_file(page, tmp_path, rows):
    """Send the form with a file."""
    (tmp_path / 'customers.csv').write_text('name\n' + rows)
    page.get_by_label('CSV file').set_input_files(tmp_path / 'customers.csv')
    page.get_by_role('button', name='Import').click()


def test_the_form(start, page, tmp_path):
    page.add_init_script(NOTE_BAR)
    page.goto(start((EXAMPLES / 'form' / 'app.py').read_text()))
    send_file(page, tmp_path, 'Ada\n' * 20)
    page.get_by_text('20 customers were imported.').wait_for()
    assert 0 < float(page.evaluate("localStorage['Importing customers']")) < 100


@pytest.mark.slow
def test_the_form_with_an_invalid_file(start, page, tmp_path):
    page.goto(start((EXAMPLES / 'form' / 'app.py').read_text()))
    send_file(page, tmp_path, 'Ada\n""\n')
    page.get_by_text('The import has ended. Row 2 has no name.').wait_for()


@pytest.mark.slow
def test_a_report_at_a_permanent_url(start, page, tmp_path):
    wait = "while month == 6 and not Path('go').exists():\n            time.sleep(0.01)"
    url = start((GUIDES / 'reports.py').read_text().replace('time.sleep(0.2)', wait)) + '/reports/2026'
    page.goto(url)
    page.get_by_text('There is no report.').wait_for()
    page.get_by_role('button', name='Make the report').click()
    page.get_by_role('progressbar', name='Report of 2026').wait_for()
    (tmp_path / 'go').touch()
    page.get_by_text('The sales of 2026').wait_for()
    assert page.url == url


@pytest.mark.slow
def test_the_single_page_client(start, page, program, tmp_path):
    npm = program('npm')
    folder = tmp_path / 'spa'
    shutil.copytree(EXAMPLES / 'spa', folder, ignore=shutil.ignore_patterns('node_modules', 'dist', 'data'))
    (folder / 'package.json').write_text('{"private": true, "type": "module"}')
    run(npm, 'install', '--offline', '--no-audit', '--no-fund', ROOT / 'static', cwd=folder)
    document = (ROOT / 'docs' / 'guides' / 'clients.md').read_text()
    for command in re.findall(r'(?m)^\$ npx (.*)$', document):
        name, *arguments = command.split()
        done = subprocess.run([TOOLS / name, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    page.goto(start((folder / 'app.py').read_text(), folder))
    page.get_by_role('button', name='Export').click()
    page.get_by_role('progressbar', name='Export of 2026').wait_for()
    page.wait_for_function('document.title.endsWith("% of Export of 2026")')
    page.get_by_role('link', name='Download').wait_for()
    assert page.title() == 'Sales'
    assert page.get_by_text('Finished', exact=True).is_visible()
    page.get_by_role('button', name='Export').click()
    page.get_by_role('button', name='Cancel').click()
    page.get_by_text('Cancelled', exact=True).wait_for()


@pytest.mark.slow
def test_the_types_for_react(tmp_path):
    folder = tmp_path / 'react'
    shutil.copytree(EXAMPLES / 'spa' / 'react', folder)
    modules = folder / 'node_modules'
    (modules / '@types').mkdir(parents=True)
    for name in ('@types/react', 'csstype'):
        (modules / name).symlink_to(ROOT / 'node_modules' / name)
    (modules / 'pyramid-progress').symlink_to(ROOT / 'static')
    options = json.loads((EXAMPLES / 'spa' / 'tsconfig.json').read_text())
    options['compilerOptions'] |= {'jsx': 'react-jsx', 'types': []}
    (folder / 'tsconfig.json').write_text(json.dumps(options | {'include': ['*']}))
    done = subprocess.run([TOOLS / 'tsc'], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ('scheme', 'colour'),
    [pytest.param('light', 'rgb(102, 51, 153)', marks=pytest.mark.slow), ('dark', 'rgb(147, 112, 219)')],
)
def test_the_style_sheet(start, page, scheme, colour):
    press_import(page, start(TUTORIAL.read_text()))
    page.emulate_media(color_scheme=scheme)
    page.add_style_tag(path=GUIDES / 'theme.css')
    shown = page.locator('pyramid-progress').evaluate(
        """(element) => {
          const probe = element.appendChild(document.createElement('i'));
          probe.style.color = 'var(--pp-fill)';
          return [getComputedStyle(probe).color, getComputedStyle(element.querySelector('progress')).height];
        }"""
    )
    assert shown == [colour, '16px']
