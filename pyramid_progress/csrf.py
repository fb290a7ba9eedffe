"""Requests that change something come from the application's own pages."""

from typing import Any
from urllib.parse import urlsplit

from pyramid.csrf import (
    LegacySessionCSRFStoragePolicy,
    SessionCSRFStoragePolicy,
    check_csrf_origin,
    check_csrf_token,
    get_csrf_token,
)
from pyramid.httpexceptions import HTTPForbidden
from pyramid.interfaces import ICSRFStoragePolicy, IDefaultCSRFOptions, ISessionFactory


def check(request: Any) -> None:
    """Check that a request was made by a page of the application.

    It is as Pyramid checks it where the application has tokens. Where it has none, the browser's word stands in:
    ``Sec-Fetch-Site`` (W3C Fetch Metadata), or ``Origin`` (RFC 6454) from a browser that does not send that.

    :param request: the current request
    :raises pyramid.exceptions.BadCSRFToken, pyramid.exceptions.BadCSRFOrigin: as Pyramid does
    :raises pyramid.httpexceptions.HTTPForbidden: where it was not, in an application without tokens
    """
    if _has_tokens(request):
        options = request.registry.queryUtility(IDefaultCSRFOptions)
        check_csrf_origin(request)
        if options is None:
            check_csrf_token(request)
        else:
            check_csrf_token(request, options.token, options.header)
    elif not _is_same_origin(request):
        raise HTTPForbidden('This request was not made by a page of this site.')


def field(request: Any) -> dict[str, str] | None:
    """Return ``name`` and ``value`` of the hidden field that a form needs to pass :func:`check`, if it needs one."""
    if not _has_tokens(request):
        return None
    options = request.registry.queryUtility(IDefaultCSRFOptions)
    return {'name': options.token if options else 'csrf_token', 'value': get_csrf_token(request)}


def _has_tokens(request: Any) -> bool:
    # Pyramid's default policies keep the token in the session, and raise where there is no session.
    policy = request.registry.queryUtility(ICSRFStoragePolicy)
    needs_session = isinstance(policy, (LegacySessionCSRFStoragePolicy, SessionCSRFStoragePolicy))
    return not needs_session or request.registry.queryUtility(ISessionFactory) is not None


def _is_same_origin(request: Any) -> bool:
    site = request.headers.get('Sec-Fetch-Site')
    if site is not None:
        return bool(site == 'same-origin')
    origin = urlsplit(request.headers.get('Origin', ''))
    return (origin.scheme, origin.netloc) == (request.scheme, request.host)
