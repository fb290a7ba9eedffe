"""The status view: how much of the processor a server needs for a request."""

import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from . import missing
from .children import child
from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, take_turns
from .programs import TASK, Ours

CONNECTIONS = 8

#: How many requests a turn has, on each connection. Threads that compete make for much noise, hence short turns, and
#: many of them.
_REQUESTS = 25
_ROUNDS = 45


def _view(environment: Environment) -> Comparison:
    redis = missing.module('redis', 'redis')
    missing.module('waitress', 'waitress')
    settings = environment.settings('ext:redis', 'view')
    url = environment.redis('view')
    with redis.Redis.from_url(url) as client:
        client.set(TASK, Ours(settings).stored())
    with child(_serve, _ours, settings) as our_pipe, child(_serve, _bare, url) as their_pipe:
        ours, theirs = _Server(our_pipe), _Server(their_pipe)
        return Comparison('µs', *take_turns(ours.time, theirs.time, rounds=_ROUNDS))


class _Server:
    """A server, as its client sees it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._port = pipe.recv()
        self.time()  # to warm up

    def time(self) -> float:
        """Return how many microseconds of processor time it needs for a request."""
        start = self._processor_time()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            answers = list(pool.map(self._ask, range(CONNECTIONS)))
        time = self._processor_time() - start
        for answer in answers:
            if answer['label'] != 'Importing customers' or answer['current'] != 2:
                raise RuntimeError(f'the server answers {answer}')
        return time / (CONNECTIONS * _REQUESTS) / 1000

    def _processor_time(self) -> int:
        self._pipe.send(None)
        time: int = self._pipe.recv()
        return time

    def _ask(self, number: int) -> Any:
        """Ask on a connection of its own, which is kept alive; return the last answer."""
        connection = HTTPConnection('127.0.0.1', self._port)
        for _ in range(_REQUESTS):
            connection.request('GET', f'/progress_status?progress_id={TASK}')
            answer = json.load(connection.getresponse())
        connection.close()
        return answer


def _serve(make: Callable[[Any], Any], argument: Any, pipe: Connection) -> None:
    """Serve an application, and send the processor time of this process on request."""
    from waitress.server import create_server

    logging.getLogger('waitress').setLevel(logging.ERROR)  # It warns of requests that wait for a moment.
    server = create_server(make(argument), host='127.0.0.1', port=0, threads=CONNECTIONS)
    pipe.send(server.effective_port)

    def tell() -> None:
        while True:
            pipe.recv()
            pipe.send(time.process_time_ns())

    Thread(target=tell, daemon=True).start()
    server.run()


def _ours(settings: dict[str, str]) -> Any:
    from pyramid.config import Configurator

    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
    return config.make_wsgi_app()


def _bare(url: str) -> Any:
    import redis
    from pyramid.config import Configurator

    client: Any = redis.Redis.from_url(url)

    def status(request: Any) -> Any:
        return json.loads(client.get(request.GET['progress_id']))

    with Configurator() as config:
        config.add_route('progress_status', 'progress_status')
        config.add_view(status, route_name='progress_status', renderer='json')
    return config.make_wsgi_app()


FIGURES = [Figure('the status view, processor time', 'a bare JSON view with one raw GET', at_most(1.15), _view)]
