"""The API, as a client with a token uses it: no session, no cookies, no protection against CSRF."""

import pytest
import webtest

from pyramid_progress import list_tasks, start_task, testing

CSV = 'name,email\nAda,ada@example.com\n'
BEARER = {'Authorization': 'Bearer the token of mary', 'Accept': 'application/json'}


@pytest.fixture
def client(app, dbsession):
    """A client with the token of mary."""
    client = webtest.TestApp(app)
    client.extra_environ.update(HTTP_AUTHORIZATION=BEARER['Authorization'], HTTP_ACCEPT=BEARER['Accept'])
    return client


def test_an_import(client):
    answer = client.post('/api/imports', CSV, content_type='text/csv', status=202).json
    assert testing.wait_for(answer['progress_id'])['owner'] == 'mary'
    status = client.get(answer['status']).json
    assert (status['status'], status['current'], status['length']) == ('finished', 1, 1)
    assert client.get('/api/contacts').json == [{'email': 'ada@example.com', 'name': 'Ada'}]
    assert client.post_json(answer['remove'], {'progress_id': answer['progress_id']}).json == {'status': 'unknown'}
    assert list_tasks() == []
    assert not client.cookies


def test_cancelling(client):
    task = start_task('Importing contacts', owner='mary')
    assert client.post_json('/progress_cancel', {'progress_id': task.id}).json['status'] == 'cancelling'


@pytest.mark.parametrize('route', ['progress_cancel', 'progress_remove'])
def test_the_task_of_another_user_does_not_exist(client, route):
    task = start_task('Importing contacts', owner='john')
    assert client.get('/progress_status', {'progress_id': task.id}).json == {'status': 'unknown'}
    answer = client.post_json(f'/{route}', {'progress_id': task.id}, status=404)
    assert answer.json['message'] == 'There is no such task.'


def test_an_invalid_token(app, dbsession):
    client = webtest.TestApp(app, extra_environ={'HTTP_AUTHORIZATION': 'Bearer guessed'})
    answer = client.post('/api/imports', CSV, content_type='text/csv', status=401)
    assert answer.json == {'message': 'The token is not valid.'}
    assert list_tasks() == []


def test_a_browser_needs_the_csrf_token(mary):
    """The session of a user is no reason to obey a page of another site."""
    task = start_task('Importing contacts', owner='mary')
    mary.post('/progress_cancel', {'progress_id': task.id}, status=400)
    mary.post('/api/imports', CSV, content_type='text/csv', status=400)


def test_a_token_is_used_instead_of_the_session(mary):
    """Otherwise a request with an invalid token would be one of the session, without protection against CSRF."""
    mary.get('/api/contacts', headers={'Authorization': 'Bearer guessed'}, status=401)
