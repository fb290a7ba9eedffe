"""Fixtures: the application with a database that each test finds empty, and users of it.

The application is made once. Its transactions are real: they begin, commit and abort as in production, so that
submitted work runs after the commit. But they are savepoints in one transaction of the test's connection, which is
rolled back in the end, so that the database stays as it was.

Each process of pytest-xdist has a database of its own.
"""

from pathlib import Path

import pytest
import webtest
from pyramid.paster import get_appsettings
from sqlalchemy import event
from sqlalchemy.orm import Session

from contacts import main, models
from pyramid_progress import testing


@pytest.fixture(scope='session')
def settings(tmp_path_factory):
    """The settings of the ini file, with a database of this process."""
    ini_file = Path(__file__).parents[1] / 'testing.ini'
    database = tmp_path_factory.mktemp('database') / 'contacts.sqlite'
    return {**get_appsettings(str(ini_file)), 'sqlalchemy.url': f'sqlite:///{database}'}


@pytest.fixture(scope='session')
def dbengine(settings):
    """The database, with the users mary and john."""
    engine = models.get_engine(settings)
    _use_savepoints(engine)
    models.Base.metadata.create_all(engine)
    with Session(engine) as dbsession, dbsession.begin():
        for name in ('mary', 'john'):
            user = models.User(name=name)
            user.set_password(f'the password of {name}')
            user.set_token(f'the token of {name}')
            dbsession.add(user)
    return engine


def _use_savepoints(engine):
    """Make Python's driver of SQLite support savepoints (https://docs.sqlalchemy.org/en/20/dialects/sqlite.html)."""

    @event.listens_for(engine, 'connect')
    def begin_no_transaction(connection, record):
        connection.isolation_level = None

    @event.listens_for(engine, 'begin')
    def begin(connection):
        connection.exec_driver_sql('BEGIN')


@pytest.fixture(scope='session')
def app(settings, dbengine):
    """The application."""
    return main({}, dbengine=dbengine, **settings)


@pytest.fixture(autouse=True)
def progress(app):
    """Let each test begin without tasks."""
    with testing.isolated(app):
        yield


@pytest.fixture
def dbsession(app, dbengine):
    """A session that sees what the application commits during this test. After the test, nothing of that is left."""
    factory = app.registry['dbsession_factory']
    with dbengine.connect() as connection:
        transaction = connection.begin()
        factory.configure(bind=connection, join_transaction_mode='create_savepoint')
        with factory() as dbsession:
            yield dbsession
        factory.configure(bind=dbengine, join_transaction_mode='conditional_savepoint')
        transaction.rollback()


@pytest.fixture
def testapp(app, dbsession):
    """A browser of a visitor who has not signed in."""
    return webtest.TestApp(app)


@pytest.fixture
def mary(testapp):
    """The browser of mary, who has signed in."""
    sign_in(testapp, 'mary')
    return testapp


def sign_in(testapp, name):
    """Sign in with a browser."""
    form = testapp.get('/login').form
    form['name'] = name
    form['password'] = f'the password of {name}'
    form.submit(status=303)
