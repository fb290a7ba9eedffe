"""Protection against cross-site request forgery."""

from typing import Any

from pyramid.csrf import (
    LegacySessionCSRFStoragePolicy,
    SessionCSRFStoragePolicy,
    check_csrf_origin,
    check_csrf_token,
    get_csrf_token,
)
from pyramid.httpexceptions import HTTPBadRequest, HTTPForbidden
from pyramid.interfaces import ICSRFStoragePolicy, IDefaultCSRFOptions, ISessionFactory


def check(request: Any) -> None:
    """Check that a request was made by a page of the application.

    If the application has CSRF tokens, Pyramid's check applies, with the options of
    :meth:`pyramid.config.Configurator.set_default_csrf_options`; its ``callback`` and ``safe_methods`` can exempt
    requests, such as those of clients that authenticate with a token. If it has none, a same-origin check takes its
    place: ``Sec-Fetch-Site`` (W3C Fetch Metadata), or ``Origin`` (RFC 6454) for browsers that do not send that.

    :param request: the current request
    :raises pyramid.exceptions.BadCSRFToken, pyramid.exceptions.BadCSRFOrigin: if Pyramid's check fails
    :raises pyramid.httpexceptions.HTTPBadRequest: if the origin or the token cannot be read
    :raises pyramid.httpexceptions.HTTPForbidden: if the same-origin check fails
    """
    options = request.registry.queryUtility(IDefaultCSRFOptions)
    if options and (request.method in options.safe_methods or (options.callback and not options.callback(request))):
        return
    if _has_tokens(request):
        try:
            if options is None or options.check_origin:
                check_csrf_origin(request, allow_no_origin=options is not None and options.allow_no_origin)
            if options is None:
                check_csrf_token(request)
            else:
                check_csrf_token(request, options.token, options.header)
        except (TypeError, ValueError) as error:  # an Origin that is not a URL, a token that is an upload
            raise HTTPBadRequest('The origin or the token of this request cannot be read.') from error
    elif not _is_same_origin(request):
        raise HTTPForbidden('This request was not made by a page of this site.')


def field(request: Any) -> dict[str, str] | None:
    """Return ``name`` and ``value`` of the hidden field that a form needs to pass :func:`check`, if it needs one."""
    if not _has_tokens(request):
        return None
    options = request.registry.queryUtility(IDefaultCSRFOptions)
    name = options.token if options else 'csrf_token'
    return {'name': name, 'value': get_csrf_token(request)} if name else None


def header(request: Any) -> dict[str, str] | None:
    """Return ``name`` and ``value`` of the header that a request needs to pass :func:`check`, if no field can.

    That is so if the options of :meth:`pyramid.config.Configurator.set_default_csrf_options` name no ``token``.
    """
    if not _has_tokens(request) or field(request):
        return None
    options = request.registry.queryUtility(IDefaultCSRFOptions)
    return {'name': options.header, 'value': get_csrf_token(request)}


def _has_tokens(request: Any) -> bool:
    options = request.registry.queryUtility(IDefaultCSRFOptions)
    if options and not options.token and not options.header:
        return False
    # Pyramid's default policies keep the token in the session, and raise if there is no session.
    policy = request.registry.queryUtility(ICSRFStoragePolicy)
    needs_session = isinstance(policy, (LegacySessionCSRFStoragePolicy, SessionCSRFStoragePolicy))
    return not needs_session or request.registry.queryUtility(ISessionFactory) is not None


def _is_same_origin(request: Any) -> bool:
    site = request.headers.get('Sec-Fetch-Site')
    if site is not None:
        return bool(site == 'same-origin')
    return bool(request.headers.get('Origin') == request.host_url)
