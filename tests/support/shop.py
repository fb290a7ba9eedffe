"""An application with SQLAlchemy, pyramid_tm and pyramid_retry, as the cookiecutter generates it."""

import time

import zope.sqlalchemy
from pyramid.response import Response
from pyramid_retry import mark_error_retryable
from sqlalchemy import NullPool, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from pyramid_progress import list_tasks, new_request

#: Makes pyramid_tm use a transaction manager of its own for each request.
EXPLICIT = {'tm.manager_hook': 'pyramid_tm.explicit_manager'}


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = 'customer'
    name: Mapped[str] = mapped_column(primary_key=True)


class Conflict(Exception):
    """An error after which pyramid_retry repeats the request."""


mark_error_retryable(Conflict)


class Shop:
    """An application as the cookiecutter generates it, with one view, which a test decides.

    :param make_app: the fixture
    :param directory: where its database is
    :param settings: more settings
    """

    def __init__(self, make_app, directory, settings):
        self.ran = []
        self.view = None
        #: The ids of what the view submitted.
        self.ids = []
        # Without a pool, no connection stays open.
        engine = create_engine(f'sqlite:///{directory}/shop.db', poolclass=NullPool)
        Base.metadata.create_all(engine)
        self._factory = sessionmaker(engine)
        self.app = make_app(self._configure, **settings)
        self.registry = self.app.app.registry

    def _configure(self, config):
        config.include('pyramid_tm')
        config.include('pyramid_retry')
        config.add_request_method(self._session, 'dbsession', reify=True)
        config.add_route('work', '/work')
        config.add_view(lambda request: self.view(request), route_name='work')
        config.add_exception_view(self._excuse, context=LookupError)

    def _session(self, request):
        session = self._factory()
        zope.sqlalchemy.register(session, transaction_manager=request.tm)
        return session

    @staticmethod
    def _excuse(error, request):
        return Response('sorry')

    def work(self, task, name):
        """Note how many customers of a name there are."""
        with new_request() as request, request.tm:
            query = select(func.count()).select_from(Customer).where(Customer.name == name)
            self.ran.append(request.dbsession.scalar(query))

    def add(self, request, name='mary', **options):
        """Add a customer, and submit work that needs it."""
        request.dbsession.add(Customer(name=name))
        self.ids.append(request.progress.submit(self.work, name, label='Work', **options))

    def post(self, view, body=None):
        """Call the view with a request; return the exception that leaves the application, or None."""
        self.view = view
        try:
            self.app.post('/work', body or {}, expect_errors=True)
        except Exception as error:  # noqa: BLE001  (the caller examines it)
            return error
        finally:
            self.view = None

    def is_discarded(self):
        """Return whether the work never runs, and the task is gone."""
        time.sleep(0.5)  # more than two rounds of the publisher, which restores lost records
        return not self.ran and not list_tasks()
