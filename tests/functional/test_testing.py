"""`pyramid_progress.testing`, as the tests of an application use it."""

import threading
import time

import pytest
from pyramid import testing as pyramid_testing
from pyramid.response import Response

from pyramid_progress import (
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    new_request,
    set_progress_status,
    start_task,
)
from pyramid_progress.testing import DummyRequest, isolated, wait_for


def view(request):
    return Response(request.progress.submit(lambda task: {'text': '5 rows'}, label='Import'))


@pytest.fixture
def app(make_app):
    """An application that was made before the tests of a suite begin."""

    def configure(config):
        config.add_route('work', '/work')
        config.add_view(view, route_name='work')

    return make_app(configure, **{'progress.threads': '0'})


class TestWaitFor:
    @pytest.fixture(autouse=True)
    def _application(self, app):
        pass

    def test_it_waits_and_returns_the_status(self):
        task = start_task('Import')
        threading.Timer(0.3, task.finish, ['Done']).start()
        began = time.monotonic()
        assert wait_for(task.id)['message'] == 'Done'
        assert 0.25 < time.monotonic() - began < 5

    def test_it_does_not_acknowledge_the_end(self):
        with start_task('Import') as task:
            pass
        wait_for(task.id)
        assert get_running_tasks() == {task.id}
        assert get_progress_status(task.id)['status'] == 'finished'

    def test_it_sees_an_end_that_was_acknowledged(self):
        with start_task('Import') as task:
            pass
        get_progress_status(task.id)
        assert wait_for(task.id)['label'] == 'Import'

    def test_any_word(self):
        set_progress_status('a', 'digesting')
        assert wait_for('a', 'digesting', timeout=0) == {
            'status': 'digesting', 'message': None, 'length': None, 'current': None,
        }  # fmt: skip
        assert wait_for('b', 'unknown', 0) == {'status': 'unknown'}

    def test_a_task_that_ends_otherwise(self):
        task = start_task('Import')
        task.run.end('failed', 'No good')
        began = time.monotonic()
        with pytest.raises(AssertionError, match=r"expected to be 'finished', and has ended: .*No good"):
            wait_for(task.id)
        assert time.monotonic() - began < 5

    def test_the_time_is_over(self):
        init_progress_status('a', 'mary', 'Import')
        with pytest.raises(AssertionError, match=r"'a' was not 'finished' within 0.1 s: .*'label': 'Import'"):
            wait_for('a', timeout=0.1)


class TestIsolated:
    def test_no_task_of_one_test_shows_in_the_next(self, app):
        for _ in range(2):
            with isolated(app.app):
                progress_id = app.post('/work').text
                assert [task['progress_id'] for task in list_tasks()] == [progress_id]
                assert app.get(f'/progress_status?progress_id={progress_id}').json['result'] == {'text': '5 rows'}
        assert list_tasks() == []

    def test_regions_that_other_processes_share_are_not_used(self, make_app, tmp_path):
        app = make_app(**{'cache.type': 'sqlite', 'cache.data_dir': str(tmp_path)})
        with isolated(app.app):
            init_progress_status('a', None, 'Import')
            assert app.get('/progress_status?progress_id=a').json['label'] == 'Import'
        assert get_progress_status('a') == {'status': 'unknown'}

    def test_a_task_of_one_test_has_no_effect_in_the_next(self, app):
        with isolated(app.app):
            task = start_task('Import', progress_id='a')
        with isolated(app.app):
            task.finish()
            time.sleep(0.4)
            assert get_progress_status('a') == {'status': 'unknown'}

    def test_work_that_a_test_calls_by_itself_gets_a_request_for_the_application(self, app, make_app):
        later = make_app()
        with isolated(app.app), new_request() as request:
            assert request.registry is app.app.registry
        with new_request() as request:
            assert request.registry is later.app.registry

    def test_an_application_that_does_not_include_the_add_on(self):
        with pytest.raises(KeyError, match='pyramid_progress'), isolated(pyramid_testing.setUp()):
            pass
        pyramid_testing.tearDown()


class TestDummyRequest:
    """A view that is called as a function."""

    def test_without_any_application(self):
        progress_id = view(DummyRequest()).text
        assert get_progress_status(progress_id)['result'] == {'text': '5 rows'}

    def test_with_a_user(self):
        with pyramid_testing.testConfig() as config:
            config.testing_securitypolicy('mary')
            request = DummyRequest()
            with request.progress.start('Import') as task:
                assert get_progress_status(task.id)['owner'] == 'mary'

    def test_exceptions_of_the_work_propagate(self):
        def work(task):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            DummyRequest().progress.submit(work, label='Import', progress_id='a')
        assert get_progress_status('a')['status'] == 'failed'

    def test_it_draws_where_the_add_on_is_included(self):
        with pyramid_testing.testConfig() as config:
            config.include('pyramid_progress')
            request = DummyRequest()
            with request.progress.start('Import') as task:
                assert '<pyramid-progress' in request.progress.bar(task.id)

    def test_it_is_the_same_at_each_use(self):
        request = DummyRequest()
        assert request.progress is request.progress

    @pytest.mark.parametrize('_', range(2))
    def test_tasks_of_one_test_do_not_show_in_the_next(self, _):
        assert list_tasks_of(DummyRequest()) == ['Import']


def list_tasks_of(request):
    request.progress.submit(lambda task: None, label='Import')
    return [task['label'] for task in list_tasks()]
