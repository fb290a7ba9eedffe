"""The models, and ``request.dbsession``, as the Pyramid cookiecutter sets it up."""

import zope.sqlalchemy
from sqlalchemy import engine_from_config
from sqlalchemy.orm import configure_mappers, sessionmaker

from .contact import Contact, Upload
from .meta import Base
from .user import User, hash_token

__all__ = ['Base', 'Contact', 'Upload', 'User', 'get_engine', 'get_session_factory', 'get_tm_session', 'hash_token']

configure_mappers()


def get_engine(settings, prefix='sqlalchemy.'):
    return engine_from_config(settings, prefix)


def get_session_factory(engine):
    factory = sessionmaker()
    factory.configure(bind=engine)
    return factory


def get_tm_session(session_factory, transaction_manager, request=None):
    """Return a session that joins the transactions of a manager.

    The manager of a request, and of one of ``pyramid_progress.new_request()``, is ``request.tm``.
    """
    dbsession = session_factory(info={'request': request})
    zope.sqlalchemy.register(dbsession, transaction_manager=transaction_manager)
    return dbsession


def includeme(config):
    """Add ``request.dbsession`` and ``request.tm``."""
    settings = config.get_settings()
    settings['tm.manager_hook'] = 'pyramid_tm.explicit_manager'
    config.include('pyramid_tm')
    config.include('pyramid_retry')

    # The tests share their engine.
    dbengine = settings.get('dbengine') or get_engine(settings)
    session_factory = get_session_factory(dbengine)
    config.registry['dbsession_factory'] = session_factory

    def dbsession(request):
        # The tests share their session.
        dbsession = request.environ.get('app.dbsession')
        if dbsession is None:
            dbsession = get_tm_session(session_factory, request.tm, request=request)
        return dbsession

    config.add_request_method(dbsession, reify=True)
