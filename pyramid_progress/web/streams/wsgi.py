"""Event streams in the application's own server."""

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import Any

from pyramid.httpexceptions import HTTPForbidden, HTTPNotFound, HTTPServiceUnavailable
from pyramid.interfaces import IRequestFactory
from pyramid.request import Request
from pyramid.response import Response

from ...storage import StorageError
from ..access import Visitor
from ..ids import queried_ids
from .decisions import CHECK_KEY, AccessCheck, Check, Decisions, decide
from .places import Places
from .stream import Action, Stream

log = logging.getLogger(__name__)

#: The key of an application's places in its registry.
PLACES_KEY = 'pyramid_progress.streams'

#: The message for a client that gets no place.
NO_PLACE = 'No further event stream can be opened now.'

#: Seconds after which a client that got no place may ask again.
RETRY_AFTER = 10

#: A proxy neither stores nor compresses the stream (RFC 9111 section 5.2.2), and nginx sends it on at once.
HEADERS = {'Cache-Control': 'no-store, no-transform', 'X-Accel-Buffering': 'no'}

CONTENT_TYPE = 'text/event-stream'


def progress_events(request: Any) -> Response:
    """Answer with the stream of the tasks that a request asks for; or only decide about access.

    :param request: a request with ``progress_id`` in its query string, once or up to 50 times. If its environment
        contains an :class:`.AccessCheck`, this answers that, and not with a stream
    :raises pyramid.httpexceptions.HTTPBadRequest: if there is no id, an invalid one, or too many
    :raises pyramid.httpexceptions.HTTPNotFound: if the application has no streams
    :raises pyramid.httpexceptions.HTTPServiceUnavailable: if there is no place for another one now
    """
    visitor = Visitor(request)
    check: AccessCheck | None = request.environ.get(CHECK_KEY)
    if check is not None:
        check.answer(visitor)
        return Response(status=204)
    progress_ids = list(dict.fromkeys(queried_ids(request)))
    if is_from_another_site(request.environ):
        raise HTTPForbidden('Pages of another origin may not read these event streams.')
    if not offers_streams(request):
        raise HTTPNotFound('This server has no event streams.')
    places: Places = request.registry[PLACES_KEY]
    if places.are_taken:
        raise HTTPServiceUnavailable(NO_PLACE, headers={'Retry-After': str(RETRY_AFTER)})
    decisions = decide(visitor, progress_ids)
    if request.method == 'HEAD':
        return _response()
    app_iter = EventStream(places, progress_ids, decisions, _subrequest_check(request, progress_ids))
    return _response(app_iter=app_iter)


def _response(**body: Any) -> Response:
    response = Response(content_type=CONTENT_TYPE, **body)
    response.headers.update(HEADERS)
    return response


def is_from_another_site(environ: Mapping[str, Any], origins: Collection[str] = ()) -> bool:
    """Return whether a page of another origin sent a request. Without this check, any page could take all places.

    :param environ: the WSGI environment of the request. Browsers send ``Sec-Fetch-Site`` (W3C Fetch Metadata)
    :param origins: the other origins whose pages may read streams
    """
    is_ours = environ.get('HTTP_SEC_FETCH_SITE', 'none') in ('none', 'same-origin')
    return not is_ours and environ.get('HTTP_ORIGIN') not in origins


#: The warnings that were logged: each is logged once.
_logged: set[str] = set()


def _warn_once(message: str, **options: Any) -> None:
    if message not in _logged:
        _logged.add(message)
        log.warning(message, **options)


def offers_streams(request: Any) -> bool:
    """Return whether the request's server offers streams: ``progress.streams`` is not 0, and it is multithreaded."""
    places: Places | None = request.registry.get(PLACES_KEY)  # None in the tests of an application
    if places is None or not places.number:
        return False
    has_threads = bool(request.environ.get('wsgi.multithread'))
    # A request that comes from no server says nothing about the server.
    if not has_threads and 'REMOTE_ADDR' in request.environ:
        _warn_once(
            'progress.streams has no effect: this server handles one request at a time in a process (wsgi.multithread'
            ' is false), and an event stream would hold the process. Use a server with threads, or pprogress-events.'
        )
    return has_threads


class EventStream:
    """The body of a response: the events of a stream. It takes a place when the server asks for the first one.

    A response that the server never sends, because a tween replaces it, therefore holds no place.
    """

    def __init__(self, places: Places, progress_ids: Sequence[str], decisions: Decisions, check: Check) -> None:
        self._places = places
        self._woken = threading.Event()
        # Until it has a place.
        self._decisions: Decisions | None = decisions
        self._check = check
        self._stream = Stream(places.hub, progress_ids, decisions, self._woken.set, monotonic())

    def __iter__(self) -> 'EventStream':
        return self

    def __next__(self) -> bytes:
        if self._decisions is not None:
            if not self._places.take(self._stream, self._decisions):
                raise StopIteration
            self._decisions = None
        while True:
            step = self._stream.step(monotonic())
            if isinstance(step, bytes):
                return step
            if step is Action.CLOSE:
                self.close()
                raise StopIteration
            if step is Action.CHECK:
                self._decide_again()
            elif isinstance(step, float):
                self._woken.wait(step)
                self._woken.clear()

    def _decide_again(self) -> None:
        try:
            decisions = self._check()
        except StorageError:
            self._stream.postpone(monotonic())
        else:
            self._stream.renew(decisions, monotonic())

    def close(self) -> None:
        """Free the place. Servers call this at the end of a response (PEP 3333)."""
        self._places.leave(self._stream)


def _subrequest_check(request: Any, progress_ids: Sequence[str]) -> Check:
    """Return a function that decides about access again, with a new request of the same headers."""
    # Not the request itself, whose transaction and database sessions have ended.
    environ = {name: value for name, value in request.environ.items() if isinstance(value, str)}
    factory = request.registry.queryUtility(IRequestFactory, default=Request)
    invoke = request.invoke_subrequest

    def check() -> Decisions | None:
        question = AccessCheck(progress_ids)
        try:
            invoke(factory.blank('/', environ=environ | {CHECK_KEY: question}), use_tweens=True)
        except Exception:  # noqa: BLE001  (whatever it is, the client's next request gets it as well)
            _warn_once(
                'An event stream ends, because the request that decides about access failed. Objects of WSGI middleware'
                ' are not in its environment.',
                exc_info=True,
            )
            return None
        return question.decisions

    return check
