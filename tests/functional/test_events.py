"""Event streams in the application's own server, without a server in between."""

import gc
import json
import os
import threading
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from pyramid.events import NewRequest
from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request, apply_request_extensions
from pyramid.threadlocal import RequestContext
from support.waiting import wait_until

from pyramid_progress import (
    forget_task,
    get_progress_status,
    init_progress_status,
    set_progress_status,
    start_task,
)
from pyramid_progress.runtime import get_runtime
from pyramid_progress.storage import StorageError
from pyramid_progress.web.streams import stream as stream_module
from pyramid_progress.web.streams.stream import Stream


class Events:
    """The events of a response, as a client gets them."""

    def __init__(self, response):
        self.response = response
        self.body = iter(response.app_iter)
        self._chunks = []

    def next(self):
        """Return the next event: its data, or its name and its data; None at the end of the stream."""
        while not self._chunks:
            chunk = next(self.body, None)
            if chunk is None:
                return None
            self._chunks = [text for text in chunk.decode().split('\n\n') if text and text != ':']
        event = self._chunks.pop(0)
        name, _, event = (
            event.rpartition('event: ')[2].partition('\n') if event.startswith('event') else ('', '', event)
        )
        data = json.loads(event.removeprefix('data: '))
        return (name, data) if name else data

    def until(self, **values):
        """Return the first event with these values."""
        while (event := self.next()) is not None:
            if isinstance(event, dict) and values.items() <= event.items():
                return event
        pytest.fail(f'the stream ended without {values}')

    def close(self):
        self.response.app_iter.close()


@pytest.fixture
def make_events_app(make_app):
    return lambda *args, **settings: make_app(*args, **{'progress.streams': '2'} | settings)


def ask(app, *progress_ids, headers=None, method='GET', **environ):
    """Return the response to a request for a stream."""
    query = '&'.join('progress_id=' + quote(progress_id) for progress_id in progress_ids)
    environ = {'wsgi.multithread': True} | environ
    request = Request.blank(f'/progress_events?{query}', headers=headers, environ=environ, method=method)
    return request.get_response(app.app)


@contextmanager
def stream(app, *progress_ids, **options):
    response = ask(app, *progress_ids, **options)
    assert response.status_code == 200, response.text
    events = Events(response)
    try:
        yield events
    finally:
        events.close()


def test_first_the_status_then_every_change(make_events_app):
    app = make_events_app()
    init_progress_status('a', 'mary', 'Import', tags=['x'], length=10)
    with stream(app, 'a') as events:
        assert events.response.headers['Content-Type'].startswith('text/event-stream')
        assert events.response.headers['Cache-Control'] == 'no-store, no-transform'
        assert events.response.headers['X-Accel-Buffering'] == 'no'
        first = events.next()
        assert 'T' in first.pop('started')
        assert first == {
            'id': 'a',
            'status': 'running',
            'label': 'Import',
            'tags': ['x'],
            'length': 10,
            'current': None,
        }
        set_progress_status('a', current=3, message='ü')
        second = events.next()
        assert (second['current'], second['message']) == (3, 'ü')


def test_the_stream_of_a_task_that_ends_is_closed_and_acknowledges_nothing(make_events_app):
    app = make_events_app()
    init_progress_status('a', None, 'Import')
    with stream(app, 'a') as events:
        events.next()
        set_progress_status('a', 'finished')
        assert events.next()['status'] == 'finished'
        assert events.next() is None
    assert get_progress_status('a')['status'] == 'finished'


def test_several_tasks_end_with_the_last_one(make_events_app):
    app = make_events_app()
    set_progress_status('a', 'failed', current=1)
    set_progress_status('b', current=2)
    with stream(app, 'a', 'b', 'a') as events:
        assert {events.next()['id'], events.next()['id']} == {'a', 'b'}
        set_progress_status('b', 'cancelled')
        assert events.next() == {'id': 'b', 'status': 'cancelled', 'message': None, 'length': None, 'current': 2}
        assert events.next() is None


def test_an_ended_task_is_started_again_while_another_runs(make_events_app):
    app = make_events_app()
    init_progress_status('a', None, 'Import')
    set_progress_status('a', 'finished')
    set_progress_status('b', current=2)
    with stream(app, 'a', 'b') as events:
        events.until(id='a', status='finished')
        init_progress_status('a', None, 'Import')
        events.until(id='a', status='running')
        set_progress_status('b', 'finished')
        events.until(id='b', status='finished')
        set_progress_status('a', 'finished')
        assert events.next()['status'] == 'finished'
        assert events.next() is None


def test_an_unknown_task_appears_and_disappears(make_events_app):
    app = make_events_app()
    with stream(app, 'a') as events:
        assert events.next() == {'id': 'a', 'status': 'unknown'}
        init_progress_status('a', None, 'Import')
        assert events.next()['status'] == 'running'
        forget_task('a')
        assert events.next() == {'id': 'a', 'status': 'unknown'}


def test_a_task_that_expires_is_unknown(make_events_app):
    app = make_events_app(**{'cache.expire': '1'})
    set_progress_status('a', current=1)
    with stream(app, 'a') as events:
        assert events.next()['status'] == 'running'
        assert events.next() == {'id': 'a', 'status': 'unknown'}


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork')
def test_a_forked_process_has_its_own_streams(make_events_app, tmp_path):
    app = make_events_app(**{'cache.type': 'sqlite', 'cache.data_dir': str(tmp_path), 'progress.streams': '1'})
    set_progress_status('a', current=1)
    with stream(app, 'a') as events:
        events.next()
        ready, is_ready = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                with stream(app, 'a') as own:
                    own.until(current=1)
                    os.write(is_ready, b'1')
                    own.until(current=2)
                status = 0
            finally:
                os._exit(status)
        os.close(is_ready)
        assert os.read(ready, 1)
        os.close(ready)
        set_progress_status('a', current=2)
        events.until(current=2)
        assert os.waitpid(child, 0)[1] == 0


def test_a_slow_client_gets_the_latest_state_only(make_events_app):
    app = make_events_app()
    init_progress_status('a', None, 'Import')
    with stream(app, 'a') as events, stream(app, 'a') as quick:
        events.next()
        for current in range(4):
            set_progress_status('a', current=current)
            quick.until(current=current)
        assert events.next()['current'] == 3


def test_a_task_without_heartbeats_becomes_stalled(make_events_app):
    app = make_events_app()
    task = start_task('Export', progress_id='a')
    storage = get_runtime(app.app.registry).store().storage
    with stream(app, 'a') as events:
        assert events.next()['status'] == 'running'
        # As a process that ended: the record is not written again.
        storage.update_active({'a': {'_heartbeat': str(storage.now() - 14.8)}}, 60)
        events.until(status='stalled')
    task.finish()


def test_a_change_of_internal_members_is_no_event(make_events_app, monkeypatch):
    monkeypatch.setattr(stream_module, 'COMMENT_INTERVAL', 0.5)
    app = make_events_app()
    task = start_task('Export', progress_id='a')
    storage = get_runtime(app.app.registry).store().storage
    with stream(app, 'a') as events:
        events.next()
        storage.update_active({'a': {'_heartbeat': str(storage.now())}}, 60)
        assert next(events.body) == b':\n\n'
    task.finish()


def test_a_comment_if_nothing_changes(make_events_app, monkeypatch):
    monkeypatch.setattr(stream_module, 'COMMENT_INTERVAL', 0.1)
    app = make_events_app()
    init_progress_status('a', None, 'Import')
    with stream(app, 'a') as events:
        events.next()
        assert next(events.body) == b':\n\n'


@pytest.mark.parametrize('constant', ['UNKNOWN_TIMEOUT', 'MAX_AGE'])
def test_a_stream_does_not_stay_for_ever(make_events_app, monkeypatch, constant):
    monkeypatch.setattr(stream_module, constant, 0.3)
    with stream(make_events_app(), 'a') as events:
        assert events.next() == {'id': 'a', 'status': 'unknown'}
        assert events.next() is None


def test_a_store_that_does_not_answer_is_an_event(make_events_app, monkeypatch, caplog):
    app = make_events_app()
    init_progress_status('a', None, 'Import', current=1)
    storage = type(get_runtime(app.app.registry).store().storage)
    read = storage.get_many_serialized

    def fail(*args):
        raise StorageError('down')

    with stream(app, 'a') as events:
        events.next()
        monkeypatch.setattr(storage, 'get_many_serialized', fail)
        name, data = events.next()
        assert name == 'trouble'
        assert 'cannot be read' in data['message']
        monkeypatch.setattr(storage, 'get_many_serialized', read)
        # Nothing has changed, but the client shows the trouble.
        assert events.next()['current'] == 1
    assert [record.getMessage() for record in caplog.records].count(
        'The tasks of event streams cannot be read: down'
    ) == 1


class TestPlaces:
    def test_one_more_than_there_are_places(self, make_events_app):
        app = make_events_app()
        with stream(app, 'a') as events, stream(app, 'b') as others:
            events.next(), others.next()
            refused = ask(app, 'c', headers={'Accept': 'application/json'})
            assert refused.status_code == 503
            assert refused.headers['Retry-After'] == '10'
            assert refused.json['message'] == 'No further event stream can be opened now.'
        with stream(app, 'c') as events:
            events.next()

    def test_a_page_of_another_site_gets_none(self, make_events_app):
        app = make_events_app()
        for site, status in (('cross-site', 403), ('same-site', 403), ('same-origin', 200), ('none', 200)):
            assert ask(app, 'a', headers={'Sec-Fetch-Site': site}).status_code == status

    def test_the_last_place_is_taken_between_the_answer_and_its_body(self, make_events_app):
        app = make_events_app()
        with stream(app, 'a') as one, stream(app, 'b') as two, stream(app, 'c') as three:
            assert one.next()
            assert two.next()
            assert three.next() is None

    def test_a_response_that_is_never_sent_holds_no_place(self, make_events_app):
        app = make_events_app()
        for _ in range(5):
            assert ask(app, 'a').status_code == 200
        with stream(app, 'a') as events:
            assert events.next()

    def test_without_the_setting(self, make_app):
        app = make_app()
        assert ask(app, 'a').status_code == 404
        assert '"events"' not in rendered_assets(app)

    def test_a_server_without_threads(self, make_events_app, caplog, monkeypatch):
        monkeypatch.setattr('pyramid_progress.web.streams.wsgi._logged', set())
        app = make_events_app()
        for _ in range(2):
            assert ask(app, 'a', **{'wsgi.multithread': False, 'REMOTE_ADDR': '127.0.0.1'}).status_code == 404
        messages = [record.getMessage() for record in caplog.records]
        assert len([message for message in messages if 'wsgi.multithread' in message]) == 1

    def test_nothing_stays_behind(self, make_events_app):
        app = make_events_app()
        init_progress_status('a', None, 'Import')
        for _ in range(50):
            with stream(app, 'a') as events:
                events.next()
        assert ask(app, 'a', method='HEAD').status_code == 200
        wait_until(lambda: not any(thread.name == 'progress-hub' for thread in threading.enumerate()))
        del events
        gc.collect()
        assert not [kept for kept in gc.get_objects() if isinstance(kept, Stream)]


def rendered_assets(app):
    request = Request.blank('/', environ={'wsgi.multithread': True})
    request.registry = app.app.registry
    with RequestContext(request):
        apply_request_extensions(request)
        return str(request.progress.assets()).replace('&#34;', '"').replace('&quot;', '"')


def test_a_page_has_the_url_of_the_streams(make_app):
    assert '"events": "/progress_events"' in rendered_assets(make_app(**{'progress.streams': '1'}))
    url = 'https://events.example.org/progress'
    assert f'"events": "{url}"' in rendered_assets(make_app(**{'progress.events_url': url}))


class TestAccess:
    """The user is a header; what the session says is in a set that the test changes."""

    @pytest.fixture(autouse=True)
    def _check_often(self, monkeypatch):
        monkeypatch.setattr(stream_module, 'CHECK_INTERVAL', 0.3)

    def test_what_one_may_not_see_does_not_exist(self, make_events_app, with_policy, monkeypatch):
        app = make_events_app(with_policy)
        init_progress_status('a', 'mary', 'Import')
        with stream(app, 'a', headers={'X-User': 'bob'}) as events:
            assert events.next() == {'id': 'a', 'status': 'unknown'}
            monkeypatch.setattr(stream_module, 'COMMENT_INTERVAL', 0.3)
            for current in range(3):
                set_progress_status('a', current=current)
                assert next(events.body) == b':\n\n'

    @pytest.mark.parametrize('next_owner', ['bob', None], ids=['another owner starts it', 'it is removed'])
    def test_what_follows_an_end_is_unknown(self, make_events_app, with_policy, next_owner):
        app = make_events_app(with_policy)
        init_progress_status('a', 'mary', 'Import')
        set_progress_status('a', 'finished')
        set_progress_status('b', current=1)
        with stream(app, 'a', 'b', headers={'X-User': 'mary'}) as events:
            events.until(id='b')
            if next_owner:
                init_progress_status('a', next_owner, 'Secret')
            else:
                forget_task('a')
            assert events.next() == {'id': 'a', 'status': 'unknown'}
            set_progress_status('b', current=2)
            assert events.next()['current'] == 2

    def test_a_visitor_who_signs_out(self, make_events_app, with_policy):
        signed_out = set()

        def configure(config):
            with_policy(config)

            def check(event):
                if event.request.headers.get('X-User') in signed_out:
                    raise HTTPForbidden

            config.add_subscriber(check, NewRequest)

        app = make_events_app(configure)
        init_progress_status('a', 'mary', 'Import')
        with stream(app, 'a', headers={'X-User': 'mary'}) as events:
            assert events.next()['status'] == 'running'
            signed_out.add('mary')
            assert events.next() is None

    def test_a_rule_that_changes_its_mind(self, make_events_app):
        visible = {'a'}
        app = make_events_app(**{'progress.access': lambda request, progress_id, status: progress_id in visible})
        init_progress_status('a', None, 'Import')
        init_progress_status('b', None, 'Import')
        with stream(app, 'a', 'b') as events:
            assert events.until(id='a')['status'] == 'running'
            assert events.until(id='b')['status'] == 'unknown'
            visible.add('b')
            assert events.until(id='b')['status'] == 'running'
            visible.remove('a')
            assert events.next() is None

    def test_a_store_that_fails_during_the_check(self, make_events_app, monkeypatch):
        monkeypatch.setattr(stream_module, 'RETRY_INTERVAL', 0.1)
        app = make_events_app()
        init_progress_status('a', None, 'Import')

        def fail(*args):
            raise StorageError('down')

        with stream(app, 'a') as events:
            events.next()
            with monkeypatch.context() as patch:
                patch.setattr('pyramid_progress.web.streams.decisions.decide', fail)
                threading.Timer(1, lambda: set_progress_status('a', current=1)).start()
                assert events.next()['current'] == 1
            set_progress_status('a', 'finished')
            assert events.next()['status'] == 'finished'

    def test_who_may_cancel(self, make_events_app, with_policy):
        app = make_events_app(with_policy, **{'progress.access': 'id'})
        with start_task('Export', progress_id='a', owner='mary'):
            for user, expected in (('mary', True), ('bob', None)):
                with stream(app, 'a', headers={'X-User': user}) as events:
                    assert events.next().get('cancellable') is expected

    def test_each_gets_the_language_of_the_request(self, make_events_app):
        app = make_events_app()
        with start_task('Export', progress_id='a') as task:
            task.parts(3)
            for language, count in (('de', '0 von 3'), ('en', '0 of 3')):
                with stream(app, 'a', **{'QUERY_STRING': f'progress_id=a&_LOCALE_={language}'}) as events:
                    assert count in events.until(id='a', parts={'ended': 0, 'total': 3})['message']


@pytest.mark.parametrize('query', ['', 'progress_id=', 'progress_id=%FF', 'progress_id=a%00'])
def test_invalid_input_is_400_with_a_reason(make_events_app, query):
    environ = {'wsgi.multithread': True, 'QUERY_STRING': query}
    answer = Request.blank('/progress_events', environ=environ, accept='application/json').get_response(
        make_events_app().app
    )
    assert answer.status_code == 400
    assert answer.json['message']
