"""Clients that are programs: every answer to `Accept: application/json`, and to a JSON body, is JSON."""

import json
from contextlib import contextmanager

import pytest
from pyramid.csrf import CookieCSRFStoragePolicy, get_csrf_token
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from pyramid.session import SignedCookieSessionFactory

from pyramid_progress import TaskCancelled, init_progress_status, set_progress_status, start_task

SAME_ORIGIN = {'Sec-Fetch-Site': 'same-origin'}
JSON = {'Accept': 'application/json'}
HTML = {'Accept': 'text/html'}

GET = ('progress_status', 'progress_tasks')
POST = ('progress_cancel', 'progress_remove')


@pytest.fixture
def app(make_app):
    """An application without users, with the tasks of :func:`tasks`."""
    app = make_app()
    with tasks():
        yield app


@contextmanager
def tasks():
    """Start a task that can be cancelled, for the block, and one that has failed."""
    init_progress_status('failed', None, 'Import')
    set_progress_status('failed', 'failed', message='No good')
    task = start_task('Import', progress_id='running')
    yield
    task.finish()


def send(app, route, body, status, headers=SAME_ORIGIN):
    """Send a body as JSON, without the header ``Accept``, and return the JSON of the answer."""
    text = body if isinstance(body, bytes) else json.dumps(body)
    answer = app.post(f'/{route}', text, headers=headers, content_type='application/json', status=status)
    assert answer.content_type == 'application/json'
    return answer.json


class TestJsonBodies:
    def test_cancelling(self, app):
        assert send(app, 'progress_cancel', {'progress_id': 'running'}, 200)['status'] == 'cancelling'

    def test_removing(self, app):
        assert send(app, 'progress_remove', {'progress_id': 'failed'}, 200) == {'status': 'unknown'}
        assert app.get('/progress_status?progress_id=failed').json == {'status': 'unknown'}

    def test_a_browser_that_sends_json_gets_json(self, app):
        send(app, 'progress_remove', {'progress_id': 'failed'}, 200, SAME_ORIGIN | HTML)
        send(app, 'progress_remove', {'progress_id': 'failed'}, 404, SAME_ORIGIN | HTML)

    @pytest.mark.parametrize('route', POST)
    @pytest.mark.parametrize(
        ('body', 'status', 'sentence'),
        [
            (b'{', 400, 'The body of the request cannot be read.'),
            (b'\xff', 400, 'The body of the request cannot be read.'),
            (b'', 400, 'The body of the request cannot be read.'),
            ([], 400, 'Missing argument'),
            ({}, 400, 'Missing argument'),
            ({'progress_id': 1}, 400, 'Missing argument'),
            ({'progress_id': None}, 400, 'Missing argument'),
            ({'progress_id': ''}, 400, 'progress_id is empty'),
            ({'progress_id': 'a\x00'}, 400, 'progress_id contains control characters'),
            ({'progress_id': '\ud800'}, 400, None),
            ({'progress_id': 'none'}, 404, 'There is no such task.'),
        ],
    )
    def test_errors(self, app, route, body, status, sentence):
        answer = send(app, route, body, status)
        assert set(answer) == {'message', 'code', 'title'}
        assert sentence is None or answer['message'].startswith(sentence)
        assert answer['code'].startswith(str(status))

    @pytest.mark.parametrize(('route', 'progress_id'), [('progress_cancel', 'failed'), ('progress_remove', 'running')])
    def test_a_task_in_another_status(self, app, route, progress_id):
        assert send(app, route, {'progress_id': progress_id}, 409)['title'] == 'Conflict'

    @pytest.mark.parametrize('route', POST)
    def test_another_site(self, app, route):
        answer = send(app, route, {'progress_id': 'running'}, 403, {'Origin': 'http://evil.example'})
        assert answer['message'] == 'This request was not made by a page of this site.'

    @pytest.mark.parametrize('route', POST)
    def test_a_missing_token(self, make_app, route):
        app = make_app(lambda config: config.set_csrf_storage_policy(CookieCSRFStoragePolicy()))
        send(app, route, {'progress_id': 'running'}, 400)

    def test_a_page_that_sends_the_token_in_a_header(self, make_app):
        app = make_app(lambda config: config.set_csrf_storage_policy(CookieCSRFStoragePolicy()))
        app.set_cookie('csrf_token', 'secret')
        with tasks():
            answer = send(app, 'progress_cancel', {'progress_id': 'running'}, 200, {'X-CSRF-Token': 'secret'})
        assert answer['status'] == 'cancelling'

    @pytest.mark.parametrize('route', POST)
    def test_a_store_that_is_down(self, make_app, tmp_path, route):
        app = make_app(**{'cache.type': 'file', 'cache.data_dir': str(tmp_path)})
        init_progress_status('a', None, 'Import')
        for path in tmp_path.rglob('*.cache'):
            path.write_bytes(b'no pickle')
        answer = app.post_json(f'/{route}', {'progress_id': 'a'}, headers=SAME_ORIGIN, status=503)
        assert answer.json['message'] == 'The progress of tasks cannot be read at the moment.'
        assert int(answer.headers['Retry-After']) > 0

    def test_work_of_a_view_that_is_cancelled(self, make_app):
        def view(request):
            raise TaskCancelled

        def configure(config):
            config.add_route('import', '/import')
            config.add_view(view, route_name='import')

        assert send(make_app(configure), 'import', {}, 409)['message'] == 'This was cancelled.'


class TestMethods:
    @pytest.mark.parametrize(
        ('route', 'allowed', 'method'),
        [(route, 'GET, HEAD', method) for route in GET for method in ('POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')]
        + [(route, 'POST', method) for route in POST for method in ('GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')],
    )
    def test_other_methods_change_nothing(self, app, route, allowed, method):
        answer = app.request(f'/{route}?progress_id=running', method=method, headers=JSON | SAME_ORIGIN, status=405)
        assert answer.headers['Allow'] == allowed
        assert answer.json['message'] == f'This URL answers {allowed} only.'
        assert app.get('/progress_status?progress_id=running').json['status'] == 'running'

    @pytest.mark.parametrize('route', GET + POST)
    def test_a_browser_gets_a_page(self, make_app, route):
        answer = make_app().request(f'/{route}', method='DELETE', headers=HTML, status=405)
        assert answer.content_type == 'text/html'
        assert 'This URL answers' in answer.text


class TestPermission:
    """`progress.permission`: the application's forbidden view answers, if there is one."""

    @staticmethod
    def ask(app, route, status, **headers):
        method, body = ('POST', b'{"progress_id": "a"}') if route in POST else ('GET', b'')
        headers = SAME_ORIGIN | headers | ({'Content-Type': 'application/json'} if body else {})
        return app.request(f'/{route}?progress_id=a', method=method, body=body, headers=headers, status=status)

    @pytest.mark.parametrize('route', GET + POST)
    def test_a_json_client(self, make_app, with_policy, route):
        app = make_app(with_policy, **{'progress.permission': 'watch'})
        message = 'You do not have the permission to read the progress of tasks.'
        assert self.ask(app, route, 403).json['message'] == message
        assert self.ask(app, route, 403, **JSON).json['code'] == '403 Forbidden'
        self.ask(app, route, 404 if route in POST else 200, **{'X-Permissions': 'watch'})

    def test_a_browser(self, make_app, with_policy):
        app = make_app(with_policy, **{'progress.permission': 'watch'})
        assert app.get('/progress_tasks', headers=HTML, status=403).content_type == 'text/html'

    @pytest.mark.parametrize('route', GET + POST)
    def test_the_forbidden_view_of_the_application(self, make_app, with_policy, route):
        def configure(config):
            with_policy(config)
            config.add_forbidden_view(lambda request: HTTPSeeOther('/login'))

        app = make_app(configure, **{'progress.permission': 'watch'})
        assert self.ask(app, route, 303).location == 'http://localhost/login'


class TestForms:
    """A form without a preference is one of a browser, as WebTest sends it."""

    def test_success_is_a_redirect(self, app):
        answer = app.post('/progress_remove', {'progress_id': 'failed'}, headers=SAME_ORIGIN, status=303)
        assert answer.location == 'http://localhost/'

    def test_an_error_is_text(self, make_app):
        for headers, content_type in ((HTML, 'text/html'), ({}, 'text/plain')):
            answer = make_app().post(
                '/progress_remove', {'progress_id': 'none'}, headers=SAME_ORIGIN | headers, status=404
            )
            assert answer.content_type == content_type
            assert 'There is no such task.' in answer.text

    @pytest.mark.parametrize('route', POST)
    def test_a_client_that_prefers_json(self, make_app, route):
        headers = SAME_ORIGIN | {'Accept': 'text/html;q=0.5, application/json'}
        answer = make_app().post(f'/{route}', {'progress_id': 'none'}, headers=headers, status=404)
        assert answer.json['message'] == 'There is no such task.'


class TestTokenInAHeaderOnly:
    """`set_default_csrf_options(token=None, header=…)`: no field of a form has the token."""

    @pytest.fixture
    def app(self, make_app, with_policy):
        def configure(config):
            with_policy(config)
            config.set_session_factory(SignedCookieSessionFactory('secret'))
            config.set_default_csrf_options(require_csrf=True, token=None, header='X-Key')
            config.add_route('page', '/page')
            config.add_view(lambda request: Response(str(request.progress.bar('running'))), route_name='page')
            config.add_route('token', '/token')
            config.add_view(lambda request: Response(get_csrf_token(request)), route_name='token')

        return make_app(configure)

    def test_the_button_names_the_header(self, app):
        with tasks():
            self.cancel(app)

    @staticmethod
    def cancel(app):
        button = app.get('/page').html.select_one('button.pp-cancel')
        assert button['data-csrf-header'] == 'X-Key'
        assert button['data-csrf-token'] == app.get('/token').text
        assert 'data-csrf-name' not in button.attrs
        headers = JSON | {button['data-csrf-header']: button['data-csrf-token']}
        app.post(button['data-action'], {'progress_id': 'running'}, headers=JSON, status=400)
        assert (
            app.post(button['data-action'], {'progress_id': 'running'}, headers=headers).json['status'] == 'cancelling'
        )

    def test_there_is_no_form_without_script(self, app):
        with tasks():
            assert [element.name for element in app.get('/page').html.noscript.select('*')] == ['a']

    def test_the_form_of_the_task_page_names_the_header(self, app):
        init_progress_status('a', 'mary', 'Import')
        set_progress_status('a', 'failed')
        form = app.get('/progress_tasks', headers=HTML | {'X-User': 'mary'}).html.select_one('form.pp-remove')
        assert form['data-csrf-header'] == 'X-Key'
        assert 'hidden' in form.attrs  # the script shows it
        headers = JSON | {'X-User': 'mary', form['data-csrf-header']: form['data-csrf-token']}
        assert app.post(form['action'], {'progress_id': 'a'}, headers=headers).json == {'status': 'unknown'}
