"""A small real server for tests of the widget: its pages, and answers that a test sets."""

import json
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pyramid.i18n import make_localizer

import pyramid_progress
from pyramid_progress.model.messages import BAR

from . import init_scripts

LOCALE = Path(pyramid_progress.__file__).parent / 'locale'
STATIC = Path(__file__).parents[2] / 'static'
TYPES = {'.js': 'text/javascript', '.css': 'text/css'}

#: Nothing but what the widget needs; no strings may become markup or script.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " require-trusted-types-for 'script'; report-uri /csp"
)


class Answer:
    """An answer to a request for statuses: of this status code, headers and body."""

    def __init__(self, body='', code=200, **headers):
        self.body = body if isinstance(body, str) else json.dumps(body)
        self.code = code
        self.headers = {'Content-Type': 'application/json'} | {
            name.replace('_', '-'): value for name, value in headers.items()
        }


class EventStream:
    """An answer to a request for event streams: it sends the statuses whenever they change, and a comment at times.

    What a test reads: the ``progress_ids``, and ``is_open``, which becomes false if the browser closes it, too.
    """

    def __init__(self, progress_ids):
        self.progress_ids = progress_ids
        self._more = deque()
        self._is_closed = threading.Event()

    @property
    def is_open(self):
        return not self._is_closed.is_set()

    def send(self, text):
        """Send a text as it is."""
        self._more.append(text)

    def close(self):
        self._is_closed.set()

    def write(self, file, statuses):
        """Write what is to be sent, until it is closed."""
        sent, commented_at = {}, time.monotonic()
        with suppress(ConnectionError):
            while self._more or not self._is_closed.wait(0.02):
                for name in self.progress_ids:
                    status = statuses().get(name, {'status': 'unknown'})
                    if sent.get(name) != status:
                        sent[name] = status
                        self.send(f'data: {json.dumps({"id": name, **status})}\n\n')
                if time.monotonic() - commented_at > 0.5:
                    commented_at = time.monotonic()
                    self.send(':\n\n')
                while self._more:
                    file.write(self._more.popleft().encode())
        self.close()


class Server:
    """Serves the widget's files, the page at ``/``, statuses at ``/progress_status``, streams at ``/progress_events``.

    What a test sets: ``statuses`` by id, ``answer`` to be given in place of any status, ``cancel`` to be given to the
    button, the page's ``body``, ``html``, the attributes of its root, and ``language``, that of its words;
    ``has_streams``, and ``refusal`` to be given in place of a stream. What it reads: ``loads``, the paths of the pages
    that the browser showed, ``polls``, the ids of each request for statuses, ``streams``, each :class:`EventStream`,
    ``posts``, the fields that each button sent, and ``reports`` of violations of the content security policy.
    """

    def __init__(self, port=0):
        self.statuses = {}
        self.answer = None
        self.has_streams = False
        self.refusal = None
        self.cancel = None
        self.body = ''
        self.html = 'lang="en"'
        self.language = 'en'
        self.loads = []
        self.polls = []
        self.streams = []
        self.posts = []
        self.reports = []
        self.port = port
        self.start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.port}/'

    def start(self):
        """Serve, on the same port as before."""
        handler = type('Handler', (_Handler,), {'world': self})
        self._httpd = ThreadingHTTPServer(('127.0.0.1', self.port), handler)
        self._httpd.daemon_threads = True
        self.port = self._httpd.server_port
        threading.Thread(target=self._httpd.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """Stop listening: connections are refused, and streams end."""
        self._httpd.shutdown()
        for stream in self.streams:
            stream.close()
        self._httpd.server_close()

    def page(self):
        localizer = make_localizer(self.language, [str(LOCALE)])
        words = {name: localizer.translate(word) for name, word in BAR.items()}
        config = {'src': '/progress_status', 'lang': self.language, 'channel': 'visitor', 'words': words}
        if self.has_streams:
            config['events'] = '/progress_events'
        meta = escape(json.dumps(config))
        return (
            f'<!DOCTYPE html><html {self.html}><head><meta charset="utf-8"><title>Bars</title>'
            f'<meta name="color-scheme" content="light dark"><link rel="icon" href="/icon.svg">'
            f'<meta name="pyramid-progress" content="{meta}"><link rel="stylesheet" href="/static/progress.css">'
            f'<script type="module" src="/static/progress.js"></script></head><body>{self.body}</body></html>'
        )


def bar(progress_id, **attributes):
    """Return an element as a page author writes it, but polling five times a second."""
    attributes = {'poll_min': 200, 'poll_max': 200} | attributes
    attributes = {'progress-id': progress_id} | {name.replace('_', '-'): value for name, value in attributes.items()}
    text = ' '.join(f'{name}="{escape(str(value))}"' for name, value in attributes.items())
    return f'<pyramid-progress {text}></pyramid-progress>'


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0: no connection outlives its request, so that a server that stops is gone.

    def do_GET(self):
        world, path = self.world, urlsplit(self.path)
        if self.headers.get('Sec-Fetch-Mode') == 'navigate':
            world.loads.append(path.path)
        if path.path == '/':
            page = init_scripts.add_to(world.page(), self.headers)
            self.reply(Answer(page, Content_Type='text/html', Content_Security_Policy=STRICT))
        elif path.path == init_scripts.PATH:
            self.reply(Answer(init_scripts.text(), Content_Type='text/javascript'))
        elif path.path == '/progress_status':
            progress_ids = parse_qs(path.query)['progress_id']
            world.polls.append(progress_ids)
            statuses = {name: world.statuses.get(name, {'status': 'unknown'}) for name in progress_ids}
            self.reply(world.answer or Answer(statuses if len(progress_ids) > 1 else statuses[progress_ids[0]]))
        elif path.path == '/progress_events':
            self.stream(parse_qs(path.query)['progress_id'])
        elif path.path.startswith('/static/'):
            file = STATIC / Path(path.path).name
            self.reply(Answer(file.read_text(), Content_Type=TYPES[file.suffix]))
        else:
            self.reply(Answer('<svg xmlns="http://www.w3.org/2000/svg"/>', Content_Type='image/svg+xml'))

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        if self.path == '/progress_cancel':
            self.world.posts.append(parse_qs(body))
            self.reply(self.world.cancel)
        else:
            self.world.reports.append(body)
            self.reply(Answer())

    def stream(self, progress_ids):
        stream = EventStream(progress_ids)
        self.world.streams.append(stream)
        if self.world.refusal:
            stream.close()
            self.reply(self.world.refusal)
        else:
            self.send_response(200)
            self.send_header('Content-Type', 'text/event-stream')
            self.end_headers()
            stream.write(self.wfile, lambda: self.world.statuses)

    def reply(self, answer):
        body = answer.body.encode()
        self.send_response(answer.code)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header('Cache-Control', 'no-store')
        self.send_header('Content-Length', str(len(body)))
        with suppress(ConnectionError):  # the browser may have left
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serving():
    """Serve for the length of a ``with`` block."""
    server = Server()
    try:
        yield server
    finally:
        server.stop()


def expect(page, progress_id, **parts):
    """Wait until the parts of a bar say this."""
    page.wait_for_function(
        """([id, parts]) => {
            const bar = document.querySelector(`pyramid-progress[progress-id="${id}"]`);
            return Object.entries(parts).every(([part, text]) => bar.querySelector(`.pp-${part}`).textContent === text);
        }""",
        arg=[progress_id, parts],
    )
