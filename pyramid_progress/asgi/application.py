"""The ASGI application."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from types import MappingProxyType
from typing import Any

from pyramid.config import global_registries
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.request import Request as PyramidRequest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..runtime import REGISTRY_KEY, get_runtime
from ..storage import StorageError
from ..web.answers import RETRY_AFTER as STORE_RETRY_AFTER
from ..web.answers import STORE_TROUBLE
from ..web.ids import queried_ids
from ..web.streams.decisions import Decisions
from ..web.streams.hub import Hub
from ..web.streams.stream import Action, Stream
from ..web.streams.wsgi import CONTENT_TYPE, HEADERS, NO_PLACE, RETRY_AFTER, is_from_another_site
from .access import Access, environ_of
from .connection import Connection

log = logging.getLogger(__name__)

#: How many decisions about access are made at a time: each may wait for the application's database.
_CHECK_THREADS = 8

#: How many tasks the hub watches: one read of so many takes about 30 ms (sqlite).
_MAX_TASKS = 20_000

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
        self._settings = runtime.settings
        self._access = Access(application, registry)
        self._hub = Hub(runtime.store)
        self._streams: set[Stream] = set()
        # The connections that have a place, and how many of them each client has.
        self._connections: set[Connection] = set()
        self._clients: Counter[str] = Counter()
        self._ticking: asyncio.Task[None] | None = None
        self._logged_refusals: set[int] = set()
        self._is_closing = False
        app: ASGIApp = self._answer
        if origins := self._settings.events_origins:
            app = CORSMiddleware(
                app,
                allow_origins=origins,
                allow_methods=['GET'],
                allow_credentials=True,
                expose_headers=['Date', 'Retry-After'],
            )
        self._app = app
        self._life = Starlette(lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI applications do."""
        # Starlette's routes would pass each event through two coroutines of their own.
        await (self._app if scope['type'] == 'http' else self._life)(scope, receive, send)

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

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['method'] in ('GET', 'HEAD'):
            refusal = await self._stream(scope, receive, send)
        else:
            refusal = _error(405, 'This URL answers GET only.', {'Allow': 'GET, HEAD'})
        if refusal is not None:
            await refusal(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Send a stream, or return the answer to a request that gets none."""
        environ = environ_of(scope)
        if is_from_another_site(environ, self._settings.events_origins):
            return _error(403, 'Pages of this origin may not read event streams.')
        try:
            progress_ids = list(dict.fromkeys(queried_ids(PyramidRequest(environ))))
        except (HTTPBadRequest, UnicodeDecodeError) as error:
            return _error(400, getattr(error, 'detail', 'The query string is not UTF-8'))
        if not self._has_place(environ):
            return _error(503, NO_PLACE, _retry(RETRY_AFTER))
        connection = Connection(receive, send)
        with self._place(environ, connection):
            async with connection:
                return await self._stream_to(connection, environ, progress_ids, is_head=scope['method'] == 'HEAD')
        return None  # the client did not read, and has gone

    async def _stream_to(
        self, connection: Connection, environ: Mapping[str, str], progress_ids: Sequence[str], *, is_head: bool
    ) -> Response | None:
        """Send a stream, or return the answer to a request that the application has refused."""
        try:
            status, decisions = await self._decide(connection, environ, progress_ids)
        except StorageError:
            return _error(503, STORE_TROUBLE, _retry(STORE_RETRY_AFTER))
        if decisions is None:
            return None if connection.is_gone else self._refusal(status)
        await connection.start(_RAW_HEADERS)
        if not is_head:
            # In a task of its own: otherwise each event resumes the coroutines of the server as well.
            await asyncio.create_task(self._send_events(connection, environ, progress_ids, decisions))
        await connection.send(b'', is_last=True)
        return None

    def _refusal(self, status: int) -> Response:
        """Return the answer to a request that the application has refused.

        :param status: the HTTP status of the application's answer
        """
        if status in (401, 403):
            return _error(status, 'You do not have the permission to read the progress of tasks.')
        if 300 <= status < 400:  # to a page to sign in
            return _error(401, 'You must sign in to read the progress of tasks.')
        if status not in self._logged_refusals:
            self._logged_refusals.add(status)
            log.error(
                'The application answered with the status %d when it was asked for access to an event stream at the '
                'path %s. If the ini file mounts the application below a prefix, start pprogress-events with the '
                'application itself, as "file.ini#name". This is logged once for each status.',
                status,
                self._access.path,
            )
        return _error(503, 'There are no event streams at the moment.', _retry(RETRY_AFTER))

    def _has_place(self, environ: Mapping[str, str]) -> bool:
        return not (
            self._is_closing
            or len(self._connections) >= self._settings.max_streams
            or self._clients[_client_of(environ)] >= self._settings.max_streams_per_client
            or self._hub.number_of_tasks >= _MAX_TASKS
        )

    @contextmanager
    def _place(self, environ: Mapping[str, str], connection: Connection) -> Iterator[None]:
        """Count a connection during the block."""
        client = _client_of(environ)
        self._connections.add(connection)
        self._clients[client] += 1
        try:
            yield
        finally:
            self._connections.discard(connection)
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    async def _decide(
        self, connection: Connection, environ: Mapping[str, str], progress_ids: Sequence[str]
    ) -> tuple[int, Decisions | None]:
        return await self._access.decide(self._checks, environ, progress_ids, lambda: not connection.is_gone)

    async def _send_events(
        self,
        connection: Connection,
        environ: Mapping[str, str],
        progress_ids: Sequence[str],
        decisions: Decisions,
    ) -> None:
        stream = Stream(self._hub, progress_ids, decisions, connection.wake, monotonic())
        check: asyncio.Task[None] | None = None
        with self._fed(stream, decisions):
            while not connection.is_gone:
                step = stream.step(monotonic())
                if isinstance(step, bytes):
                    await connection.send(step)
                elif isinstance(step, float):
                    await connection.wait(step)
                elif step is Action.CHECK:
                    # In a task of its own, so that the stream continues to send events and comments during the check.
                    check = asyncio.create_task(self._check(stream, connection, environ, progress_ids))
                else:
                    break
        if check is not None:
            check.cancel()

    async def _check(
        self, stream: Stream, connection: Connection, environ: Mapping[str, str], progress_ids: Sequence[str]
    ) -> None:
        try:
            _, decisions = await self._decide(connection, environ, progress_ids)
        except StorageError:
            stream.postpone(monotonic())
        else:
            stream.renew(decisions, monotonic())
        stream.wake()

    @contextmanager
    def _fed(self, stream: Stream, decisions: Decisions) -> Iterator[None]:
        """Let the hub feed a stream during the block."""
        self._hub.add(stream, decisions)
        self._streams.add(stream)
        if self._is_closing:
            stream.close()
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            self._streams.discard(stream)
            self._hub.remove(stream)

    async def _tick(self) -> None:
        """Run the hub as long as there are connections."""
        loop = asyncio.get_running_loop()
        while self._connections:
            for stream in await loop.run_in_executor(self._reads, self._hub.tick):
                stream.wake()
            await asyncio.sleep(self._hub.pause)
            now = monotonic()
            for connection in self._connections:
                connection.check(now)


def _client_of(environ: Mapping[str, str]) -> str:
    return environ.get('REMOTE_ADDR', '')


def _error(status: int, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    return JSONResponse({'message': message}, status, {'Cache-Control': 'no-store', **headers})


def _retry(seconds: int) -> dict[str, str]:
    return {'Retry-After': str(seconds)}
