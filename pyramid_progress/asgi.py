"""Event streams for many viewers: an ASGI application beside the web application, with the same store.

``pprogress-events`` serves it with uvicorn. For another ASGI server, a module makes it::

    from pyramid.paster import get_app, setup_logging
    from pyramid_progress.asgi import EventsApplication

    setup_logging('production.ini')
    application = EventsApplication(get_app('production.ini'))
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import monotonic
from typing import Any

from pyramid.config import global_registries
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.interfaces import IRoutesMapper
from pyramid.request import Request as PyramidRequest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .runtime import REGISTRY_KEY, get_runtime
from .storage import StorageError
from .web.answers import RETRY_AFTER as STORE_RETRY_AFTER
from .web.ids import queried_ids
from .web.streams.decisions import CHECK_KEY, AccessCheck, Decisions
from .web.streams.hub import Hub
from .web.streams.stream import Action, Stream
from .web.streams.wsgi import CONTENT_TYPE, HEADERS, RETRY_AFTER

log = logging.getLogger(__name__)

#: How many decisions about access are made at a time: each may wait for the application's database.
_CHECK_THREADS = 8

#: Seconds after which a client that reads nothing is dropped.
_SEND_TIMEOUT = 30.0

_RAW_HEADERS = [
    (name.lower().encode(), value.encode()) for name, value in {'Content-Type': CONTENT_TYPE, **HEADERS}.items()
]


class EventsApplication:
    """An ASGI application that answers every path with the stream of the ``progress_id`` in its query string.

    Access is decided by the Pyramid application, which it calls in threads of its own. It needs the lifespan events of
    the ASGI server.

    :param application: the WSGI application
    :param registry: the registry of its Pyramid application; by default its attribute ``registry``, or else that of the
        last Pyramid application that the process made
    :raises ValueError: if that application does not include pyramid_progress
    """

    def __init__(self, application: Any, registry: Any = None) -> None:
        registry = registry or getattr(application, 'registry', None) or global_registries.last
        if registry is None or REGISTRY_KEY not in registry:
            raise ValueError('EventsApplication needs a Pyramid application that includes pyramid_progress')
        runtime = get_runtime(registry)
        #: The types of the two regions.
        self.region_types = set(runtime.region_types().values())
        self._application = application
        self._path = registry.getUtility(IRoutesMapper).get_route('progress_events').generate({})
        self._max_streams = runtime.settings.max_streams
        self._max_streams_per_client = runtime.settings.max_streams_per_client
        self._hub = Hub(runtime.store)
        self._streams: set[Stream] = set()
        self._clients: Counter[str] = Counter()
        #: The tasks that send to a client now, and since when.
        self._sending: dict[asyncio.Task[Any], float] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._is_closing = False
        app: ASGIApp = Starlette(routes=[Route('/{path:path}', self._events, methods=['GET'])], lifespan=self._lifespan)
        if origins := runtime.settings.events_origins:
            app = CORSMiddleware(
                app,
                allow_origins=origins,
                allow_methods=['GET'],
                allow_credentials=True,
                expose_headers=['Retry-After'],
            )
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI applications do."""
        await self._app(scope, receive, send)

    def close_streams(self) -> None:
        """End all streams, and refuse others, because the server stops. Call this in the thread of the event loop."""
        self._is_closing = True
        for stream in self._streams:
            stream.close()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        with (
            ThreadPoolExecutor(_CHECK_THREADS, 'progress-access') as self._checks,
            ThreadPoolExecutor(1, 'progress-hub') as self._reads,
        ):
            yield
            self.close_streams()

    async def _events(self, request: Request) -> ASGIApp:
        client = request.client.host if request.client else ''
        if (
            self._is_closing
            or len(self._streams) >= self._max_streams
            or self._clients[client] >= self._max_streams_per_client
        ):
            return _error(503, 'There is no place for another event stream.', RETRY_AFTER)
        environ = _environ(request.scope)
        try:
            progress_ids = list(dict.fromkeys(queried_ids(PyramidRequest(environ))))
        except (HTTPBadRequest, UnicodeDecodeError) as error:
            return _error(400, getattr(error, 'detail', 'The query string is not UTF-8'))
        try:
            status, decisions = await self._decide(environ, progress_ids)
        except StorageError:
            return _error(503, 'The progress of tasks cannot be read at the moment.', STORE_RETRY_AFTER)
        if decisions is None:
            return _refusal(status)
        return partial(self._send_events, client, environ, progress_ids, decisions)

    async def _decide(self, environ: Mapping[str, str], progress_ids: Sequence[str]) -> tuple[int, Decisions | None]:
        """Ask the Pyramid application what the user of a request may see.

        :return: the HTTP status of its answer, and its decisions; None if it refused the request
        :raises pyramid_progress.storage.StorageError: if the store does not answer
        """
        check = AccessCheck(progress_ids)
        request = PyramidRequest.blank(self._path, environ={**environ, CHECK_KEY: check})
        loop = asyncio.get_running_loop()
        try:
            response = await loop.run_in_executor(self._checks, request.get_response, self._application)
        except Exception:
            log.exception('The application failed when it was asked for access to the tasks of an event stream')
            return 500, None
        return response.status_code, check.decisions

    async def _send_events(
        self,
        client: str,
        environ: Mapping[str, str],
        progress_ids: Sequence[str],
        decisions: Decisions,
        _: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer a request with a stream."""
        alarm = _Alarm()
        stream = Stream(self._hub, progress_ids, decisions, alarm.ring, monotonic())
        sender = asyncio.current_task()
        assert sender is not None  # noqa: S101  (for mypy)
        with self._place(client, stream, decisions), _running(_close_on_disconnect(receive, stream)):
            await send({'type': 'http.response.start', 'status': 200, 'headers': _RAW_HEADERS})
            while True:
                now = monotonic()
                step = stream.step(now)
                if isinstance(step, bytes):
                    self._sending[sender] = now
                    try:
                        await send({'type': 'http.response.body', 'body': step, 'more_body': True})
                    finally:
                        del self._sending[sender]
                elif isinstance(step, float):
                    await alarm.wait(step)
                elif step is Action.CHECK:
                    try:
                        stream.renew((await self._decide(environ, progress_ids))[1], monotonic())
                    except StorageError:
                        stream.postpone(monotonic())
                else:
                    await send({'type': 'http.response.body', 'body': b''})
                    return

    @contextmanager
    def _place(self, client: str, stream: Stream, decisions: Decisions) -> Iterator[None]:
        """Feed and count a stream during the block."""
        self._hub.add(stream, decisions)
        self._streams.add(stream)
        self._clients[client] += 1
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            self._streams.discard(stream)
            self._hub.remove(stream)
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    async def _tick(self) -> None:
        """Run the hub as long as there are streams."""
        loop = asyncio.get_running_loop()
        while self._streams:
            for stream in await loop.run_in_executor(self._reads, self._hub.tick):
                stream.wake()
            await asyncio.sleep(self._hub.pause)
            self._drop_clients_that_do_not_read()

    def _drop_clients_that_do_not_read(self) -> None:
        latest = monotonic() - _SEND_TIMEOUT
        for sender, since in self._sending.items():
            if since < latest:
                sender.cancel()


async def _close_on_disconnect(receive: Receive, stream: Stream) -> None:
    while (await receive())['type'] != 'http.disconnect':
        pass
    stream.close()


@contextmanager
def _running(coroutine: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Run a coroutine during the block."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()


class _Alarm:
    """Ends a wait after some time, or when :meth:`ring` is called."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, which it may also do earlier.

        A timer that ends earlier is kept: :meth:`ring` ends most waits, and a timer for each of them is expensive.
        """
        due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire)
        await self._event.wait()
        self._event.clear()

    def _expire(self) -> None:
        self._timer = None
        self._event.set()


def _environ(scope: Scope) -> dict[str, str]:
    """Return the variables of a WSGI environment for the request of an ASGI scope, apart from its path."""
    host, port = scope.get('server') or ('localhost', 80)
    environ = {
        'QUERY_STRING': scope['query_string'].decode('latin-1'),
        'SERVER_NAME': host,
        'SERVER_PORT': str(port or 0),
        'wsgi.url_scheme': scope['scheme'],
    }
    if scope.get('client'):
        environ['REMOTE_ADDR'] = scope['client'][0]
    for raw_name, raw_value in scope['headers']:
        name, value = raw_name.decode('latin-1').upper(), raw_value.decode('latin-1')
        # A name with an underscore could pass for one with a hyphen, which a proxy sets or removes.
        if '_' in name or name in ('CONTENT-LENGTH', 'CONTENT-TYPE'):
            continue
        key = 'HTTP_' + name.replace('-', '_')
        separator = '; ' if name == 'COOKIE' else ', '
        environ[key] = f'{environ[key]}{separator}{value}' if key in environ else value
    return environ


def _error(status: int, message: str, retry_after: int | None = None) -> Response:
    headers = {'Cache-Control': 'no-store'}
    if retry_after:
        headers['Retry-After'] = str(retry_after)
    return JSONResponse({'message': message}, status, headers)


def _refusal(status: int) -> Response:
    """Return the answer to a request that the application has refused.

    :param status: the HTTP status of the application's answer
    """
    if status in (401, 403):
        return _error(status, 'You do not have the permission to read the progress of tasks.')
    if 300 <= status < 400:  # to a page to sign in
        return _error(401, 'You must sign in to read the progress of tasks.')
    log.error('The application answered with the status %d when it was asked for access to an event stream', status)
    return _error(503, 'There are no event streams at the moment.', RETRY_AFTER)
