"""The element in a real browser, with event streams: it polls only where there is none."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response

from pyramid_progress import get_running_tasks, init_progress_status, set_progress_status
from pyramid_progress.asgi import EventsApplication
from pyramid_progress.web.streams import stream as server_stream

from .pages import Answer, bar, expect, serving
from .wsgi import serving as serving_wsgi
from .wsgi import strictly

slow = pytest.mark.slow

RUNNING = {'status': 'running', 'label': 'Import', 'message': 'Row 4', 'current': 42, 'length': 100}
FINISHED = RUNNING | {'status': 'finished', 'current': 100}
TROUBLE = 'Connection trouble, trying again'
SIGNED_OUT = 'Signed out: sign in, then reload this page'

#: Keeps the states that bars show, from before the first one is there.
RECORD = """
    window.states = [];
    addEventListener('progress:update', ({ target }) => states.push(target.state));
"""

#: A page polls and opens streams at random times: the earliest ones.
PROMPT = 'Math.random = () => 0.1;'

#: Hides a page and shows it: a driver cannot.
TURN = """(isHidden) => {
    Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.fixture
def server():
    with serving() as server:
        server.has_streams = True
        yield server


@pytest.fixture
def show(server, page):
    """Return a function that opens the page with some elements; afterwards nothing may have gone wrong in it."""
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
    page.add_init_script(RECORD + PROMPT)

    def show(*elements, **statuses):
        server.body = ''.join(elements)
        server.statuses = statuses
        page.goto(server.url)
        return page

    yield show
    assert [error for error in errors if not error.startswith('Failed to load resource')] == []
    assert server.reports == []


def open_streams(server):
    return [stream for stream in server.streams if stream.is_open]


def test_from_start_to_end_without_a_poll(show, server, page, wait_until):
    show(bar('a'), bar('b'), b=RUNNING)
    expect(page, 'a', state='Waiting to start')
    for current in (10, 20, 30):
        server.statuses['a'] = RUNNING | {'current': current}
        expect(page, 'a', amount=f'{current}%')
    assert [stream.progress_ids for stream in server.streams] == [['a', 'b']]
    assert server.polls == []
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')
    wait_until(lambda: server.polls == [['a']], complaint='the end is not acknowledged')
    server.statuses['b'] = RUNNING | {'status': 'failed'}
    expect(page, 'b', state='Failed')
    wait_until(lambda: not open_streams(server), complaint='the stream is open after the end')
    assert (len(server.streams), len(server.polls)) == (1, 1)


def test_a_stream_that_is_cut(show, server, page, wait_until):
    show(bar('a'), a=RUNNING)
    expect(page, 'a', amount='42%')
    assert server.polls == []
    server.statuses['a'] = RUNNING | {'current': 50}
    expect(page, 'a', amount='50%')
    started = time.monotonic()
    server.streams[0].send('data: {"id": "a", "sta')
    server.streams[0].close()
    wait_until(lambda: server.polls, complaint='the page does not poll')
    assert time.monotonic() - started < 1
    wait_until(lambda: len(server.streams) == 2, complaint='the page opens no other stream')
    server.statuses['a'] = RUNNING | {'current': 60}
    expect(page, 'a', amount='60%')
    polls = len(server.polls)
    server.statuses['a'] = RUNNING | {'current': 70}
    expect(page, 'a', amount='70%')
    assert len(server.polls) == polls
    assert set(page.evaluate('states')) == {'running'}


@slow
@pytest.mark.parametrize(
    ('refusal', 'has_another'),
    [
        (Answer({'message': 'Later'}, code=503, Retry_After='2'), True),
        (Answer({'message': 'Not found'}, code=404), False),
        (Answer('', code=302, Location='/login'), True),
    ],
    ids=['503', '404', 'redirect'],
)
def test_a_stream_that_is_refused(show, server, page, wait_until, refusal, has_another):
    server.refusal = refusal
    show(bar('a'), a=RUNNING)
    expect(page, 'a', amount='42%')
    assert server.polls
    started = time.monotonic()
    server.refusal = None
    while time.monotonic() - started < 4 and len(server.streams) < 2:
        page.wait_for_timeout(50)
    assert (len(server.streams) == 2) is has_another
    if refusal.code == 503:
        assert time.monotonic() - started > 1, 'Retry-After'
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')
    assert set(page.evaluate('states')) == {'running', 'finished'}


def test_a_store_in_trouble(show, server, page):
    show(bar('a'), a=RUNNING)
    expect(page, 'a', amount='42%')
    server.streams[0].send('event: trouble\ndata: {"message": "The store does not answer"}\n\n')
    expect(page, 'a', state=TROUBLE, amount='42%')
    server.statuses['a'] = RUNNING | {'current': 50}
    expect(page, 'a', state='Running', amount='50%')
    assert (server.polls, len(server.streams)) == ([], 1)


def test_a_hidden_page_has_no_stream(show, server, page, wait_until):
    show(bar('a'), a=RUNNING)
    expect(page, 'a', amount='42%')
    page.evaluate(TURN, True)
    wait_until(lambda: not open_streams(server), complaint='the stream is open')
    assert page.evaluate('navigator.locks.query().then(({ held }) => held.length)') == 0
    server.statuses['a'] = FINISHED
    page.evaluate(TURN, False)
    expect(page, 'a', state='Finished')
    assert len(server.streams) == 2


def test_many_tabs_of_an_account(show, server, page, wait_until, engine):
    """All connections of a browser to a host are six."""
    show(bar('a', poll_max=1000), a=RUNNING)
    expect(page, 'a', amount='42%')
    tabs = [page]
    for _ in range(7 if engine == 'webkit' else 19):  # windows of WebKit are slow to open
        tabs.append(page.context.new_page())
        tabs[-1].goto(server.url)
    for tab in tabs:
        expect(tab, 'a', amount='42%')
        assert len(open_streams(server)) == 2
    started = time.monotonic()
    assert tabs[-1].evaluate("fetch('/').then((response) => response.status)") == 200
    assert time.monotonic() - started < 1
    # The page with the first stream goes: another one gets its place.
    count = len(server.streams)
    page.close()
    wait_until(lambda: len(server.streams) > count and len(open_streams(server)) == 2, 15, 'no page took the place')
    server.statuses['a'] = FINISHED
    for tab in tabs[1:]:
        expect(tab, 'a', state='Finished')


@pytest.mark.not_in(firefox='its driver gives no page a proxy of its own')
def test_a_page_without_encryption_polls(server, browser):
    """Web Locks exist in secure contexts only: with HTTPS, or on the machine itself."""
    server.body, server.statuses = bar('a'), {'a': RUNNING}
    context = browser.new_context(proxy={'server': server.url})
    page = context.new_page()
    page.goto('http://intranet.test/')
    assert not page.evaluate('isSecureContext')
    expect(page, 'a', amount='42%')
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')
    assert server.polls
    assert server.streams == []
    context.close()


@pytest.mark.every_engine
@slow
def test_a_page_that_draws_the_progress_itself(show, server, page):
    show(a=RUNNING)
    page.evaluate("""async () => {
        const { poll } = await import('/static/poller.js');
        window.drawn = [];
        window.stop = poll('/progress_status', 'a', ({ current }, state) => drawn.push([current, state]));
    }""")
    page.wait_for_function('() => drawn.length === 1')
    server.statuses['a'] = RUNNING | {'current': 50}
    page.wait_for_function('() => drawn.length === 2')
    assert page.evaluate('drawn') == [[42, 'running'], [50, 'running']]
    assert server.polls == []


@pytest.mark.every_engine
@slow
def test_bars_that_are_added_later(show, server, page, wait_until):
    show(bar('a'), a=RUNNING, b=RUNNING)
    expect(page, 'a', amount='42%')
    page.evaluate("""() => {
        const bar = document.createElement('pyramid-progress');
        bar.progressId = 'b';
        document.body.append(bar);
    }""")
    expect(page, 'b', amount='42%')
    wait_until(lambda: [stream.progress_ids for stream in open_streams(server)] == [['a', 'b']])
    assert server.polls == []


class Sessions:
    """A security policy under which mary is signed in as long as a test says so."""

    is_signed_in = True

    def identity(self, request):
        return self.authenticated_userid(request)

    def authenticated_userid(self, request):
        return 'mary' if self.is_signed_in else None

    def permits(self, request, context, permission):
        return self.is_signed_in


class Application:
    """An application with streams, whose page shows a task that a test moves.

    What it reads: the number of ``polls``.
    """

    def __init__(self, **settings):
        self.polls = 0
        self.sessions = Sessions()
        settings |= {'cache.regions': 'default, persistent', 'cache.type': 'memory'}
        settings |= {'progress.streams': 2, 'progress.permission': 'follow'}
        with Configurator(settings=settings, security_policy=self.sessions) as config:
            config.include('pyramid_progress')
            config.add_route('page', '/')
            config.add_view(self.show, route_name='page')
            config.add_route('form', '/form')
            config.add_view(self.form, route_name='form', request_method='GET')
            config.add_view(self.send, route_name='form', request_method='POST')
            config.add_forbidden_view(lambda request: HTTPSeeOther('/sign-in'))
        self.wsgi = config.make_wsgi_app()

    def __call__(self, environ, start_response):
        self.polls += environ['PATH_INFO'] == '/progress_status'
        return self.wsgi(environ, start_response)

    def page(self, request, body):
        assets = f'<link rel="icon" href="data:,">{request.progress.assets()}'
        return Response(f'<!DOCTYPE html><html lang="en"><head>{assets}</head><body>{body}</body></html>')

    def show(self, request):
        return self.page(request, request.progress.bar('a'))

    def form(self, request):
        return self.page(request, '<form method="post" data-progress><button name="button">Send</button></form>')

    def send(self, request):
        with request.progress.start('Sending', length=4) as task:
            for _ in task.track(range(4)):
                time.sleep(0.5)
        return self.page(request, '<p id="answer">Sent.</p>')


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def url(application):
    with serving_wsgi(strictly(application)) as url:
        yield url


def test_an_application(page, application, url, wait_until):
    """Whose task moves as the page shows it; the poll at its end acknowledges it."""
    init_progress_status('a', 'mary', 'Import', length=100)
    page.goto(url)
    for current in (10, 20, 30):
        set_progress_status('a', current=current)
        expect(page, 'a', amount=f'{current}%', label='Import')
    assert application.polls == 0
    set_progress_status('a', 'finished')
    expect(page, 'a', state='Finished')
    wait_until(lambda: 'a' not in get_running_tasks(), complaint='the end is not acknowledged')
    assert application.polls == 1


@pytest.mark.every_engine
@slow
def test_a_visitor_who_signs_out(page, application, url, monkeypatch):
    monkeypatch.setattr(server_stream, 'CHECK_INTERVAL', 0.5)
    init_progress_status('a', 'mary', 'Import', length=100, current=42)
    page.goto(url)
    expect(page, 'a', state='Running')
    application.sessions.is_signed_in = False
    expect(page, 'a', state=SIGNED_OUT)


@slow
def test_the_bar_of_a_form(page, url):
    """While the navigation is pending."""
    # Meanwhile, Chromium runs no script of a test.
    page.add_init_script("""addEventListener('progress:update', ({ target }) => {
        localStorage.seen = `${localStorage.seen ?? ''} ${target.state} ${target.querySelector('progress').value}`;
    });""")
    page.goto(f'{url}/form')
    page.wait_for_function("() => customElements.get('pyramid-progress')")
    page.get_by_role('button').click()
    page.locator('#answer').wait_for()
    seen = page.evaluate('localStorage.seen').split()
    assert set(seen[::2]) <= {'waiting', 'running', 'finished'}
    assert {'25', '50', '75'} <= set(seen[1::2])


@slow
def test_a_page_that_is_left_and_shown_again(launch, program, application, url):
    """In a browser that keeps pages as they were. It does not keep one with a stream or a lock."""
    browser = launch(program('chromium'), ignore_default_args=['--disable-back-forward-cache'])
    page = browser.new_page()
    init_progress_status('a', 'mary', 'Import', length=100, current=42)
    page.goto(url)
    expect(page, 'a', amount='42%')
    page.evaluate('window.isSame = true')
    page.goto(f'{url}/form')
    set_progress_status('a', current=50)
    page.go_back(wait_until='commit')
    assert page.evaluate('window.isSame'), 'the browser did not keep the page'
    expect(page, 'a', amount='50%')
    assert application.polls == 0
    browser.close()


@contextmanager
def serving_events(listener, application):
    """Serve the streams of an application by ASGI for the length of a ``with`` block."""
    uvicorn = pytest.importorskip('uvicorn')
    config = uvicorn.Config(EventsApplication(application), lifespan='on', log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@slow
def test_streams_of_another_origin(page, wait_until):
    """They have the cookies of the page, and its server is asked for nothing but the end."""
    listener = socket.create_server(('127.0.0.1', 0))
    settings = {'progress.events_url': f'http://127.0.0.1:{listener.getsockname()[1]}/progress_events'}
    made = []
    with serving_wsgi(lambda environ, start_response: made[0](environ, start_response)) as url:
        made.append(application := Application(**settings | {'progress.events_origins': url}))
        with serving_events(listener, application.wsgi):
            init_progress_status('a', 'mary', 'Import', length=100, current=10)
            page.goto(url)
            for current in (20, 30):
                set_progress_status('a', current=current)
                expect(page, 'a', amount=f'{current}%')
            assert application.polls == 0
        # The server of the streams has gone.
        set_progress_status('a', current=40)
        expect(page, 'a', amount='40%', state='Running')
        assert application.polls
