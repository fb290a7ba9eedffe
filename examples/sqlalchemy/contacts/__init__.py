"""An example of pyramid_progress: contacts that are imported from CSV files."""

from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory


def main(global_config, **settings):
    """Return the WSGI application, as ``pserve development.ini`` starts it."""
    # The polls of the bars must not send back an older session: no reissue, and no timeout.
    session_factory = SignedCookieSessionFactory(
        settings['contacts.secret'], httponly=True, samesite='Lax', timeout=None, reissue_time=None
    )
    with Configurator(settings=settings, session_factory=session_factory) as config:
        config.include('pyramid_jinja2')
        config.include('pyramid_progress')
        config.include('.models')
        config.include('.security')
        config.include('.routes')
        config.scan('.views')
    return config.make_wsgi_app()
