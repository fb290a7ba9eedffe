"""The answers of the add-on's routes: JSON for clients that are programs, pages for those that are browsers."""

import logging
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any

from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPException,
    HTTPForbidden,
    HTTPMethodNotAllowed,
    HTTPServiceUnavailable,
)

from ..storage import StorageError
from .body import has_json_body

log = logging.getLogger(__name__)

#: What users read if the store does not answer.
STORE_TROUBLE = 'The progress of tasks cannot be read at the moment.'

#: Seconds after which a client may ask again if the store does not answer.
RETRY_AFTER = 2

_CACHE_CONTROL = 'Cache-Control'

_HTML = 'text/html'
_JSON = 'application/json'
_FORMS = ('application/x-www-form-urlencoded', 'multipart/form-data')

View = Callable[[Any, Any], Any]


def wants_json(request: Any) -> bool:
    """Return whether JSON is the answer to a request, and not a page.

    A JSON body decides. Otherwise the header ``Accept`` does (RFC 9110 section 12.5.1); if it prefers neither, forms
    get a page, and everything else JSON.
    """
    if has_json_body(request):
        return True
    offers = [_HTML, _JSON] if request.content_type in _FORMS else [_JSON, _HTML]
    accepted = request.accept.acceptable_offers(offers)
    return bool((accepted[0][0] if accepted else offers[0]) == _JSON)


def error_answer(error: HTTPException, request: Any) -> HTTPException:
    """Return an error as an answer to a request: Pyramid's page, or JSON with the members of Pyramid's.

    :param error: the error, whose ``detail`` is a sentence
    :param request: the request
    """
    if wants_json(request):
        error.json_body = {'message': error.detail or error.explanation, 'code': error.status, 'title': error.title}
        error.content_type = _JSON
    return error


class _HttpErrors:
    # A class, because every poll enters the context twice, and a generator takes three times as long.

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, UnicodeDecodeError):
            raise HTTPBadRequest('The query string is not UTF-8') from error
        if isinstance(error, StorageError):
            log.warning('The status of a task cannot be read: %s', error)
            raise HTTPServiceUnavailable(STORE_TROUBLE, headers={'Retry-After': str(RETRY_AFTER)}) from error


#: A context that turns two errors of a view into HTTP errors: an invalid query string (:exc:`UnicodeDecodeError`) into
#: HTTPBadRequest, and a store that does not answer (:class:`.StorageError`) into HTTPServiceUnavailable with the header
#: ``Retry-After``.
http_errors = _HttpErrors()


def answers(permission: str | None) -> Callable[[View], View]:
    """Return a decorator that turns the HTTP errors of a view into answers: JSON, or a page.

    They are returned, not raised, so that an application's own error pages do not replace them. Only a
    missing permission is raised, for the application's forbidden view, which may ask the user to sign in. No answer may
    be cached: ``Cache-Control: no-store`` (RFC 9111 section 5.2.2.5).

    :param permission: what a request needs, None for nothing
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(context: Any, request: Any) -> Any:
            if permission is not None and not (allowed := request.has_permission(permission)):
                error = HTTPForbidden('You do not have the permission to read the progress of tasks.', result=allowed)
                raise error_answer(error, request)
            try:
                with http_errors:
                    response = view(context, request)
            except HTTPException as error:
                response = error_answer(error, request)
            # Not by response.headers alone, which takes longer than the rest of this function.
            present = dict(response.headerlist).get(_CACHE_CONTROL)
            if present is None:
                response.headerlist.append((_CACHE_CONTROL, 'no-store'))
            elif 'no-store' not in present:
                response.headers[_CACHE_CONTROL] = 'no-store'
            return response

        return wrapper

    return decorate


def not_allowed(methods: str) -> Callable[[Any], HTTPException]:
    """Return a view for the other methods of a route.

    :param methods: the methods that the route has, for the header ``Allow`` (RFC 9110 section 15.5.6)
    """

    def view(request: Any) -> HTTPException:
        raise HTTPMethodNotAllowed(f'This URL answers {methods} only.', headers={'Allow': methods})

    return view
