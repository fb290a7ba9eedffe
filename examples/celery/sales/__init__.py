"""An example of pyramid_progress: reports that Celery workers write."""

import os

from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory


def main(global_config, **settings):
    """Return the WSGI application, as ``pserve production.ini`` starts it."""
    # The views import the tasks, whose module reads this file.
    os.environ['SALES_INI'] = global_config['__file__']
    # The polls of the bars must not send back an older session: no reissue, and no timeout.
    session_factory = SignedCookieSessionFactory(
        settings['sales.secret'], httponly=True, samesite='Lax', timeout=None, reissue_time=None
    )
    with Configurator(settings=settings, session_factory=session_factory) as config:
        config.set_default_csrf_options(require_csrf=True)
        config.include('pyramid_chameleon')
        config.include('pyramid_progress')
        config.add_route('reports', '/')
        # The ids are those that Celery makes.
        config.add_route('started', '/reports/{progress_id:[0-9a-f-]{36}}')
        config.add_route('file', '/files/{name}')
        config.scan('.views')
    return config.make_wsgi_app()
