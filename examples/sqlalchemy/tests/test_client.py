"""The client, over HTTP, with worker threads: an import that is followed, cancelled, and removed."""

import sys
import threading
import time
from email.message import Message
from urllib.error import HTTPError

import pytest
from webtest.http import StopableWSGIServer

from contacts import imports, main, models
from contacts.scripts import client as script
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


class TestProgram:
    """The program `contacts_client`."""

    @pytest.fixture
    def run(self, server, tmp_path, monkeypatch):
        """Return a function that imports a file with it, and returns its exit status."""
        path = tmp_path / 'contacts.csv'
        path.write_text(CSV)
        monkeypatch.setattr(sys, 'argv', ['contacts_client', server.application_url, 'the token of mary', str(path)])
        return script.main

    @pytest.fixture
    def answers(self, monkeypatch):
        """Answers to polls, and errors, which replace those of the server, until none is left."""
        answers = []
        status = Client.status

        def answer(client, progress_id):
            if not answers:
                return status(client, progress_id)
            if isinstance(answers[0], Exception):
                raise answers.pop(0)
            return answers.pop(0)

        monkeypatch.setattr(Client, 'status', answer)
        return answers

    def test_an_import(self, run, answers, capsys):
        answers.append({'status': 'pending', 'current': None, 'length': None})
        assert run() == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith('finished')

    @pytest.mark.parametrize(
        ('status', 'sentence'),
        [
            ({'status': 'unknown'}, 'The server does not know this import any more.'),
            ({'status': 'stalled', 'current': 1, 'length': 2, 'message': 'Ada'}, 'This import no longer responds.'),
        ],
    )
    def test_an_import_whose_end_will_not_come(self, run, answers, capsys, status, sentence):
        answers.append(status)
        assert run() == 1
        assert capsys.readouterr().err == sentence + '\n'

    @pytest.mark.parametrize(('value', 'seconds'), [('7', 7), (None, 5), ('Thu, 01 Jan 2026 00:00:00 GMT', 5)])
    def test_a_server_whose_store_does_not_answer(self, run, answers, monkeypatch, value, seconds):
        headers = Message()
        if value:
            headers['Retry-After'] = value
        answers.append(HTTPError('/progress_status', 503, 'Service Unavailable', headers, None))
        pauses = []
        sleep = time.sleep

        def pause(seconds):
            pauses.append(seconds)
            sleep(0.01)

        monkeypatch.setattr(script.time, 'sleep', pause)
        assert run() == 0
        assert seconds in pauses
