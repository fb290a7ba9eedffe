"""Submitted work: its id, its result, a request for it, and the end of the process."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from pyramid.interfaces import IRequest
from pyramid.request import Request
from pyramid.response import Response
from pyramid.threadlocal import get_current_registry, get_current_request
from support.waiting import wait_until

from pyramid_progress import (
    ProgressError,
    TaskCancelled,
    get_progress_status,
    get_running_tasks,
    new_request,
    start_task,
)
from pyramid_progress.testing import wait_for
from pyramid_progress.work.threads import LONG_QUEUE

#: Settings that make the caller do the work.
NO_THREADS = {'progress.threads': '0'}


@pytest.fixture
def submit(make_app, with_policy):
    """Return a function that submits work with a request of its own, and returns the progress id."""
    app = None

    def make(func, *args, user=None, environ=None, query='', settings=None, configure=lambda config: None, **options):
        nonlocal app
        options = {'label': 'Work'} | options

        def view(request):
            view_func, view_args, view_options = make.call
            return Response(request.progress.submit(view_func, *view_args, **view_options))

        def configure_all(config):
            with_policy(config)
            config.add_route('work', '/work')
            config.add_view(view, route_name='work')
            configure(config)

        app = app or make_app(configure_all, **(settings or {}))
        make.app = app
        make.call = func, args, options
        headers = {'X-User': user} if user else {}
        return app.post(f'/work{query}', headers=headers, extra_environ=environ).text

    return make


class TestId:
    def test_the_id_can_be_chosen(self, submit):
        assert submit(lambda task: None, progress_id='reindex:documents') == 'reindex:documents'
        wait_for('reindex:documents')

    def test_an_id_in_use_by_another_owner(self, submit):
        wait_for(submit(lambda task: None))
        with (
            start_task('Reindex', owner='john', progress_id='reindex'),
            pytest.raises(ValueError, match='another owner'),
        ):
            submit(lambda task: None, progress_id='reindex', user='mary')
        assert submit(lambda task: None, progress_id='reindex', user='mary') == 'reindex'

    @pytest.mark.parametrize('progress_id', ['', 'x' * 256, 'a\nb'])
    def test_an_invalid_id(self, submit, progress_id):
        with pytest.raises(ValueError, match='progress_id'):
            submit(lambda task: None, progress_id=progress_id)


class TestResult:
    @pytest.mark.parametrize('returned', [{'url': '/a'}, {'text': 'A'}, {'url': '/a', 'text': 'A'}])
    def test_a_returned_dict_of_url_and_text(self, submit, returned):
        assert wait_for(submit(lambda task: returned))['result'] == returned

    @pytest.mark.parametrize('returned', [None, 5, {}, {'url': 5}, {'url': '/a', 'other': 'x'}, 'text', {'rows': 5}])
    def test_anything_else_is_no_result(self, submit, returned):
        assert 'result' not in wait_for(submit(lambda task: returned))

    def test_a_message_of_finish_and_a_returned_result(self, submit):
        def work(task):
            task.finish('Done')
            return {'url': '/a'}

        status = wait_for(submit(work))
        assert (status['message'], status['result']) == ('Done', {'url': '/a'})

    def test_the_result_of_finish_comes_first(self, submit):
        def work(task):
            task.finish(result={'url': '/first'})
            return {'url': '/second'}

        assert wait_for(submit(work))['result'] == {'url': '/first'}


class TestFinishInsideTheBlock:
    @pytest.fixture(autouse=True)
    def _application(self, make_app):
        make_app()

    def test_it_takes_effect_when_the_block_is_left(self):
        with start_task('Import') as task:
            task.finish('Done', {'url': '/a'})
            assert get_progress_status(task.id)['status'] == 'running'
        status = get_progress_status(task.id)
        assert (status['status'], status['message'], status['result']) == ('finished', 'Done', {'url': '/a'})

    def test_the_exception_that_leaves_the_block_decides(self):
        with pytest.raises(ProgressError), start_task('Import') as task:
            task.finish('Done', {'url': '/a'})
            raise ProgressError('The commit failed')
        status = get_progress_status(task.id)
        assert (status['status'], status['message']) == ('failed', 'The commit failed')
        assert 'result' not in status

    def test_it_is_over_at_once_outside_the_block(self):
        task = start_task('Import')
        task.finish('Done')
        assert get_progress_status(task.id)['status'] == 'finished'

    def test_an_invalid_result_is_refused_by_finish_itself(self):
        with start_task('Import') as task, pytest.raises(TypeError, match='result'):
            task.finish(result={'url': b'x'})
        assert 'result' not in get_progress_status(task.id)


class TestNewRequest:
    """The request that the work gets."""

    @pytest.fixture
    def seen(self, submit):
        """Return a function that submits a function of a new request, and returns what that returned."""

        def call(func, **options):
            results = []

            def work(task):
                with new_request() as request:
                    results.append(func(request))

            wait_for(submit(work, **options))
            return results[0]

        return call

    def test_urls_are_those_of_the_request_that_submitted(self, seen):
        environ = {'HTTP_HOST': 'shop.example:8443', 'wsgi.url_scheme': 'https', 'SCRIPT_NAME': '/eu'}
        assert seen(lambda request: request.route_url('work'), environ=environ) == 'https://shop.example:8443/eu/work'

    def test_urls_without_a_host_header(self, seen):
        """A request of HTTP/1.0 may have none."""

        def configure(config):
            config.add_subscriber(
                lambda event: event.request.environ.pop('HTTP_HOST', None), 'pyramid.events.NewRequest'
            )

        environ = {'SERVER_NAME': 'shop.example', 'SERVER_PORT': '8080'}
        assert seen(lambda request: request.route_url('work'), environ=environ, configure=configure) == (
            'http://shop.example:8080/work'
        )

    def test_the_locale_is_that_of_the_request_that_submitted(self, seen):
        def look(request):
            return request.locale_name, request.localizer.locale_name

        assert seen(look, query='?_LOCALE_=de') == ('de', 'de')

    def test_an_unreadable_query_string_has_the_default_locale(self, seen):
        assert seen(lambda request: request.locale_name, query='?_LOCALE_=%ff') == 'en'

    def test_it_has_no_user_no_session_cookie_and_no_parameters(self, seen):
        def look(request):
            return request.authenticated_userid, dict(request.cookies), dict(request.params), request.path

        assert seen(look, user='mary', query='?a=b') == (None, {}, {}, '/')

    def test_it_has_the_registry_and_the_extensions_of_the_application(self, seen, submit):
        def configure(config):
            config.add_request_method(lambda request: 'the session', 'dbsession', reify=True)

        def look(request):
            current = get_current_registry() is request.registry and get_current_request() is request
            return request.dbsession, request.registry, current, IRequest.providedBy(request)

        dbsession, registry, *rest = seen(look, configure=configure)
        assert (dbsession, *rest) == ('the session', True, True)
        assert registry is submit.app.app.registry

    def test_it_is_made_by_the_request_factory_of_the_application(self, seen):
        class Own(Request):
            pass

        assert issubclass(seen(type, configure=lambda config: config.set_request_factory(Own)), Own)

    def test_each_block_has_a_request_of_its_own_and_none_is_current_afterwards(self, submit):
        seen = []

        def work(task):
            for _ in range(2):
                with new_request() as request:
                    seen.append(request)
                seen.append(get_current_request())

        wait_for(submit(work))
        first, after_first, second, after_second = seen
        assert first is not second
        assert (after_first, after_second) == (None, None)

    @pytest.mark.parametrize('fails', [False, True])
    def test_finished_callbacks_are_called_at_the_end_of_the_block(self, submit, fails):
        seen = []

        def work(task):
            with new_request() as request:
                request.add_finished_callback(lambda finished: seen.append(finished is request))
                seen.append('before')
                if fails:
                    raise ProgressError

        wait_for(submit(work), 'failed' if fails else 'finished')
        assert seen == ['before', True]

    def test_inside_another_task_of_the_work(self, submit):
        seen = []

        def work(task):
            with start_task('Part'), new_request() as request:
                seen.append(request.host)

        wait_for(submit(work, environ={'HTTP_HOST': 'shop.example'}))
        assert seen == ['shop.example']

    def test_no_transaction_is_begun(self, shop):
        active = []

        def work(task):
            with new_request() as request:
                active.append((request.environ.get('tm.active'), getattr(request.tm, 'manager', request.tm)._txn))

        def view(request):
            shop.ids.append(request.progress.submit(work, label='Work'))
            return Response()

        shop.post(view)
        wait_for(shop.ids[0])
        assert active == [(None, None)]

    def test_a_process_without_application(self):
        script = 'import pyramid_progress\nwith pyramid_progress.new_request(): pass'
        done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
        assert 'RuntimeError: new_request() needs a Pyramid application' in done.stderr
        assert "pyramid.paster.get_app('production.ini')" in done.stderr

    def test_a_thread_that_the_work_starts_finds_the_application(self, submit):
        registries = []

        def look():
            with new_request() as request:
                registries.append(request.registry)

        def work(task):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()

        wait_for(submit(work))
        assert registries == [submit.app.app.registry]


class TestWithoutThreads:
    """`progress.threads = 0`: the work is done in the caller."""

    def test_it_has_ended_when_submit_returns(self, submit):
        threads = []
        progress_id = submit(lambda task: threads.append(threading.current_thread()), settings=NO_THREADS)
        assert get_progress_status(progress_id, acknowledge=False)['status'] == 'finished'
        assert threads == [threading.current_thread()]

    def test_exceptions_propagate(self, submit):
        def work(task):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            submit(work, settings=NO_THREADS, progress_id='work')
        assert wait_for('work', 'failed')

    def test_a_cancelled_task_raises_nothing(self, submit):
        def work(task):
            raise TaskCancelled

        assert wait_for(submit(work, settings=NO_THREADS), 'cancelled')

    def test_the_request_is_the_current_one_again(self, submit):
        def work(task):
            assert get_current_request() is None
            with new_request() as request:
                assert get_current_request() is request

        def configure(config):
            config.add_subscriber(
                lambda event: seen.append(get_current_request() is event.request), 'pyramid.events.NewResponse'
            )

        seen = []
        submit(work, settings=NO_THREADS, configure=configure)
        assert seen == [True]


def test_a_growing_queue_is_logged_at_each_doubling(submit, caplog):
    go_on = threading.Event()
    settings = {'progress.threads': '2'}
    ids = [submit(lambda task: go_on.wait(30), settings=settings) for _ in range(2)]
    for _ in range(5 * LONG_QUEUE):
        ids.append(submit(lambda task: None, settings=settings))
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        '20 submitted tasks wait for one of 2 threads (progress.threads)',
        '40 submitted tasks wait for one of 2 threads (progress.threads)',
    ]
    go_on.set()
    for progress_id in ids:
        wait_for(progress_id)


_PROCESS = """
import sys, time
from pyramid.config import Configurator
from pyramid.response import Response
from webtest import TestApp

def work(task, seconds):
    time.sleep(seconds)

def view(request):
    for progress_id in ('running', 'waiting'):
        request.progress.submit(work, float(sys.argv[2]), label='Work', progress_id=progress_id)
    return Response()

settings = {
    'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': sys.argv[1],
    'progress.threads': '1', 'progress.drain': sys.argv[3],
}
with Configurator(settings=settings) as config:
    config.include('pyramid_progress')
    config.add_route('work', '/work')
    config.add_view(view, route_name='work')
TestApp(config.make_wsgi_app()).post('/work')
time.sleep(0.3)
print('ready', flush=True)
if sys.argv[4] == 'SIGTERM':
    time.sleep(60)
"""


class TestEndOfTheProcess:
    """With `progress.drain`, tasks get that long to finish."""

    @pytest.mark.parametrize('how', ['exit', 'SIGTERM'])
    @pytest.mark.parametrize(
        ('work', 'drain', 'ends', 'seconds'),
        [
            (1, 0, ['failed', 'failed'], (0, 0.9)),
            (1, 20, ['finished', 'finished'], (1.2, 10)),
            (1.5, 2, ['finished', 'failed'], (1.6, 5)),
        ],
    )
    def test_running_and_waiting_tasks(self, tmp_path, make_app, how, work, drain, ends, seconds):
        command = [sys.executable, '-W', 'ignore', '-c', _PROCESS, str(tmp_path), str(work), str(drain), how]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
            assert process.stdout.readline() == b'ready\n'
            began = time.monotonic()
            if how == 'SIGTERM':
                process.send_signal(signal.SIGTERM)
            assert process.wait(30) == (-signal.SIGTERM if how == 'SIGTERM' else 0)
            took = time.monotonic() - began
        make_app(**{'cache.type': 'sqlite', 'cache.data_dir': str(tmp_path)})
        statuses = [get_progress_status(progress_id) for progress_id in ('running', 'waiting')]
        assert [status['status'] for status in statuses] == ends
        assert [status['message'] for status in statuses if status['status'] == 'failed'] == [
            'This task was interrupted.'
        ] * ends.count('failed')
        assert seconds[0] <= took <= seconds[1] + 2


def test_a_task_is_listed_from_the_call_on(submit):
    go_on = threading.Event()
    progress_id = submit(lambda task: go_on.wait(30), user='mary')
    assert get_running_tasks() == {progress_id}
    wait_until(lambda: get_progress_status(progress_id)['status'] == 'running')
    go_on.set()
    wait_for(progress_id)
