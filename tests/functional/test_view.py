"""The JSON view of statuses, over HTTP."""

import json
import re
import textwrap
from pathlib import Path
from urllib.parse import quote

import pytest
from pyramid.events import NewRequest
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.session import SignedCookieSessionFactory

from pyramid_progress import (
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
)
from pyramid_progress.runtime import current_store
from pyramid_progress.storage import StorageError

JSON = {'Accept': 'application/json'}


def ask(app, *progress_ids, **options):
    query = '&'.join('progress_id=' + quote(progress_id) for progress_id in progress_ids)
    return app.get('/progress_status?' + query, **{'headers': JSON} | options)


def test_no_answer_is_cached_whatever_the_application_sets(make_app):
    def allow_caching(event):
        event.request.response.headers['Cache-Control'] = 'public, max-age=60'

    app = make_app(lambda config: config.add_subscriber(allow_caching, NewRequest))
    init_progress_status('a', None, 'Import')
    for answer in (ask(app, 'a'), app.get('/progress_tasks', headers=JSON), app.get('/progress_status', status=400)):
        assert answer.headers.getall('Cache-Control') == ['no-store']


def test_one_id_gives_its_status_without_the_owner(make_app):
    app = make_app()
    init_progress_status('a', 'mary', 'Import', tags=['x'], length=10, current=3)
    answer = ask(app, 'a')
    assert answer.content_type == 'application/json'
    assert answer.headers['Cache-Control'] == 'no-store'
    status = answer.json
    assert 'T' in status.pop('started')
    assert status == {
        'status': 'running',
        'label': 'Import',
        'tags': ['x'],
        'length': 10,
        'current': 3,
    }


def test_several_ids_give_statuses_by_id(make_app):
    app = make_app()
    set_progress_status('a', current=1)
    set_progress_status('ü&=', current=2)
    answer = ask(app, 'a', 'ü&=', 'no-such').json
    assert answer['a']['current'] == 1
    assert answer['ü&=']['current'] == 2
    assert answer['no-such'] == {'status': 'unknown'}


def test_the_same_id_twice_is_several_times(make_app):
    assert ask(make_app(), 'a', 'a').json == {'a': {'status': 'unknown'}}


def test_fifty_ids_are_answered(make_app):
    assert len(ask(make_app(), *map(str, range(50))).json) == 50


@pytest.mark.parametrize(
    ('query', 'sentence'),
    [
        ('', 'Missing argument'),
        ('other=1', 'Missing argument'),
        ('progress_id=', 'progress_id is empty'),
        ('progress_id=' + 'x' * 10_000, 'progress_id has 10,000 characters'),
        ('progress_id=a%00b', 'control characters'),
        ('progress_id=a%0Ab', 'control characters'),
        ('progress_id=%C2%85', 'control characters'),
        ('&'.join(f'progress_id={number}' for number in range(51)), 'There are 51 progress_id arguments'),
        ('progress_id=%FF', 'not UTF-8'),
        ('progress_id=a&progress_id=', 'progress_id is empty'),
        ('progress_id=%ED%A0%80', 'not UTF-8'),
    ],
)
@pytest.mark.parametrize('accept', ['application/json', 'text/html', '*/*', ''])
def test_invalid_input_is_400_with_a_reason(make_app, query, sentence, accept):
    app = make_app()
    init_progress_status('a', None, 'Import')
    set_progress_status('a', 'finished')
    answer = app.get('/progress_status?' + query, headers={'Accept': accept}, status=400)
    assert sentence in answer.text
    assert answer.headers['Cache-Control'] == 'no-store'
    if accept == 'application/json':
        assert answer.content_type == 'application/json'
        assert sentence in json.loads(answer.body)['message']
    # No end was acknowledged, and no record was made.
    assert get_running_tasks() == {'a'}


def test_the_view_acknowledges_the_end_and_still_shows_it(make_app):
    app = make_app()
    init_progress_status('a', None, 'Import')
    set_progress_status('a', 'finished', message='Done')
    assert ask(app, 'a').json['status'] == 'finished'
    assert get_running_tasks() == set()
    assert get_progress_status('a') == {'status': 'unknown'}
    # The answer was lost, or a second tab asks:
    assert ask(app, 'a').json['message'] == 'Done'


def test_without_linger_an_acknowledged_task_is_unknown(make_app):
    app = make_app(**{'progress.linger': '0'})
    init_progress_status('a', None, 'Import')
    set_progress_status('a', 'finished')
    assert ask(app, 'a').json['status'] == 'finished'
    assert ask(app, 'a').json == {'status': 'unknown'}


def test_a_head_request_acknowledges_nothing(make_app):
    app = make_app()
    init_progress_status('a', None, 'Import')
    set_progress_status('a', 'finished')
    app.head('/progress_status?progress_id=a')
    assert get_running_tasks() == {'a'}


def test_a_route_prefix_works(make_app):
    app = make_app(route_prefix='/things')
    set_progress_status('a', current=1)
    assert app.get('/things/progress_status?progress_id=a').json['current'] == 1
    app.get('/progress_status?progress_id=a', status=404)


class TestViewOfTheApplication:
    """The view under the name that the script of pyams_utils polls, as docs/guides/migration-pyams.md sets it up."""

    @pytest.fixture
    def app(self, make_app):
        document = Path(__file__).parents[2] / 'docs' / 'guides' / 'migration-pyams.md'
        code = textwrap.dedent(re.search(r'( *config\.add_view\(\n.*?\n *\)\n)', document.read_text(), re.DOTALL)[1])

        def configure(config):
            config.set_session_factory(SignedCookieSessionFactory('secret'))
            config.set_default_csrf_options(require_csrf=True)
            config.set_default_permission('edit')
            exec(code, {'config': config, 'NO_PERMISSION_REQUIRED': NO_PERMISSION_REQUIRED})  # noqa: S102

        return make_app(configure)

    def test_a_post_of_the_script(self, app):
        init_progress_status('a', None, 'Import')
        set_progress_status('a', 'finished')
        assert app.post('/get-progress-status.json', {'progress_id': 'a'}, xhr=True).json['label'] == 'Import'
        assert get_progress_status('a') == {'status': 'unknown'}

    def test_a_get(self, app):
        set_progress_status('a', current=1)
        assert app.get('/get-progress-status.json?progress_id=a', xhr=True).json['current'] == 1

    @pytest.mark.parametrize(
        ('body', 'content_type'),
        [('', 'application/x-www-form-urlencoded'), ('progress_id=a', 'text/plain'), ('{', 'application/json')],
    )
    def test_a_post_without_an_id(self, app, body, content_type):
        app.post('/get-progress-status.json', body, content_type=content_type, xhr=True, status=400)

    def test_a_query_that_is_not_utf_8(self, app):
        app.get('/get-progress-status.json?progress_id=%FF', xhr=True, status=400)
        app.post('/get-progress-status.json?progress_id=%FF', {'progress_id': 'a'}, xhr=True, status=400)

    def test_a_store_that_does_not_answer(self, app, monkeypatch):
        def get_many_serialized(progress_ids):
            raise StorageError('the store does not answer')

        monkeypatch.setattr(current_store().storage, 'get_many_serialized', get_many_serialized)
        answer = app.get('/get-progress-status.json?progress_id=a', headers=JSON, xhr=True, status=503)
        assert int(answer.headers['Retry-After']) > 0
        assert 'cannot be read at the moment' in answer.json['message']

    def test_no_answer_is_kept(self, app):
        answer = app.get('/get-progress-status.json?progress_id=a', xhr=True)
        assert 'no-store' in answer.headers['Cache-Control']


class TestAccess:
    """Who may see a task."""

    def sees(self, app, progress_id, user=None):
        headers = JSON | ({'X-User': user} if user else {})
        return ask(app, progress_id, headers=headers).json['status'] != 'unknown'

    def test_auto_without_a_policy_shows_all_tasks(self, make_app):
        app = make_app()
        init_progress_status('a', 'mary', 'Import')
        assert self.sees(app, 'a')

    def test_auto_with_a_policy_shows_a_task_to_its_owner(self, make_app, with_policy):
        app = make_app(with_policy)
        init_progress_status('a', 'mary', 'Import')
        init_progress_status('b', None, 'Import')
        init_progress_status('c', 7, 'Import')
        assert self.sees(app, 'a', 'mary')
        assert not self.sees(app, 'a', 'john')
        assert not self.sees(app, 'a')
        assert self.sees(app, 'b', 'john')
        assert self.sees(app, 'b')
        assert self.sees(app, 'c', '7')  # compared as strings

    def test_id(self, make_app, with_policy):
        app = make_app(with_policy, **{'progress.access': 'id'})
        init_progress_status('a', 'mary', 'Import')
        assert self.sees(app, 'a')

    def test_owner(self, make_app, with_policy):
        app = make_app(with_policy, **{'progress.access': 'owner'})
        init_progress_status('a', 'mary', 'Import')
        init_progress_status('b', None, 'Import')
        assert self.sees(app, 'a', 'mary')
        assert not self.sees(app, 'a')
        assert not self.sees(app, 'b', 'mary')
        assert not self.sees(app, 'b')

    def test_a_callable(self, make_app):
        def rule(request, progress_id, status):
            status['label'] = 'changed'
            return progress_id == 'a' and status['owner'] == 'mary'

        app = make_app(**{'progress.access': rule})
        init_progress_status('a', 'mary', 'Import')
        init_progress_status('b', 'mary', 'Import')
        assert ask(app, 'a').json['label'] == 'Import'
        assert not self.sees(app, 'b')

    def test_an_invisible_end_is_not_acknowledged(self, make_app, with_policy):
        app = make_app(with_policy)
        init_progress_status('a', 'mary', 'Import')
        set_progress_status('a', 'finished')
        assert ask(app, 'a', headers=JSON | {'X-User': 'john'}).json == {'status': 'unknown'}
        assert get_running_tasks() == {'a'}
        assert ask(app, 'a', headers=JSON | {'X-User': 'mary'}).json['status'] == 'finished'

    def test_a_permission(self, make_app, with_policy):
        app = make_app(with_policy, **{'progress.permission': 'watch'})
        set_progress_status('a', current=1)
        ask(app, 'a', status=403)
        assert ask(app, 'a', headers=JSON | {'X-Permissions': 'watch'}).json['current'] == 1

    def test_the_default_permission_of_the_application_is_not_required(self, make_app, with_policy):
        def configure(config):
            with_policy(config)
            config.set_default_permission('edit')

        app = make_app(configure)
        set_progress_status('a', current=1)
        assert ask(app, 'a').json['current'] == 1


def test_errors_are_not_the_applications_error_pages(make_app):
    def configure(config):
        config.add_exception_view(lambda request: HTTPSeeOther('/login'), context=Exception)

    assert ask(make_app(configure), '', status=400).content_type == 'application/json'


def test_the_session_is_not_touched(make_app):
    class Session(SignedCookieSessionFactory('secret')):
        def __init__(self, request):
            raise AssertionError('the view touched the session')

    app = make_app(lambda config: config.set_session_factory(Session))
    init_progress_status('a', None, 'Import')
    assert ask(app, 'a').json['status'] == 'running'


def test_a_store_that_is_down_is_503(make_app, tmp_path):
    app = make_app(**{'cache.type': 'file', 'cache.data_dir': str(tmp_path / 'data')})
    init_progress_status('a', None, 'Import')
    for path in (tmp_path / 'data').rglob('*.cache'):
        path.write_bytes(b'no pickle')
    answer = ask(app, 'a', status=503)
    assert int(answer.headers['Retry-After']) > 0
    assert answer.headers['Cache-Control'] == 'no-store'
    assert 'cannot be read at the moment' in answer.json['message']


def test_static_files_are_served_under_the_version(make_app):
    from importlib.metadata import version

    app = make_app()
    answer = app.get(f'/pyramid_progress/{version("pyramid_progress")}/progress.js')
    assert answer.content_type in ('text/javascript', 'application/javascript')
