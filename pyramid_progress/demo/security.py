"""Who is who, and what is not let in or out.

Nobody logs in, yet everybody sees only the tasks they started themselves.
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
    """A security policy that knows a visitor by a random name in the session.

    An application with users has its own policy. For pyramid_progress the one thing that matters is
    ``authenticated_userid``: a task whose owner is that id is shown to nobody else.
    """

    def __init__(self) -> None:
        self._session = SessionAuthenticationHelper()

    def identity(self, request: Request) -> str | None:
        return self.authenticated_userid(request)

    def authenticated_userid(self, request: Request) -> str | None:
        userid: str | None = self._session.authenticated_userid(request)
        return userid

    def permits(self, request: Request, context: object, permission: str) -> Allowed:
        return Allowed('The demo is open to everybody.')

    def remember(self, request: Request, userid: str, **kw: object) -> object:
        return self._session.remember(request, userid, **kw)

    def forget(self, request: Request, **kw: object) -> object:
        return self._session.forget(request, **kw)


def new_visitor() -> str:
    """A name that nobody can guess."""
    return secrets.token_hex(16)


@subscriber(NewResponse)
def forbid_inline_code(event: NewResponse) -> None:
    """Answer with a strict Content Security Policy: scripts and styles only from files of ours.

    The debug toolbar's button on our pages keeps to that; its own pages, for developers, do not.
    """
    if not event.request.environ['PATH_INFO'].startswith('/_debug_toolbar/'):
        event.response.headers['Content-Security-Policy'] = "default-src 'self'"


def refuse_unreadable(handler: Handler, registry: Registry) -> Handler:
    """A tween that refuses an address or a form that cannot be decoded, before any view reads it."""

    def tween(request: Request) -> Response:
        try:
            _ = request.path_info, request.params
        except ValueError:  # text that is not UTF-8, a multipart form without its boundary
            return HTTPBadRequest('The address or the form of this request cannot be read.')
        return handler(request)

    return tween
