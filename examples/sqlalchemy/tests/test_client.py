"""The client, over HTTP, with worker threads: an import that is followed, cancelled, and removed."""

import threading
import time
from urllib.error import HTTPError

import pytest
from webtest.http import StopableWSGIServer

from contacts import imports, main, models
from contacts.scripts.client import Client
from pyramid_progress import testing

CSV = 'name,email\nAda,ada@example.com\nGrace,grace@example.com\n'


@pytest.fixture
def server(settings, tmp_path):
    """A server of an application with a database of its own, in which transactions really commit."""
    dbengine = models.get_engine({'sqlalchemy.url': f'sqlite:///{tmp_path}/contacts.sqlite'})
    models.Base.metadata.create_all(dbengine)
    app = main({}, dbengine=dbengine, **settings | {'progress.threads': '1'})
    with models.get_session_factory(dbengine).begin() as dbsession:
        user = models.User(name='mary')
        user.set_password('unused')
        user.set_token('the token of mary')
        dbsession.add(user)
    server = StopableWSGIServer.create(app)
    with testing.isolated(app):
        yield server
    server.shutdown()
    dbengine.dispose()


@pytest.fixture
def client(server):
    return Client(server.application_url.rstrip('/'), 'the token of mary')


def test_an_import(client):
    progress_id = client.start(CSV)
    testing.wait_for(progress_id)
    assert client.status(progress_id)['result']['text'] == '2 contacts'
    assert list(client.tasks()) == [progress_id]
    assert client.remove(progress_id) == {'status': 'unknown'}
    assert client.tasks() == {}


def test_cancelling(client, monkeypatch):
    has_begun = threading.Event()

    def add_contact(dbsession, number, row):
        has_begun.set()
        time.sleep(0.01)

    monkeypatch.setattr(imports, 'add_contact', add_contact)
    progress_id = client.start('name,email\n' + 'Ada,ada@example.com\n' * 5_000)
    assert has_begun.wait(10)
    assert client.status(progress_id)['cancellable']
    with pytest.raises(HTTPError, match='409'):
        client.remove(progress_id)
    assert client.cancel(progress_id)['status'] == 'cancelling'
    testing.wait_for(progress_id, 'cancelled')
    assert client.status(progress_id)['current'] < 5_000
    with pytest.raises(HTTPError, match='409'):
        client.cancel(progress_id)
    client.remove(progress_id)


def test_an_invalid_token(server):
    with pytest.raises(HTTPError, match='401'):
        Client(server.application_url.rstrip('/'), 'guessed').start(CSV)
