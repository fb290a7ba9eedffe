"""The element in WebKit: the system's MiniBrowser, driven by Selenium, which knows fewer things than Playwright."""

import os
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pyramid.config import Configurator
from selenium import webdriver
from selenium.webdriver.common.by import By

from pyramid_progress import init_progress_status

from .pages import Answer, bar
from .pages import serving as serving_pages
from .wsgi import Mary, serving, strictly

pytestmark = [
    pytest.mark.slow,
    # Selenium's own call
    pytest.mark.filterwarnings('ignore:setting remote_server_addr in RemoteConnection:DeprecationWarning'),
]

RUNNING = {'status': 'running', 'label': 'Import', 'message': 'Row 4', 'current': 42, 'length': 100}
FINISHED = RUNNING | {'status': 'finished', 'current': 100}

FORM = """<!DOCTYPE html><html lang="en"><head><title>Form</title>{assets}</head>
<body><form method="post" data-progress><button name="button">Send</button></form></body></html>"""

#: Keeps the states of every bar, in the order in which they are shown.
RECORD = """
    window.states = [];
    addEventListener('progress:update', ({ target }) => states.push(target.state));
"""

#: The parts of the first bar.
READ = """
    const bar = document.querySelector('pyramid-progress');
    if (!bar?.querySelector('progress')) return null;
    const parts = ['label', 'amount', 'state', 'message', 'pace'];
    return Object.fromEntries(parts.map((part) => [part, bar.querySelector(`.pp-${part}`).textContent]));
"""


@pytest.fixture(scope='module')
def display(program):
    """An X display without a screen."""
    xvfb = subprocess.Popen(
        [program('Xvfb', 'xvfb'), '-displayfd', '1', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield f':{xvfb.stdout.readline().strip()}'
    xvfb.terminate()
    xvfb.wait()
    xvfb.stdout.close()


@pytest.fixture(scope='module')
def launch(program, display):
    """Return a function that starts a browser, as a context manager; it takes variables of its environment."""
    service_program = program('WebKitWebDriver', 'webkit2gtk-driver')
    browser = next(Path('/usr/lib').glob('*/webkit2gtk-4.1/MiniBrowser'), None)
    assert browser, 'the package libwebkit2gtk-4.1-0 has no MiniBrowser'

    @contextmanager
    def launch(**environment):
        options = webdriver.WebKitGTKOptions()
        options.binary_location = str(browser)
        options.add_argument('--automation')
        options.page_load_strategy = 'none'  # otherwise scripts wait for a navigation that is pending
        service = webdriver.WebKitGTKService(service_program, env=os.environ | {'DISPLAY': display} | environment)
        driver = webdriver.WebKitGTK(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()

    return launch


@pytest.fixture(scope='module')
def shared_driver(launch):
    """The browser that the tests share."""
    with launch() as driver:
        yield driver


@pytest.fixture
def driver(shared_driver):
    """The browser, on an empty page."""
    shared_driver.get('about:blank')
    return shared_driver


@pytest.fixture
def server():
    """A server of statuses that a test sets."""
    with serving_pages() as server:
        yield server


@pytest.fixture
def show(driver, server, wait_until):
    """Return a function that opens the page with some elements."""

    def show(*elements, **statuses):
        server.body = ''.join(elements)
        server.statuses = statuses
        driver.get(server.url)
        wait_until(lambda: driver.execute_script(READ), 30, 'the page has no bar')
        driver.execute_script(RECORD)

    yield show
    assert server.reports == []


@pytest.fixture
def expect(driver, wait_until):
    """Return a function that waits until parts of the first bar have these texts."""

    def expect(**parts):
        def differs():
            found = driver.execute_script(READ) or {}
            return {part: found.get(part) for part in parts} != parts

        with suppress(AssertionError):
            wait_until(lambda: not differs(), 30)
        assert not differs(), driver.execute_script(READ)

    return expect


def test_from_start_to_end(driver, server, show, expect):
    show(bar('a'))
    expect(state='Waiting to start')
    server.statuses['a'] = RUNNING
    expect(state='Running', amount='42%', label='Import', message='Row 4')
    server.statuses['a'] = FINISHED
    expect(state='Finished', amount='100%')
    assert driver.execute_script('return states') == ['running', 'finished']


def test_a_store_that_is_down_for_some_time(server, show, expect):
    show(bar('a'), a=RUNNING)
    expect(state='Running')
    server.answer = Answer('Sorry', code=503, Retry_After='1')
    expect(state='Connection trouble, trying again', amount='42%')
    server.answer = None
    expect(state='Running')


def test_the_button_asks_the_task_to_stop(driver, server, show, expect):
    server.cancel = Answer(RUNNING | {'status': 'cancelling'})
    show(
        '<pyramid-progress progress-id="a" poll-min="30000" poll-max="30000"><progress max="100"></progress>'
        '<span class="pp-label"></span><span class="pp-amount"></span><span class="pp-state"></span>'
        '<span class="pp-message"></span><span class="pp-pace"></span>'
        '<button type="button" class="pp-cancel" data-action="/progress_cancel">Cancel</button></pyramid-progress>',
        a=RUNNING | {'cancellable': True},
    )
    expect(state='Running')
    driver.find_element(By.CSS_SELECTOR, '.pp-cancel').click()
    expect(state='Cancelling')
    assert server.posts == [{'progress_id': ['a']}]
    assert not driver.find_element(By.CSS_SELECTOR, '.pp-cancel').is_displayed()


def test_the_focus_stays_in_the_bar_when_its_button_is_hidden(driver, server, show, expect):
    show(
        '<pyramid-progress progress-id="a" poll-min="200" poll-max="200"><progress max="100"></progress>'
        '<span class="pp-label"></span><span class="pp-amount"></span><span class="pp-state"></span>'
        '<span class="pp-message"></span><span class="pp-pace"></span>'
        '<button type="button" class="pp-cancel" data-action="/progress_cancel">Cancel</button></pyramid-progress>',
        a=RUNNING | {'cancellable': True},
    )
    expect(state='Running')
    driver.execute_script("document.querySelector('.pp-cancel').focus()")
    server.statuses['a'] = FINISHED
    expect(state='Finished')
    assert driver.execute_script('return document.activeElement.localName') == 'progress'


def test_a_stream(driver, server, show, expect, wait_until):
    server.has_streams = True
    show(bar('a'), a=RUNNING)
    expect(state='Running', amount='42%')
    server.statuses['a'] = RUNNING | {'current': 50}
    expect(amount='50%')
    assert server.polls == []
    server.statuses['a'] = FINISHED
    expect(state='Finished')
    wait_until(lambda: server.polls == [['a']], complaint='the end is not acknowledged')
    wait_until(lambda: not server.streams[0].is_open, complaint='the stream is open after the end')


def test_a_stream_that_is_cut(driver, server, show, expect, wait_until):
    server.has_streams = True
    show(bar('a'), a=RUNNING)
    expect(amount='42%')
    server.streams[0].close()
    wait_until(lambda: server.polls, 1, 'the page does not poll')
    wait_until(lambda: len(server.streams) == 2, 12, 'the page opens no other stream')
    server.statuses['a'] = FINISHED
    expect(state='Finished')
    assert driver.execute_script('return states').count('trouble') == 0


class Application:
    """A form whose POST takes as long as the test says, with some event streams."""

    def __init__(self, streams):
        self.streams = streams
        self.has_posted, self.may_go_on, self.may_end = threading.Event(), threading.Event(), threading.Event()

    def form(self, request):
        request.response.text = FORM.format(assets=request.progress.assets())
        return request.response

    def send(self, request):
        self.has_posted.set()
        with request.progress.start('Sending', length=100) as task:
            for _ in range(40):
                task.advance()
                self.may_go_on.wait(0.1)
            self.may_end.wait(60)
        request.response.text = '<!DOCTYPE html><title>Answer</title><p id="answer">Done</p>'
        return request.response

    @property
    def wsgi(self):
        settings = {'cache.regions': 'default, persistent', 'cache.type': 'memory', 'progress.streams': self.streams}
        with Configurator(settings=settings, security_policy=Mary()) as config:
            config.include('pyramid_progress')
            config.add_route('form', '/')
            config.add_view(self.form, route_name='form', request_method='GET')
            config.add_view(self.send, route_name='form', request_method='POST')
        return config.make_wsgi_app()


@pytest.mark.parametrize('streams', [0, 2])
def test_the_bar_of_a_form_follows_the_work_while_the_answer_is_pending(driver, wait_until, streams):
    """WebKit sends no request of a page whose navigation is pending, except with `keepalive`."""
    application = Application(streams)
    with serving(strictly(application.wsgi)) as url:
        driver.get(url)
        wait_until(lambda: driver.execute_script('return Boolean(document.forms[0])'), 30, 'there is no form')
        driver.execute_script(RECORD)
        button = driver.find_element(By.TAG_NAME, 'button')
        wait_until(
            lambda: driver.execute_script("return Boolean(customElements.get('pyramid-progress'))"), 30, 'no script'
        )
        button.click()
        assert application.has_posted.wait(30)

        def shown():
            return driver.execute_script(READ) or {}

        wait_until(lambda: 'left' in shown().get('pace', ''), 30, 'there is no time left')
        wait_until(lambda: shown().get('amount') == '40%', 30, 'the bar does not follow')
        assert set(driver.execute_script('return states')) == {'running'}
        application.may_end.set()
        wait_until(
            lambda: driver.execute_script("return document.querySelector('#answer')?.textContent"), 30, 'no answer'
        )


def test_a_bar_beside_a_slow_link_goes_on(driver, server, show, expect):
    show(bar('a'), a=RUNNING)
    expect(state='Running')
    with serving(lambda environ, start_response: threading.Event().wait(3) or [b'']) as slow:
        driver.execute_script('location.assign(arguments[0])', slow)
        for current in (50, 60, 70):
            server.statuses['a'] = RUNNING | {'current': current}
            expect(amount=f'{current}%', state='Running')
        assert set(driver.execute_script('return states')) == {'running'}


def test_the_page_of_tasks_is_dark(launch, wait_until):
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.set_security_policy(Mary())
        config.include('pyramid_progress')
    init_progress_status('a', 'mary', 'Import', length=10, current=4)
    with launch(GTK_THEME='Adwaita:dark') as driver, serving(strictly(config.make_wsgi_app())) as url:
        driver.get(f'{url}/progress_tasks')
        wait_until(lambda: driver.execute_script(READ), 30, 'there is no bar')
        assert driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
        canvas, text = driver.execute_script("""
            const probe = document.createElement('div');
            probe.style.backgroundColor = 'Canvas';
            document.body.append(probe);
            const colours = [getComputedStyle(probe).backgroundColor, getComputedStyle(document.body).color];
            return colours.map((colour) => Number(colour.match(/\\d+/)));
        """)
        assert canvas < 60
        assert text > 200
