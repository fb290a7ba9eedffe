"""Identification of visitors, the Content Security Policy, and the rejection of requests that cannot be decoded.

There is no login. Each visitor sees only the tasks that this visitor started.
"""

# Pyramid has no types.
# mypy: disable-error-code="untyped-decorator"

import secrets
from collections.abc import Callable

from pyramid.authentication import SessionAuthenticationHelper
from pyramid.events import NewResponse, subscriber
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import Allowed

Handler = Callable[[Request], Response]


class VisitorPolicy:
    """A security policy that identifies a visitor by a random id in the session.

    An application with users has its own policy. pyramid_progress needs only ``authenticated_userid``: a task is
    visible only to the user whose id is its owner.
    """

    def __init__(self) -> None:
        self._session = SessionAuthenticationHelper()

    def identity(self, request: Request) -> str | None:
        return self.authenticated_userid(request)

    def authenticated_userid(self, request: Request) -> str | None:
        userid: str | None = self._session.authenticated_userid(request)
        return userid

    def permits(self, request: Request, context: object, permission: str) -> Allowed:
        return Allowed('The demo has no permissions.')

    def remember(self, request: Request, userid: str, **kw: object) -> object:
        return self._session.remember(request, userid, **kw)

    def forget(self, request: Request, **kw: object) -> object:
        return self._session.forget(request, **kw)


def new_visitor() -> str:
    """Return a random id for a visitor."""
    return secrets.token_hex(16)


@subscriber(NewResponse)
def forbid_inline_code(event: NewResponse) -> None:
    """Send a strict Content Security Policy: scripts and styles only from files of the same origin.

    The pages of the debug toolbar do not work with it; its button on the pages of the demo does.
    """
    if not event.request.environ['PATH_INFO'].startswith('/_debug_toolbar/'):
        event.response.headers['Content-Security-Policy'] = "default-src 'self'"


def reject_undecodable(handler: Handler, registry: Registry) -> Handler:
    """A tween that answers 400 if the URL or the form cannot be decoded, before a view reads it."""

    def tween(request: Request) -> Response:
        try:
            _ = request.path_info, request.params
        except ValueError:  # text that is not UTF-8, a multipart form without its boundary
            return HTTPBadRequest('The URL or the form of this request cannot be decoded.')
        return handler(request)

    return tween
