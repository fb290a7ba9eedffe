"""Users of browsers, who have a session, and API clients, which send a token with each request."""

from pyramid.csrf import SessionCSRFStoragePolicy
from pyramid.request import RequestLocalCache
from pyramid.security import Allowed, Denied
from sqlalchemy import select

from .models import User, hash_token

_SCHEME = 'Bearer '


def has_token(request):
    """Return whether a request is one of an API client, valid or not: ``Authorization: Bearer …`` (RFC 6750)."""
    return request.headers.get('Authorization', '').startswith(_SCHEME)


class SecurityPolicy:
    """Identifies a user by the token of the request if it has one, and otherwise by the session.

    A request with a token never uses the session. So it needs no protection against cross-site request forgery: the
    pages of other sites cannot send the token.
    """

    def __init__(self):
        self._identities = RequestLocalCache(self._load_identity)

    def _load_identity(self, request):
        if has_token(request):
            token_hash = hash_token(request.headers['Authorization'].removeprefix(_SCHEME))
            return request.dbsession.scalar(select(User).where(User.token_hash == token_hash))
        name = request.session.get('user')
        return None if name is None else request.dbsession.get(User, name)

    def identity(self, request):
        return self._identities.get_or_create(request)

    def authenticated_userid(self, request):
        user = self.identity(request)
        return None if user is None else user.name

    def permits(self, request, context, permission):
        if self.identity(request) is None:
            return Denied('Only users have permissions.')
        return Allowed('Users have all permissions.')

    def remember(self, request, userid, **kw):
        request.session.invalidate()
        request.session['user'] = userid
        return []

    def forget(self, request, **kw):
        request.session.invalidate()
        return []


def includeme(config):
    """Set the policies. pyramid_progress obeys the options for the protection against CSRF as well."""
    config.set_security_policy(SecurityPolicy())
    config.set_csrf_storage_policy(SessionCSRFStoragePolicy())
    config.set_default_csrf_options(require_csrf=True, callback=lambda request: not has_token(request))
    config.set_default_permission('use')
