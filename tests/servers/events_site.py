"""A Pyramid application with users, whose ini file the web server and pprogress-events share."""

from pathlib import Path
from wsgiref.util import shift_path_info

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPNotFound


class HeaderPolicy:
    """A security policy for which the header `X-User` names the user, until a file `signed-out` names that user."""

    def __init__(self, folder):
        self._folder = folder

    def authenticated_userid(self, request):
        userid = request.headers.get('X-User')
        if userid == 'by-address':
            return request.client_addr
        file = self._folder / 'signed-out'
        return userid if not file.exists() or userid not in file.read_text() else None

    def permits(self, request, context, permission):
        return self.authenticated_userid(request) is not None


def main(global_config, **settings):
    """Make the application."""
    folder = Path(global_config['here'])
    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
        config.set_security_policy(HeaderPolicy(folder))
        return config.make_wsgi_app()


def mount(loader, global_config, application):
    """Make a WSGI application that has another one of the ini file below ``/shop``."""
    mounted = loader.get_app(application, global_conf=global_config)

    def serve(environ, start_response):
        if environ['PATH_INFO'].startswith('/shop/'):
            shift_path_info(environ)
            return mounted(environ, start_response)
        return HTTPNotFound()(environ, start_response)

    return serve
