"""The demo as `pserve development.ini` runs it, in a real browser: from the click to the result."""

import re
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.servers import Server

DEVELOPMENT_INI = Path(__file__).parents[2] / 'development.ini'
MAX_UPLOAD = 1_000_000

#: The jobs are real work, which takes long on a busy machine.
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.not_in(webkit='it needs more of Playwright than the adapter for WebKit has'),
]


@pytest.fixture(scope='module', autouse=True)
def _patience():
    """The jobs are real work, which takes long on a busy machine."""
    expect.set_options(timeout=60_000)
    yield
    expect.set_options(timeout=5_000)


class Demo(Server):
    """`pserve` with a copy of development.ini, and so with data of its own beside that copy."""

    def __init__(self, folder, port):
        self.url = f'http://127.0.0.1:{port}'
        self._folder = folder
        ini = folder / 'development.ini'
        text = DEVELOPMENT_INI.read_text()
        for setting, value in {'listen': f'127.0.0.1:{port}', 'demo.max_upload': MAX_UPLOAD}.items():
            text, found = re.subn(rf'(?m)^{re.escape(setting)} = .*$', f'{setting} = {value}', text)
            assert found == 1, setting
        ini.write_text(text)
        super().__init__([sys.executable, '-m', 'pyramid.scripts.pserve', str(ini)], port, folder / 'log')

    def stop(self):
        """Let it end as an operator does."""
        self.process.terminate()
        self.process.wait(10)

    def files(self, name):
        """What the demo keeps whose name begins so."""
        return list(self._folder.joinpath('var/demo/files').glob(f'{name}*'))


@contextmanager
def serving(folder, port):
    server = Demo(folder, port)
    try:
        yield server
    finally:
        server.stop()
    assert 'Traceback' not in server.log


@pytest.fixture(scope='module')
def server(tmp_path_factory, free_port):
    with serving(tmp_path_factory.mktemp('demo'), free_port()) as server:
        yield server


@pytest.fixture
def page(page):
    """The page; whatever the browser complains of, scripts and security policy, is an error."""
    complaints = watch(page)
    yield page
    assert complaints == []


def watch(page):
    complaints = []

    def on_console(message):
        # A page of the add-on has no icon, so the browser looks for that of the site.
        if message.type == 'error' and not message.location['url'].endswith('/favicon.ico'):
            complaints.append(message.text)

    page.on('pageerror', lambda error: complaints.append(str(error)))
    page.on('console', on_console)
    return complaints


def count(page, server, package):
    """Start a census and return its card."""
    page.goto(server.url)
    page.get_by_label('Package', exact=True).select_option(package)
    page.get_by_role('button', name='Count').click()
    return page.get_by_role('article', name=f'Census of {package}')


def import_sample(page, server):
    """Start the import of the sample and return its card."""
    page.goto(server.url)
    page.get_by_role('button', name='Import the sample').click()
    return page.get_by_role('article', name=re.compile('Import of unicode'))


def import_file(page, server, content, name='animals.csv'):
    """Upload a file and return the card of its import."""
    page.goto(server.url)
    page.get_by_label('CSV file', exact=True).set_input_files({'name': name, 'mimeType': 'text/csv', 'buffer': content})
    page.get_by_role('button', name='Import', exact=True).click()
    return page.get_by_role('article', name=f'Import of {name}')


def wait_until_it_moves(card, above=0):
    card.page.wait_for_function(
        '([bar, above]) => bar.value > above && bar.value < bar.max',
        arg=[card.locator('progress').element_handle(), above],
    )
    return card.locator('progress').evaluate('bar => bar.value')


def test_census_from_click_to_result(page, server):
    card = count(page, server, 'pyramid')
    expect(card.locator('.outcome')).to_contain_text('Files:')
    expect(card.locator('tbody tr')).to_have_count(10)
    expect(card.get_by_role('row', name=re.compile('^config '))).to_be_visible()
    card.get_by_role('link', name=re.compile('^All [0-9]+ parts')).click()
    expect(page.get_by_role('row', name=re.compile('^router.py '))).to_be_visible()


def test_import_from_click_to_result_with_a_reload_and_a_second_tab(page, server):
    card = import_sample(page, server)
    before = wait_until_it_moves(card)
    page.reload()
    assert wait_until_it_moves(card) >= before
    tab = page.context.new_page()
    complaints = watch(tab)
    tab.goto(server.url)
    in_tab = tab.get_by_role('article', name=re.compile('Import of unicode'))
    expect(in_tab.get_by_role('progressbar')).to_be_visible()
    for there in (card, in_tab):
        expect(there.locator('.outcome')).to_contain_text(re.compile(r'Rows: 1\d\d,\d\d\d'))
        expect(there.locator('pyramid-progress')).to_have_attribute('state', 'finished')
    assert complaints == []
    page.reload()
    expect(card.get_by_role('progressbar')).to_have_count(0)
    card.get_by_role('link', name='Look at the rows').click()
    page.get_by_label('Find rows with these words').fill('snowman')
    page.get_by_role('button', name='Find').click()
    expect(page.get_by_role('row', name=re.compile('U.2603 SNOWMAN'))).to_be_visible()


def test_malformed_file_fails_with_its_line(page, server):
    card = import_file(page, server, b'name,legs\n' + b'cat,4\n' * 10_000 + b'hen\n')
    sentence = 'Line 10002 has 1 cell; line 1 names 2 columns.'
    expect(card.locator('pyramid-progress')).to_have_attribute('state', 'failed')
    expect(card).to_contain_text(sentence)
    page.reload()
    expect(card).to_contain_text(sentence)


def test_hostile_name_is_text(page, server):
    hostile = '<img src=x onerror=alert(1)>.csv'
    page.on('dialog', lambda dialog: pytest.fail('a script ran'))
    card = import_file(page, server, f'{hostile}\n{hostile}\n'.encode(), hostile)
    expect(card.get_by_role('rowheader', name=hostile)).to_be_visible()
    expect(page.locator('main img')).to_have_count(0)


def test_file_that_is_too_large_is_not_sent(page, server):
    page.goto(server.url)
    field = page.get_by_label('CSV file', exact=True)
    field.set_input_files({'name': 'x.csv', 'mimeType': 'text/csv', 'buffer': b'x' * (MAX_UPLOAD + 1)})
    assert field.evaluate('field => field.validationMessage') == 'This file is larger than 1 MB.'
    page.get_by_role('button', name='Import', exact=True).click()
    expect(page).to_have_url(f'{server.url}/')
    field.set_input_files({'name': 'x.csv', 'mimeType': 'text/csv', 'buffer': b'x\n1\n'})
    page.get_by_role('button', name='Import', exact=True).click()
    expect(page.get_by_role('article', name='Import of x.csv')).to_contain_text('Rows: 1')


def test_two_visitors_side_by_side(page, server, browser):
    mine = import_sample(page, server)
    wait_until_it_moves(mine)
    context = browser.new_context()
    other = context.new_page()
    complaints = watch(other)
    theirs = count(other, server, 'plaster')
    expect(theirs.locator('.outcome')).to_contain_text('Files:')
    expect(other.get_by_role('article')).to_have_count(1)
    wait_until_it_moves(mine)
    page.reload()
    expect(page.get_by_role('article')).to_have_count(1)
    context.close()
    assert complaints == []


@pytest.mark.not_in(firefox='its driver ignores java_script_enabled')
def test_without_script(browser, server):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    card = count(page, server, 'plaster')
    while not card.locator('.outcome').count():
        card.get_by_role('link', name='Refresh').click()
    expect(card.get_by_role('rowheader', name='loaders.py')).to_be_visible()
    context.close()


def test_cancelled_import_leaves_nothing(page, server):
    card = import_sample(page, server)
    wait_until_it_moves(card)
    card.get_by_role('button', name='Cancel').click()
    expect(card.locator('pyramid-progress')).to_have_attribute('state', 'cancelled')
    expect(card.get_by_role('button', name='Cancel')).to_be_hidden()
    page.reload()
    expect(card.locator('pyramid-progress')).to_have_attribute('state', 'cancelled')
    task_id = card.get_attribute('id').removeprefix('task-')
    assert not server.files(task_id)


def test_tasks_page_lists_what_goes_on(page, server):
    wait_until_it_moves(import_sample(page, server))
    page.get_by_role('link', name='All your tasks').click()
    items = page.locator('.pp-tasks > ol > li')
    expect(items).to_have_count(1)
    (task,) = items.all()
    expect(task.get_by_role('progressbar', name=re.compile('Import of unicode'))).to_be_visible()
    task.get_by_role('button', name='Cancel').click()
    expect(task.locator('pyramid-progress')).to_have_attribute('state', 'cancelled')


def test_toolbar_has_its_panel(page, server):
    page.goto(server.url)
    with page.expect_popup() as popup:
        page.get_by_title('Show Toolbar').click()
    complaints = watch(popup.value)
    popup.value.get_by_role('link', name='Global', exact=True).click()
    popup.value.get_by_role('link', name='Progress', exact=True).click()
    expect(popup.value.get_by_text('SqliteStorage')).to_be_visible()
    assert complaints == []


def test_task_whose_server_was_stopped_has_failed(browser, tmp_path, free_port):
    context = browser.new_context()
    page = context.new_page()
    with serving(tmp_path, free_port()) as server:
        card = import_sample(page, server)
        wait_until_it_moves(card)
        server.stop()
        expect(card.locator('pyramid-progress')).to_have_attribute('state', 'trouble')
        server.start()
        expect(card.locator('pyramid-progress')).to_have_attribute('state', 'failed')
        page.reload()
        expect(card).to_contain_text('This task was interrupted.')
    context.close()
