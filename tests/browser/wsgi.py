"""A WSGI application over HTTP."""

import threading
from contextlib import contextmanager

from waitress.server import create_server

#: Nothing but what the widget needs; no strings may become markup or script.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " require-trusted-types-for 'script'"
)


@contextmanager
def serving(application):
    """Serve for the length of a ``with`` block, on a free port; gives the URL without a slash at its end."""
    server = create_server(application, host='127.0.0.1', port=0)
    threading.Thread(target=server.run, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.effective_port}'
    finally:
        server.close()
        server.task_dispatcher.shutdown()
