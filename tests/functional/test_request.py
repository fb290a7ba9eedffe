"""`request.progress`, and the view that cancels."""

import gc
import threading
import weakref

import pytest
from pyramid.csrf import CookieCSRFStoragePolicy
from pyramid.request import Request, apply_request_extensions
from pyramid.response import Response
from pyramid.scripting import prepare
from pyramid.session import SignedCookieSessionFactory
from pyramid.threadlocal import get_current_registry, get_current_request
from support.waiting import wait_until

from pyramid_progress import (
    ProgressError,
    TaskCancelled,
    forget_task,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    start_task,
)

JSON = {'Accept': 'application/json'}
#: Bodies with their content types that cannot be parsed.
UNREADABLE = [
    (b'progress_id=a', 'application/x-www-form-urlencoded; charset=nonsense'),
    (b'junk', 'multipart/form-data'),
    (b'junk', 'multipart/form-data; boundary=x'),
    (b'{', 'application/json'),
    # At most 10 kB: WebOb keeps a longer body in a file, which it does not close.
    pytest.param(b'[' * 10_000, 'application/json', id='nested lists'),
    pytest.param(b'{"a":' * 2_000, 'application/json', id='nested objects'),
]
SAME_ORIGIN = {'Sec-Fetch-Site': 'same-origin'}
#: An id that the widget generates.
POSTED = '0123456789abcdef' * 2


@pytest.fixture
def app_with(make_app, with_policy):
    """Return a function that makes an application with one view, at `/work`."""

    def make(view, extra=lambda config: None, **settings):
        def configure(config):
            with_policy(config)
            config.add_route('work', '/work')
            config.add_view(view, route_name='work')
            extra(config)

        return make_app(configure, **settings)

    return make


class TestOnePerRequest:
    """It is created at its first use, whatever made the request."""

    def test_in_a_view(self, app_with):
        def view(request):
            return Response(json_body=[request.progress is request.progress, request.progress.request is request])

        assert app_with(view).get('/work').json == [True, True]

    @pytest.mark.parametrize('bring_up', [apply_request_extensions, lambda request: prepare(request)['closer']()])
    def test_in_a_script(self, make_app, bring_up):
        request = Request.blank('/')
        request.registry = make_app().app.registry
        bring_up(request)
        assert request.progress is request.progress
        assert request.progress.request is request

    def test_a_request_that_does_not_use_it_is_freed_at_once(self, app_with):
        """Its body, which may be an upload, is not kept until the next garbage collection."""
        requests = []

        def view(request):
            requests.append(weakref.ref(request))
            return Response('')

        app = app_with(view)
        gc.disable()
        try:
            app.get('/work')
            assert requests[0]() is None
        finally:
            gc.enable()


class TestStart:
    @staticmethod
    def view(request):
        with request.progress.start('Import', length=3, tags=['x']) as task:
            status = get_progress_status(task.id)
        return Response(json_body={'id': task.id} | status)

    def test_the_owner_is_the_user(self, app_with):
        status = app_with(self.view).post('/work', headers={'X-User': 'mary'}).json
        assert (status['owner'], status['label'], status['length'], status['tags']) == ('mary', 'Import', 3, ['x'])
        assert app_with(self.view).post('/work').json['owner'] is None

    def test_the_id_comes_from_the_body(self, app_with):
        assert app_with(self.view).post('/work', {'progress_id': POSTED}).json['id'] == POSTED

    @pytest.mark.parametrize(
        'progress_id',
        ['', 'x' * 256, 'a\nb', 'reindex', POSTED[:-1], POSTED + '0', POSTED + '\n', 'F' * 32, 'g' * 32, 'of-john'],
    )
    def test_an_id_that_the_widget_does_not_generate_is_replaced(self, app_with, progress_id):
        app = app_with(self.view)
        init_progress_status('of-john', 'john', 'Export')
        answer = app.post('/work', {'progress_id': progress_id}, headers={'X-User': 'mary'})
        assert answer.json['id'] != progress_id
        assert get_progress_status('of-john')['label'] == 'Export'

    def test_a_second_task_of_the_request_has_another_id(self, app_with):
        def view(request):
            with request.progress.start('One') as one, request.progress.start('Two') as two:
                return Response(json_body=[one.id, two.id])

        one, two = app_with(view).post('/work', {'progress_id': POSTED}).json
        assert one == POSTED != two

    def test_a_form_that_is_sent_twice_starts_two_tasks(self, app_with):
        app = app_with(self.view)
        with start_task('The first', progress_id=POSTED) as first:
            assert app.post('/work', {'progress_id': POSTED}).json['id'] != POSTED
            assert get_progress_status(POSTED)['label'] == 'The first'
        assert first.id == POSTED
        assert app.post('/work', {'progress_id': POSTED}).json['id'] != POSTED, 'its end lingers'
        forget_task(POSTED)
        assert app.post('/work', {'progress_id': POSTED}).json['id'] == POSTED

    def test_the_answer_to_a_form_acknowledges_the_end(self, app_with):
        app = app_with(self.view)
        app.post('/work', {'progress_id': POSTED})
        assert get_running_tasks() == set()
        status = app.get(f'/progress_status?progress_id={POSTED}').json['status']
        assert status == 'finished', 'other tabs see it while it lingers'
        other = app.post('/work').json['id']
        assert get_running_tasks() == {other}, 'this end was not acknowledged'

    def test_the_answer_to_a_form_acknowledges_nothing_if_the_work_goes_on(self, app_with):
        tasks = []

        def view(request):
            tasks.append(request.progress.start('Import'))
            return Response('')

        app_with(view).post('/work', {'progress_id': POSTED})
        assert get_running_tasks() == {POSTED}
        tasks[0].finish()
        assert get_running_tasks() == {POSTED}

    def test_never_from_the_query_string(self, app_with):
        assert app_with(self.view).post(f'/work?progress_id={POSTED}').json['id'] != POSTED
        assert app_with(self.view).get(f'/work?progress_id={POSTED}').json['id'] != POSTED

    @pytest.mark.parametrize(('body', 'kind'), UNREADABLE)
    def test_a_body_that_cannot_be_read(self, app_with, body, kind):
        answer = app_with(self.view).post('/work', body, headers={'Content-Type': kind})
        assert len(answer.json['id']) == 32

    def test_an_upload_is_not_an_id(self, app_with):
        answer = app_with(self.view).post('/work', upload_files=[('progress_id', 'a.txt', b'x')])
        assert len(answer.json['id']) == 32

    def test_a_cancelled_view_is_a_plain_page(self, app_with):
        def view(request):
            raise TaskCancelled

        answer = app_with(view).post('/work', status=409)
        assert 'cancelled' in answer.text


class TestSubmit:
    def submit(self, app_with, func, extra=lambda config: None, user=None, **settings):
        app = app_with(
            lambda request: Response(request.progress.submit(func, 'argument', label='Import')), extra, **settings
        )
        return app, lambda: app.post('/work', headers={'X-User': user} if user else {}).text

    def test_it_runs_on_a_thread_of_the_application(self, app_with):
        seen = {}

        def work(task, argument):
            seen.update(
                argument=argument,
                registry=get_current_registry(),
                request=get_current_request(),
                thread=threading.current_thread(),
            )
            task.finish('Done')

        app, submit = self.submit(app_with, work, user='mary')
        progress_id = submit()
        assert len(progress_id) == 32
        status = wait_until(lambda: (s := get_progress_status(progress_id))['status'] == 'finished' and s)
        assert (status['owner'], status['message']) == ('mary', 'Done')
        assert seen['argument'] == 'argument'
        assert seen['registry'] is app.app.registry
        assert seen['request'] is None
        assert seen['thread'].daemon

    def test_a_failure_does_not_end_the_thread(self, app_with):
        def work(task, argument):
            raise ProgressError('No good')

        _, submit = self.submit(app_with, work, **{'progress.threads': '1'})
        for _ in range(3):
            progress_id = submit()
            wait_until(lambda: get_progress_status(progress_id)['status'] == 'failed')  # noqa: B023
            assert get_progress_status(progress_id)['message'] == 'No good'

    def test_a_task_is_pending_while_all_threads_are_busy(self, app_with):
        go_on = threading.Event()
        _, submit = self.submit(app_with, lambda task, argument: go_on.wait(5), **{'progress.threads': '2'})
        ids = [submit() for _ in range(3)]
        wait_until(lambda: [get_progress_status(i)['status'] for i in ids] == ['running', 'running', 'pending'])
        assert get_running_tasks() == set(ids)
        go_on.set()
        wait_until(lambda: get_progress_status(ids[2])['status'] in ('finished', 'unknown'))

    def test_a_pending_task_that_is_cancelled_never_runs(self, app_with):
        go_on = threading.Event()
        ran = []

        def work(task, argument):
            ran.append(task.id)
            go_on.wait(5)

        app, submit = self.submit(app_with, work, **{'progress.threads': '1'})
        first, second, third = submit(), submit(), submit()
        app.post('/progress_cancel', {'progress_id': second}, headers=JSON | SAME_ORIGIN)
        wait_until(lambda: get_progress_status(second)['status'] == 'cancelled')
        go_on.set()
        wait_until(lambda: third in ran)
        assert ran == [first, third]


class TestCancel:
    @pytest.fixture
    def task(self):
        """Return a function that starts a task, which ends with the test."""
        tasks = []

        def start(**options):
            tasks.append(start_task('Import', **options))
            return tasks[-1]

        yield start
        for task in tasks:
            task.finish()

    def cancel(self, app, progress_id, headers=None, **options):
        return app.post(
            '/progress_cancel', {'progress_id': progress_id}, headers=JSON | (headers or SAME_ORIGIN), **options
        )

    def test_the_task_is_asked_to_stop(self, make_app, task):
        app = make_app()
        running = task()
        assert app.get('/progress_status?progress_id=' + running.id).json['cancellable'] is True
        answer = self.cancel(app, running.id)
        assert answer.json['status'] == 'cancelling'
        assert answer.headers['Cache-Control'] == 'no-store'
        assert 'cancellable' not in answer.json
        assert self.cancel(app, running.id).json['status'] == 'cancelling'
        with pytest.raises(TaskCancelled):
            wait_until(running.advance)

    def test_a_form_is_redirected_to_its_page(self, make_app, task):
        headers = SAME_ORIGIN | {'Accept': 'text/html', 'Referer': 'http://localhost/imports?page=2'}
        answer = self.cancel(make_app(), task().id, headers, status=303)
        assert answer.location == 'http://localhost/imports?page=2'

    @pytest.mark.parametrize('referer', ['http://evil.example/', 'http://localhost.evil.example/', 'javascript:1'])
    def test_a_form_is_never_redirected_to_another_site(self, make_app, task, referer):
        headers = SAME_ORIGIN | {'Accept': 'text/html', 'Referer': referer}
        assert self.cancel(make_app(), task().id, headers, status=303).location == 'http://localhost/'

    def test_a_task_that_cannot_be_cancelled_is_409(self, make_app, task):
        app = make_app()
        init_progress_status('plain', None, 'Import')
        ended = task()
        ended.finish()
        for progress_id in (task(cancellable=False).id, 'plain', ended.id):
            answer = self.cancel(app, progress_id, status=409)
            assert 'cannot be cancelled' in answer.json['message']

    def test_an_unknown_id_is_404(self, make_app):
        assert 'no such task' in self.cancel(make_app(), 'no-such', status=404).json['message']

    @pytest.mark.parametrize('progress_id', ['', 'x' * 256, 'a\x00'])
    def test_a_bad_id_is_400(self, make_app, progress_id):
        assert 'progress_id' in self.cancel(make_app(), progress_id, status=400).json['message']

    @pytest.mark.parametrize(('body', 'kind'), UNREADABLE)
    def test_a_body_that_cannot_be_read_is_400(self, make_app, body, kind):
        make_app().post('/progress_cancel', body, headers=JSON | SAME_ORIGIN | {'Content-Type': kind}, status=400)

    def test_without_a_policy_no_user_is_an_operator(self, make_app, task):
        app = make_app(**{'progress.operator_permission': 'operate', 'progress.access': 'owner'})
        owned = task(owner='mary')
        assert app.get('/progress_status?progress_id=' + owned.id).json == {'status': 'unknown'}
        self.cancel(app, owned.id, status=404)
        assert app.get('/progress_tasks', headers=JSON).json == {'tasks': {}, 'next': None}

    def test_only_the_owner_and_an_operator_may_cancel(self, make_app, with_policy, task):
        app = make_app(with_policy, **{'progress.access': 'id', 'progress.operator_permission': 'operate'})
        owned = task(owner='mary')
        look = '/progress_status?progress_id=' + owned.id
        assert 'cancellable' not in app.get(look, headers={'X-User': 'john'}).json
        assert 'cancellable' in app.get(look, headers={'X-User': 'mary'}).json
        self.cancel(app, owned.id, SAME_ORIGIN | {'X-User': 'john'}, status=409)
        self.cancel(app, owned.id, SAME_ORIGIN, status=409)
        self.cancel(app, owned.id, SAME_ORIGIN | {'X-User': 'john', 'X-Permissions': 'operate'})

    def test_an_invisible_task_is_404(self, make_app, with_policy, task):
        app = make_app(with_policy)
        self.cancel(app, task(owner='mary').id, SAME_ORIGIN | {'X-User': 'john'}, status=404)

    @pytest.mark.parametrize(
        ('headers', 'status'),
        [
            ({'Sec-Fetch-Site': 'same-origin'}, 200),
            ({'Sec-Fetch-Site': 'cross-site'}, 403),
            ({'Sec-Fetch-Site': 'same-site'}, 403),
            ({'Sec-Fetch-Site': 'none'}, 403),
            ({'Origin': 'http://localhost'}, 200),
            ({'Origin': 'https://localhost'}, 403),
            ({'Origin': 'http://['}, 403),
            ({'Origin': 'http://evil.example'}, 403),
            ({'Origin': 'null'}, 403),
            ({'Sec-Fetch-Site': 'cross-site', 'Origin': 'http://localhost'}, 403),
            ({'X-Nothing': 'said'}, 403),
        ],
    )
    def test_without_tokens_the_origin_is_checked(self, make_app, task, headers, status):
        answer = self.cancel(make_app(), task().id, headers, status=status)
        if status == 403:
            assert 'not made by a page of this site' in answer.json['message']

    @pytest.mark.parametrize(
        'configure',
        [
            lambda config: config.set_session_factory(SignedCookieSessionFactory('secret')),
            lambda config: config.set_csrf_storage_policy(CookieCSRFStoragePolicy()),
        ],
        ids=['session', 'cookie'],
    )
    def test_a_token_is_required_if_the_application_has_tokens(self, make_app, task, configure):
        def with_token_page(config):
            configure(config)
            config.set_default_csrf_options(require_csrf=True, token='t', header='X-T')
            config.add_route('token', '/token')
            from pyramid.csrf import get_csrf_token

            config.add_view(lambda request: Response(get_csrf_token(request)), route_name='token')

        app = make_app(with_token_page)
        running = task()
        self.cancel(app, running.id, status=400)
        token = app.get('/token').text
        app.post('/progress_cancel', {'progress_id': running.id, 'csrf_token': token}, headers=JSON, status=400)
        app.post('/progress_cancel', {'progress_id': running.id, 't': token}, headers=JSON, status=200)
        app.post(
            '/progress_cancel', {'progress_id': running.id}, upload_files=[('t', 'a', b'x')], headers=JSON, status=400
        )
        foreign = {'X-T': token, 'Origin': 'https://evil.example'}
        self.cancel(app, running.id, foreign, status=400, extra_environ={'wsgi.url_scheme': 'https'})
        self.cancel(app, running.id, {'X-T': token})
