"""The element against a server that is slow, and loses much of what it says: it gets to the true end all the same."""

import random
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from pyramid.config import Configurator
from pyramid.response import Response

from pyramid_progress import ProgressError

from .wsgi import serving

#: Seconds that the work of a test takes.
DURATION = 8
STEPS = 80

#: Pages that are open at the same time, each with a bad line of its own.
PAGES = 8

#: How many requests a page may make, in those that it makes of a healthy server: an answer that is lost costs one more,
#: but a server that is slow, or in trouble, is asked less often.
FACTOR = 1

#: Keeps what bars show and fire, from before they are there.
RECORD = """
    window.seen = {};
    for (const name of ['update', 'finished', 'failed', 'cancelled', 'error'])
        addEventListener(`progress:${name}`, ({ type, target }) => {
            const shown = [type.slice(9), target.state, target.querySelector('progress').value];
            (seen[target.progressId] ??= []).push(shown);
        });
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Work</title>{}</head><body>{}</body></html>
"""


class Proxy:
    """Stands before a server, and does to its answers for statuses what a bad line and an overloaded host do.

    :param url: the server's
    :param seed: of the chances; None for none of this
    """

    def __init__(self, url, seed):
        self.server_url = url
        self.requests = []  # when there was one for statuses, in seconds
        self.faults = set()
        self._chance = None if seed is None else random.Random(seed)  # noqa: S311
        self._lock = threading.Lock()
        handler = type('Handler', (_Handler,), {'proxy': self})
        self.httpd = ThreadingHTTPServer(('127.0.0.1', 0), handler)
        self.httpd.daemon_threads = True
        self.url = f'http://127.0.0.1:{self.httpd.server_port}'

    def fate(self):
        """Return how many seconds the next answer takes, and what goes wrong with it, or None."""
        with self._lock:
            self.requests.append(time.monotonic())
            if self._chance is None:
                return 0, None
            delay = self._chance.uniform(0, 2)
            fault = None
            if self._chance.random() < 0.3:
                fault = self._chance.choice(['refused', 'cut'])
            elif self._chance.random() < 0.3:
                fault = self._chance.choice([*ANSWERS])
            self.faults.add(fault)
            return delay, fault


#: Answers that come in place of the server's own.
ANSWERS = {
    'broken': (500, {}, b'<h1>Internal Server Error</h1>'),
    'overloaded': (503, {'Retry-After': '1'}, b'{"message": "Later"}'),
    'garbage': (200, {'Content-Type': 'application/json'}, b'{"status": "fini'),
    'number': (200, {'Content-Type': 'application/json'}, b'42'),
    'list': (200, {'Content-Type': 'application/json'}, b'[]'),
    'html': (200, {'Content-Type': 'text/html'}, b'<!DOCTYPE html><title>Welcome to this hotel</title>'),
    'empty': (200, {}, b''),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith('/progress_status'):
            self.answer(*self.ask())
            return
        delay, fault = self.proxy.fate()
        if fault == 'refused':  # before the request is passed on
            time.sleep(delay)
            return
        code, headers, body = self.ask()
        time.sleep(delay)
        if fault == 'cut':
            self.answer(code, headers, body, cut=len(body) // 2)
        else:
            self.answer(*ANSWERS.get(fault, (code, headers, body)))

    def ask(self):
        url = self.proxy.server_url + self.path
        request = urllib.request.Request(url, headers={'Accept': self.headers['Accept']})  # noqa: S310
        try:
            response = urllib.request.urlopen(request, timeout=10)  # noqa: S310
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return response.status, {'Content-Type': response.headers['Content-Type']}, response.read()

    def answer(self, code, headers, body, cut=None):
        with suppress(ConnectionError):  # the browser may have left
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])

    def log_message(self, *args):
        pass


@contextmanager
def standing_before(url, seed):
    """Run a :class:`Proxy` for the length of a ``with`` block."""
    proxy = Proxy(url, seed)
    threading.Thread(target=proxy.httpd.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.httpd.shutdown()
        proxy.httpd.server_close()


def work(task, error=None):
    for _ in task.track(range(STEPS)):
        time.sleep(DURATION / STEPS)
    if error:
        raise ProgressError(error)


def start(request):
    """Start two tasks, one of which ends badly, and show their bars."""
    good = request.progress.submit(work, label='Import', length=STEPS)
    bad = request.progress.submit(work, 'Line 7 is empty', label='Export', length=STEPS)
    return Response(PAGE.format(request.progress.assets(), request.progress.bar(good) + request.progress.bar(bad)))


@pytest.fixture
def url():
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'memory', 'progress.threads': 2 * PAGES}
    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
        config.add_route('start', '/')
        config.add_view(start, route_name='start')
        config.add_route('icon', '/favicon.ico')
        config.add_view(lambda request: Response(status=204), route_name='icon')
    with serving(config.make_wsgi_app()) as url:
        yield url


@pytest.fixture
def visit(browser):
    """Return a function that opens the page of a server as a new visitor; afterwards no script may have failed."""
    contexts, errors = [], []

    def visit(url):
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.add_init_script(RECORD)
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert errors == []


def follow_to_the_end(page):
    good, bad = (bar.get_attribute('progress-id') for bar in page.locator('pyramid-progress').all())
    ends = {good: 'finished', bad: 'failed'}
    for progress_id, end in ends.items():
        page.locator(f'[progress-id="{progress_id}"][state={end}]').wait_for(timeout=50_000)
    assert page.locator(f'[progress-id="{bad}"] .pp-message').inner_text() == 'Line 7 is empty'
    seen = page.evaluate('seen')
    for progress_id, end in ends.items():
        assert {state for _, state, _ in seen[progress_id]} <= {'waiting', 'running', 'trouble', end}
        assert [name for name, *_ in seen[progress_id] if name not in ('update', 'error')] == [end]
        values = [value for *_, value in seen[progress_id]]
        assert values == sorted(values), 'it never goes back'


@pytest.mark.slow
def test_a_slow_and_lossy_server(url, visit):
    with standing_before(url, None) as proxy:
        follow_to_the_end(visit(proxy.url))
        enough = len(proxy.requests)
    with ExitStack() as stack:
        proxies = [stack.enter_context(standing_before(url, seed)) for seed in range(PAGES)]
        pages = [visit(proxy.url) for proxy in proxies]
        for page in pages:
            follow_to_the_end(page)
        counts = [len(proxy.requests) for proxy in proxies]
        pages[-1].wait_for_timeout(1500)
        assert [len(proxy.requests) for proxy in proxies] == counts, 'after the end there is nothing to ask'
    assert max(counts) <= FACTOR * enough
    for proxy in proxies:
        assert min(later - sooner for sooner, later in pairwise(proxy.requests)) > 0.2
    faults = set().union(*(proxy.faults for proxy in proxies))
    assert faults > {None, 'refused', 'cut'}
    assert len(faults & ANSWERS.keys()) >= 3
