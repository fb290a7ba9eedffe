"""Event streams in the servers of the matrix: they stream, or refuse and say why."""

import contextlib
import signal
import time

import pytest
from support.events import EventClient, RefusedError
from support.waiting import wait_until
from support.wsgi_servers import SERVERS, UWSGI

#: One process, because the places are counted in each.
ONE = {
    name: [{'2': '1'}.get(argument, argument) for argument in SERVERS[name]]
    for name in ('gunicorn gthread', 'gunicorn gevent', 'uwsgi threads', 'waitress')
}
ONE['waitress'][-1:-1] = ['--threads', '6']


@pytest.fixture
def start_streams(start):
    """Return a function that starts the application with two places for streams."""
    return lambda command, region='sqlite': start(command, region, **{'progress.streams': '2'})


def can_open(site):
    try:
        with EventClient(site.url + '/progress_events', 'unknown') as client:
            return client.next()
    except RefusedError:
        return False


@pytest.mark.parametrize(
    'name', ['waitress', *(pytest.param(name, marks=pytest.mark.slow) for name in ONE if name != 'waitress')]
)
def test_a_server_with_threads(start_streams, name):
    if 'uwsgi' in name:
        pytest.importorskip('pyuwsgi')
    site = start_streams(ONE[name])
    progress_id = site.submit(1.5)
    with EventClient(site.url + '/progress_events', progress_id) as client:
        assert client.response.headers['Content-Type'].startswith('text/event-stream')
        steps = [client.until(id=progress_id, status='running')]
        while steps[-1]['status'] == 'running':
            steps.append(client.next())
        assert steps[-1]['status'] == 'finished'
        assert 4 <= len(steps) <= 12
        assert client.next() is None
    site.stop()
    assert 'Traceback' not in site.log


@pytest.mark.slow
@pytest.mark.parametrize('name', ONE)
def test_the_places_of_a_server(start_streams, name):
    if 'uwsgi' in name:
        pytest.importorskip('pyuwsgi')
    site = start_streams(ONE[name])
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(EventClient(site.url + '/progress_events', 'unknown')).next()
        with pytest.raises(RefusedError) as raised:
            EventClient(site.url + '/progress_events', 'unknown')
        assert raised.value.status == 503
        assert raised.value.headers['Retry-After'] == '10'
    # They have gone without a word: the server notices it when it writes.
    started = time.monotonic()
    wait_until(lambda: can_open(site), 12)
    assert time.monotonic() - started < 10
    site.stop()
    assert 'Traceback' not in site.log


@pytest.mark.parametrize(
    'command',
    [
        pytest.param(SERVERS['gunicorn sync'], id='gunicorn sync'),
        pytest.param(UWSGI, marks=pytest.mark.slow, id='uwsgi'),
    ],
)
def test_a_server_without_threads_refuses(start_streams, command):
    if command is UWSGI:
        pytest.importorskip('pyuwsgi')
    site = start_streams(command)
    for _ in range(4):
        with pytest.raises(RefusedError) as raised:
            EventClient(site.url + '/progress_events', 'a')
        assert raised.value.status == 404
        assert '"events"' not in site.read('/link').replace('&#34;', '"')
    assert 'wsgi.multithread' in site.log
    site.stop()


@pytest.mark.slow
@pytest.mark.parametrize('name', ONE)
def test_a_stop_ends_the_streams_at_once(start_streams, name):
    """gunicorn waits for all responses, 30 s by default."""
    if 'uwsgi' in name:
        pytest.importorskip('pyuwsgi')
    site = start_streams(ONE[name])
    with EventClient(site.url + '/progress_events', 'unknown') as client:
        client.next()
        site.server.process.send_signal(signal.SIGTERM)
        client.wait_for_end()
        site.server.process.wait(5)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gunicorn gthread', 'gunicorn gevent'])
def test_a_stream_does_not_keep_a_worker_from_being_replaced(start_streams, name):
    """A worker that is replaced accepts no connections, and waits for all responses."""
    site = start_streams([*ONE[name], '--max-requests', '10'])
    with EventClient(site.url + '/progress_events', 'unknown', timeout=60) as client:
        client.next()
        started = time.monotonic()
        for _ in range(15):
            wait_until(lambda: pid_of(site), 30)
        assert time.monotonic() - started < 10


def pid_of(site):
    try:
        return site.get('/pid')
    except OSError:
        return None


@pytest.mark.slow
def test_an_interrupt_ends_the_streams_at_once(start_streams):
    """waitress gives its threads five seconds."""
    site = start_streams(ONE['waitress'])
    with EventClient(site.url + '/progress_events', 'unknown') as client:
        client.next()
        site.server.process.send_signal(signal.SIGINT)
        site.server.process.wait(3)
