"""pprogress-events: the server of event streams beside an application."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.event_server import COMMAND, INI, SERVERS, EventServer
from support.events import EventClient, RefusedError
from support.servers import Server, free_port
from support.waiting import wait_until

from pyramid_progress import init_progress_status, set_progress_status, start_task


@pytest.fixture
def serve(tmp_path):
    """Return a function that starts pprogress-events with more arguments and settings."""
    with ExitStack() as stack:

        def serve(*arguments, **settings):
            server = EventServer(tmp_path, *arguments, **settings)
            stack.callback(server.stop)
            return server

        yield serve


def test_a_task_from_its_start_to_its_end(serve):
    server = serve()
    with server.open('a') as client:
        assert client.next() == {'id': 'a', 'status': 'unknown'}
        with start_task('Export', progress_id='a', owner='mary', length=4) as task:
            assert client.until(status='running')['cancellable'] is True
            task.advance(3)
            assert client.until(current=3)['label'] == 'Export'
        assert client.until(status='finished')['current'] == 3
        assert client.next() is None


def test_the_headers_of_a_stream(serve):
    server = serve()
    with server.open('a') as client:
        headers = client.response.headers
        assert headers['Content-Type'] == 'text/event-stream'
        assert headers['Cache-Control'] == 'no-store, no-transform'
        assert headers['X-Accel-Buffering'] == 'no'


def test_another_user_sees_nothing_and_a_user_who_signs_out_sees_no_more(serve):
    server = serve()
    init_progress_status('a', 'mary', 'Import')
    with server.open('a', user='bob') as other, server.open('a', timeout=40) as client:
        assert other.next() == {'id': 'a', 'status': 'unknown'}
        assert client.next()['status'] == 'running'
        (server.folder / 'signed-out').write_text('mary')
        # The next run is decided about at once, and the owner is the same.
        init_progress_status('a', 'mary', 'Secret')
        assert client.next() == {'id': 'a', 'status': 'unknown'}


MOUNTED = INI.replace('[app:main]', '[composite:main]\nuse = call:events_site:mount\napplication = site\n\n[app:site]')


def test_an_application_that_is_mounted_below_a_prefix(serve):
    server = serve(ini=MOUNTED)
    init_progress_status('a', 'mary', 'Import')
    for _ in range(2):
        with pytest.raises(RefusedError) as raised:
            server.open('a')
        assert raised.value.status == 503
    log = server.log
    assert log.count('status 404') == 1
    assert 'start pprogress-events with the application itself, as "file.ini#name"' in log
    server.stop()
    with serve(ini=MOUNTED, name='site').open('a') as client:
        assert client.next()['label'] == 'Import'


@pytest.mark.slow
def test_a_permission_that_the_user_does_not_have(serve):
    server = serve(**{'progress.permission': 'watch'})
    (server.folder / 'signed-out').write_text('mary')
    with pytest.raises(RefusedError) as raised:
        server.open('a')
    assert raised.value.status == 403


def test_places_are_bounded_for_each_client_and_for_all(serve):
    server = serve(**{'progress.max_streams': 3, 'progress.max_streams_per_client': 2})
    with ExitStack() as stack:
        for client in ('10.0.0.1', '10.0.0.1', '10.0.0.2'):
            stack.enter_context(server.open('a', headers={'X-Forwarded-For': client})).next()
        for client in ('10.0.0.1', '10.0.0.3'):
            with pytest.raises(RefusedError) as raised:
                server.open('a', headers={'X-Forwarded-For': client})
            assert raised.value.status == 503
            assert raised.value.headers['Retry-After'] == '10'
    # A client that closes its connection frees its place at once.
    wait_until(lambda: can_open(server), 2)


def can_open(server):
    try:
        server.open('a').response.close()
    except RefusedError:
        return False
    return True


def test_invalid_input_is_400_with_a_reason(serve):
    server = serve()
    for query in ('', '?progress_id=', '?progress_id=%FF', '?progress_id=a%00', '?' + 51 * 'progress_id=a&'):
        with pytest.raises(RefusedError) as raised:
            EventClient(server.url + '/progress_events' + query + '#')
        assert raised.value.status == 400
        assert '"message"' in raised.value.text


def test_another_origin(serve):
    server = serve(**{'progress.events_origins': 'https://www.example.org https://example.org:8443'})
    with server.open('a', headers={'Origin': 'https://example.org:8443'}) as client:
        headers = client.response.headers
        assert headers['Access-Control-Allow-Origin'] == 'https://example.org:8443'
        assert headers['Access-Control-Allow-Credentials'] == 'true'
        assert headers['Vary'] == 'Origin'
    with server.open('a', headers={'Origin': 'https://example.net'}) as client:
        assert client.response.headers['Access-Control-Allow-Origin'] is None


@pytest.mark.slow
def test_clients_that_read_nothing_keep_their_places_and_disturb_no_other(serve):
    server = serve(**{'progress.max_streams_per_client': 2})
    set_progress_status('big', message='x' * 100_000)
    with ExitStack() as stack:
        for _ in range(6):
            connection = stack.enter_context(socket.create_connection(('127.0.0.1', server.port)))
            forwarded = 'X-Forwarded-For: 10.0.0.1'
            connection.sendall(f'GET /?progress_id=big HTTP/1.1\r\nHost: localhost\r\n{forwarded}\r\n\r\n'.encode())
        with server.open('big') as client:
            for current in range(100):
                set_progress_status('big', current=current)
                time.sleep(0.01)
            assert client.until(current=99)
        with pytest.raises(RefusedError):
            server.open('big', headers={'X-Forwarded-For': '10.0.0.1'})


def test_places_are_bounded_for_requests_at_the_same_time(serve):
    server = serve(**{'progress.max_streams': 3})

    def status_of_request(_):
        try:
            return stack.enter_context(server.open('a')).response.status
        except RefusedError as error:
            return error.status

    with ExitStack() as stack, ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(status_of_request, range(20)))
    assert sorted(statuses) == 3 * [200] + 17 * [503]


def test_head(serve):
    server = serve(**{'progress.max_streams': 1})
    for _ in range(3):
        with server.open('a', method='HEAD') as client:
            assert client.response.headers['Content-Type'] == 'text/event-stream'
            assert client.response.read() == b''


def test_a_page_of_another_site(serve):
    server = serve(**{'progress.events_origins': 'https://example.org'})
    cross = {'Sec-Fetch-Site': 'cross-site'}
    server.open('a', headers=cross | {'Origin': 'https://example.org'}).response.close()
    for origin in ({}, {'Origin': 'https://example.net'}):
        with pytest.raises(RefusedError) as raised:
            server.open('a', headers=cross | origin)
        assert raised.value.status == 403


def test_the_application_sees_no_header_of_an_untrusted_proxy(serve):
    """The application of the test lets a user in by the client's address."""
    server = serve('--forwarded-allow-ips', '10.0.0.1')
    init_progress_status('a', '192.0.2.7', 'Import')
    headers = {'X-Forwarded-For': '192.0.2.7'}
    with server.open('a', user='by-address', headers=headers) as client:
        assert client.next()['status'] == 'unknown'
    server.stop()
    server = serve()
    with server.open('a', user='by-address', headers=headers) as client:
        assert client.next()['status'] == 'running'


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_the_streams_at_once(serve, number):
    server = serve()
    init_progress_status('a', None, 'Import')
    with server.open('a') as client:
        client.next()
        started = time.monotonic()
        server.process.send_signal(number)
        assert client.next() is None
        server.process.wait(10)
        assert time.monotonic() - started < 3
    assert 'Traceback' not in server.log
    assert 'ERROR' not in server.log


def run(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False, **options)


def test_bad_arguments_are_a_sentence(tmp_path):
    missing = run(str(tmp_path / 'missing.ini'))
    assert missing.returncode == 2
    assert 'missing.ini' in missing.stderr
    assert 'Traceback' not in missing.stderr
    assert run('site.ini', '--listen', '6544').returncode == 2
    assert "'6544': must be HOST:PORT" in run('site.ini', '--listen', '6544').stderr


@pytest.mark.slow
def test_another_asgi_server(tmp_path):
    """The module of the guide on push."""
    (tmp_path / 'production.ini').write_text(INI)
    port = free_port()
    guides = Path(__file__).parents[2] / 'examples' / 'guides'
    command = [sys.executable, '-m', 'uvicorn', '--port', str(port), 'asgi:application']
    environ = os.environ | {'PYTHONPATH': os.pathsep.join([str(SERVERS), str(guides)])}
    server = Server(command, port, tmp_path / 'log', env=environ, cwd=tmp_path)
    try:
        with EventClient(f'http://127.0.0.1:{port}/progress_events', 'a') as client:
            assert client.next() == {'id': 'a', 'status': 'unknown'}
    finally:
        server.stop()


@pytest.mark.slow
def test_a_port_in_use_is_a_sentence(serve):
    server = serve()
    environ = os.environ | {'PYTHONPATH': str(SERVERS)}
    second = run(str(server.ini), '--listen', f'127.0.0.1:{server.port}', env=environ)
    assert second.returncode == 3
    assert 'in use' in second.stderr
    assert 'Traceback' not in second.stderr


@pytest.mark.slow
def test_an_application_without_the_add_on(tmp_path):
    (tmp_path / 'bare.py').write_text(
        'from pyramid.config import Configurator\n\n'
        'def main(global_config, **settings):\n    return Configurator().make_wsgi_app()\n'
    )
    (tmp_path / 'bare.ini').write_text('[app:main]\nuse = call:bare:main\n')
    result = run(str(tmp_path / 'bare.ini'), env=os.environ | {'PYTHONPATH': str(tmp_path)})
    assert result.returncode == 2
    assert 'includes pyramid_progress' in result.stderr


@pytest.mark.slow
def test_a_region_that_processes_do_not_share(tmp_path):
    (tmp_path / 'site.ini').write_text(INI.replace('sqlite', 'memory'))
    result = run(str(tmp_path / 'site.ini'), env=os.environ | {'PYTHONPATH': str(SERVERS)})
    assert result.returncode == 2
    assert 'type memory' in result.stderr


def test_other_methods(serve):
    server = serve()
    with pytest.raises(RefusedError) as raised:
        EventClient(server.url + '/progress_events', 'a', method='POST')
    assert raised.value.status == 405
