"""A WSGI application over HTTP, under a strict content security policy, and for a visitor."""

import threading
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from webob import Request, Response

from . import init_scripts

#: Nothing but what the widget needs; no strings may become markup or script.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " require-trusted-types-for 'script'"
)


class Mary:
    """A security policy under which every user is mary."""

    def identity(self, request):
        return 'mary'

    def authenticated_userid(self, request):
        return 'mary'

    def permits(self, request, context, permission):
        return True


def strictly(application, policy=STRICT):
    """Return a WSGI application whose content security policy is this one."""

    def strict(environ, start_response):
        def start(status, headers, exc_info=None):
            others = [(name, value) for name, value in headers if name != 'Content-Security-Policy']
            return start_response(status, [*others, ('Content-Security-Policy', policy)], exc_info)

        return application(environ, start)

    return strict


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Print nothing: browsers close connections before they have read everything."""


class _Handler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def _with_init_scripts(application, request):
    """Return the answer of an application, with the scripts that run first in it if it is a page."""
    if request.path == init_scripts.PATH:
        return Response(init_scripts.text(), content_type='text/javascript')
    response = request.get_response(application)
    if response.content_type == 'text/html':
        response.text = init_scripts.add_to(response.text, request.headers)
    return response


@contextmanager
def serving(application):
    """Serve for the length of a ``with`` block, on a free port; gives the URL without a slash at its end."""

    def threaded(environ, start_response):
        # wsgiref does not know of the threads of the mix-in.
        environ = environ | {'wsgi.multithread': True}
        answer = _with_init_scripts(application, Request(environ)) if init_scripts.scripts else application
        return answer(environ, start_response)

    server = make_server('127.0.0.1', 0, threaded, _Server, _Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()
