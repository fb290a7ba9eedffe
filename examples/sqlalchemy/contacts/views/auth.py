"""Signing in and out, and the answer to those who have not signed in."""

from pyramid.httpexceptions import HTTPForbidden, HTTPSeeOther, HTTPUnauthorized
from pyramid.security import NO_PERMISSION_REQUIRED, forget, remember
from pyramid.view import forbidden_view_config, view_config

from ..models import User
from ..security import has_token


@view_config(
    route_name='login',
    request_method=('GET', 'POST'),
    renderer='contacts:templates/login.jinja2',
    permission=NO_PERMISSION_REQUIRED,
)
def login(request):
    name = request.POST.get('name', '')
    if request.method == 'POST':
        user = request.dbsession.get(User, name)
        if user is not None and user.check_password(request.POST.get('password', '')):
            return HTTPSeeOther(request.route_path('home'), headers=remember(request, user.name))
        request.response.status = 403
    return {'name': name}


@view_config(route_name='logout', request_method='POST')
def logout(request):
    return HTTPSeeOther(request.route_path('login'), headers=forget(request))


@forbidden_view_config()
def forbidden(error, request):
    if has_token(request):
        return HTTPUnauthorized(
            json={'message': 'The token is not valid.'}, headers={'WWW-Authenticate': 'Bearer error="invalid_token"'}
        )
    if request.is_authenticated or request.method != 'GET':
        return HTTPForbidden(error.detail)
    return HTTPSeeOther(request.route_path('login'))
