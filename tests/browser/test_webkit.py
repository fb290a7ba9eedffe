"""What only WebKit does, or does in its own way; the other tests run in it as well: see webkit.py."""

import threading

import pytest
from pyramid.config import Configurator

from pyramid_progress import init_progress_status
from pyramid_progress.demo import main
from pyramid_progress.demo.states import STATES

from .findings import boxes_in_the_way, scrolls_sideways, violations
from .pages import bar
from .pages import serving as serving_pages
from .test_markup import Application as MarkupApplication
from .wsgi import Mary, serving, strictly

pytestmark = pytest.mark.slow

RUNNING = {'status': 'running', 'label': 'Import', 'message': 'Row 4', 'current': 42, 'length': 100}

FORM = """<!DOCTYPE html><html lang="en"><head><title>Form</title>{assets}</head>
<body><form method="post" data-progress><button name="button">Send</button></form></body></html>"""

#: Keeps the states of every bar, in the order in which they are shown.
RECORD = """
    window.states = [];
    addEventListener('progress:update', ({ target }) => states.push(target.state));
"""


@pytest.fixture(scope='module')
def engine():
    """The name of the browser."""
    return 'webkit'


@pytest.fixture
def server():
    """A server of statuses that a test sets."""
    with serving_pages() as server:
        yield server
    assert server.reports == []


def expect(page, part, text):
    """Wait until a part of the first bar has a text."""
    page.locator(f'.pp-{part}', has_text=text).first.wait_for()


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


def test_the_errors_of_a_page_are_noted(page, server):
    """As in the other engines, where the driver reports them."""
    errors = []
    page.on('pageerror', errors.append)
    page.add_init_script("Promise.reject('one'); console.error('two'); throw new Error('three')")
    page.goto(server.url)
    page.wait_for_timeout(100)
    page.evaluate('1')
    assert sorted(errors) == ['Error: three', 'one', 'two']


@pytest.mark.parametrize('streams', [0, 2])
def test_the_bar_of_a_form_follows_the_work_while_the_answer_is_pending(page, streams):
    """WebKit sends no request of a page whose navigation is pending, except with `keepalive`."""
    application = Application(streams)
    page.add_init_script(RECORD)
    with serving(strictly(application.wsgi)) as url:
        page.goto(url, wait_until='networkidle')
        page.get_by_role('button', name='Send').click()
        assert application.has_posted.wait(30)
        expect(page, 'pace', 'left')
        expect(page, 'amount', '40%')
        assert set(page.evaluate('states')) == {'running'}
        application.may_end.set()
        page.locator('#answer').wait_for()


def test_a_bar_beside_a_slow_link_goes_on(page, server):
    server.body, server.statuses = bar('a'), {'a': RUNNING}
    page.add_init_script(RECORD)
    page.goto(server.url)
    expect(page, 'state', 'Running')
    with serving(slow_answer) as slow:
        page.evaluate('(url) => location.assign(url)', slow)
        for current in (50, 60, 70):
            server.statuses['a'] = RUNNING | {'current': current}
            expect(page, 'amount', f'{current}%')
        assert set(page.evaluate('states')) == {'running'}


def slow_answer(environ, start_response):
    threading.Event().wait(3)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'']


def test_a_tab_in_the_background_has_no_stream(page, server, wait_until):
    """In the other engines, the tests hide pages by a script, because no tab of their drivers is ever hidden."""
    server.has_streams = True
    server.body, server.statuses = bar('a'), {'a': RUNNING}
    page.goto(server.url)
    expect(page, 'amount', '42%')
    tab = page.context.new_page('tab')
    tab.goto(server.url)
    assert tab.evaluate('document.hidden')
    tab.wait_for_timeout(1000)
    assert len(server.streams) == 1
    assert not page.evaluate('document.hidden')
    server.statuses['a'] = RUNNING | {'status': 'finished'}
    for each in (page, tab):
        expect(each, 'state', 'Finished')


@pytest.mark.parametrize('button', ['Cancel', 'Save'])
def test_a_bar_in_a_form_without_script(launch_webkit, wait_until, button):
    """The page has no script; the driver runs its own in it, but must not while the page is replaced."""
    application = MarkupApplication(has_session=False)
    with launch_webkit('--enable-javascript=false') as driver, serving(application.wsgi) as url:
        driver.get(f'{url}/form')
        wait_until(lambda: driver.title == 'Bars', 30, 'the page is not loaded')
        (target,) = driver.execute_script(
            """const { shadowRoot } = document.querySelector('.pp-no-script');
            const buttons = [...document.querySelectorAll('button'), ...shadowRoot.querySelectorAll('button')];
            return buttons.filter((button) => button.checkVisibility() && button.textContent === arguments[0]);""",
            button,
        )
        target.click()
        if button == 'Cancel':
            assert application.is_cancelled()
            assert application.posts == []
        else:
            wait_until(lambda: application.posts, 30, 'nothing was sent')
            assert application.posts == [{'before': '1', 'after': '2', 'save': 'yes'}]
    application.task.finish()


@pytest.fixture(scope='module')
def demo_url(demo_settings):
    """The demo, under a strict content security policy."""
    with serving(strictly(main({}, **demo_settings))) as url:
        yield url


def wait_for_states(page):
    for example in STATES:
        page.locator(f'#{example.id} pyramid-progress[state={example.title}]').wait_for()


def test_nothing_scrolls_sideways_at_400_percent(page, demo_url):
    """In a frame, because no window is as narrow as that; the states are those of a page in a frame, too."""
    html = f'<!DOCTYPE html><title>Frame</title><iframe src="{demo_url}/states" width="320" height="256"></iframe>'

    def outer(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/html')])
        return [html.encode()]

    with serving(outer) as url:
        page.goto(url)
        page.driver.switch_to.frame(0)
        wait_for_states(page)
        assert page.evaluate('innerWidth') == 320
        assert not scrolls_sideways(page)
        assert boxes_in_the_way(page) == []
        page.driver.switch_to.default_content()


@pytest.fixture(scope='module')
def dark(browser):
    """A page in a browser whose system is dark."""
    context = browser.new_context(color_scheme='dark')
    yield context.new_page()
    context.close()


WIDE = {'width': 1280, 'height': 1024}


def test_the_page_of_tasks_is_dark(dark):
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.set_security_policy(Mary())
        config.include('pyramid_progress')
    init_progress_status('a', 'mary', 'Import', length=10, current=4)
    with serving(strictly(config.make_wsgi_app())) as url:
        dark.goto(f'{url}/progress_tasks')
        expect(dark, 'amount', '40%')
        assert dark.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        canvas, text = dark.evaluate("""() => {
            const probe = document.createElement('div');
            probe.style.backgroundColor = 'Canvas';
            document.body.append(probe);
            const colours = [getComputedStyle(probe).backgroundColor, getComputedStyle(document.body).color];
            return colours.map((colour) => Number(colour.match(/\\d+/)));
        }""")
        assert canvas < 60
        assert text > 200
        assert violations(dark, WIDE, 'color-contrast-enhanced', color_scheme='dark') == {}


@pytest.mark.parametrize('path', ['/', '/states'])
def test_axe_finds_nothing_in_the_dark(dark, demo_url, path):
    dark.goto(demo_url + path)
    if path == '/':
        dark.get_by_role('button', name='Import the sample').click()
        dark.locator('progress[value]').first.wait_for()
    else:
        wait_for_states(dark)
    assert violations(dark, WIDE, color_scheme='dark') == {}
