"""One application behind its own server and behind pprogress-events, each in a process that reports its usage."""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from . import missing
from .children import child

#: The user whose tasks they are, as the cookie of each request says.
USER = 'editor'

#: Seconds that a server may take to listen.
_START_TIMEOUT = 20

#: Seconds that a page waits, for a database for example, and seconds that it computes.
PAGE_WAIT = 0.02
PAGE_WORK = 0.005


class Usage(NamedTuple):
    """What a server has needed so far.

    :param processor: the time of all its threads, in seconds
    :param memory: the resident memory, in bytes
    """

    processor: float
    memory: int


class Site:
    """A server, as the bench sees it."""

    def __init__(self, pipe: Connection, port: int) -> None:
        self._pipe = pipe
        self.port = port

    def usage(self) -> Usage:
        """Return what it has needed so far."""
        self._pipe.send(None)
        return Usage(*self._pipe.recv())


class _Policy:
    """A security policy under which the cookie ``user`` names the user."""

    def authenticated_userid(self, request: Any) -> str | None:
        user: str | None = request.cookies.get('user')
        return user

    def permits(self, request: Any, context: Any, permission: str) -> bool:
        return False


def main(global_config: Any, **settings: str) -> Any:
    """Make the application, as an ini file names it."""
    from pyramid.config import Configurator
    from pyramid.response import Response

    def page(request: Any) -> Any:
        time.sleep(PAGE_WAIT)
        end = time.thread_time() + PAGE_WORK
        while time.thread_time() < end:
            pass
        return Response('A page')

    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
        config.set_security_policy(_Policy())
        config.add_route('page', '/page')
        config.add_view(page, route_name='page')
    return config.make_wsgi_app()


@contextmanager
def web_site(settings: Mapping[str, str], threads: int) -> Iterator[Site]:
    """Serve the application with waitress during the block.

    :param settings: those of the application
    :param threads: of the server
    """
    missing.module('waitress', 'waitress')
    with child(_serve_web, settings, threads) as pipe:
        yield Site(pipe, pipe.recv())


@contextmanager
def events_site(settings: Mapping[str, str], directory: Path) -> Iterator[Site]:
    """Run pprogress-events during the block.

    :param settings: those of the application
    :param directory: where its ini file is written
    """
    missing.module('uvicorn', 'uvicorn')
    missing.module('starlette', 'starlette')
    ini = directory / 'events.ini'
    lines = [f'{name} = {value}\n' for name, value in settings.items()]
    ini.write_text(f'[app:main]\nuse = call:{__name__}:main\n' + ''.join(lines))
    with socket.create_server(('127.0.0.1', 0)) as free:
        port: int = free.getsockname()[1]
    with child(_serve_events, str(ini), port) as pipe:
        deadline = time.monotonic() + _START_TIMEOUT
        while not _listens(port):
            if time.monotonic() > deadline:
                raise RuntimeError('pprogress-events does not listen')
            time.sleep(0.05)
        yield Site(pipe, port)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


def _serve_web(settings: Mapping[str, str], threads: int, pipe: Connection) -> None:
    from waitress.server import create_server

    logging.getLogger('waitress').setLevel(logging.ERROR)  # It warns of requests that wait for a moment.
    server = create_server(main({}, **settings), host='127.0.0.1', port=0, threads=threads)
    pipe.send(server.effective_port)
    _report_usage(pipe)
    server.run()


def _serve_events(ini: str, port: int, pipe: Connection) -> None:
    from pyramid_progress.scripts import pprogress_events

    _report_usage(pipe)
    pprogress_events.main([ini, '--listen', f'127.0.0.1:{port}'])


def _report_usage(pipe: Connection) -> None:
    """Start a thread that sends the usage of this process on request."""

    def tell() -> None:
        while True:
            pipe.recv()
            pipe.send((time.process_time(), _memory()))

    Thread(target=tell, daemon=True).start()


def _memory() -> int:
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except FileNotFoundError:  # not Linux
        return 0
    return pages * os.sysconf('SC_PAGE_SIZE')
