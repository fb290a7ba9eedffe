"""The configurations of nginx in the documentation: an application under a prefix, and event streams beside it."""

import os
import re
import sys
import time
from pathlib import Path

import pytest
from support.event_server import EventServer
from support.events import EventClient
from support.servers import Server, free_port

from pyramid_progress import set_progress_status

GUIDES = Path(__file__).parents[2] / 'docs' / 'guides'

#: What Debian's configuration has around the block of a server, with all files in one directory.
NGINX = """\
{user}
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log off;
    gzip on;
    gzip_types *;
    gzip_proxied any;
    gzip_min_length 1;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {server}
}}
"""

SERVERS = {
    'waitress': [
        *(sys.executable, '-m', 'waitress', '--listen', '127.0.0.1:{port}', '--url-prefix', '/shop'),
        *('--trusted-proxy', '127.0.0.1', '--trusted-proxy-headers', 'x-forwarded-proto x-forwarded-for'),
        *('--clear-untrusted-proxy-headers', 'application:application'),
    ],
    'gunicorn': [
        *('env', 'SCRIPT_NAME=/shop', sys.executable, '-m', 'gunicorn', '--bind', '127.0.0.1:{port}'),
        *('--worker-class', 'gthread', '--threads', '4', 'application'),
    ],
}


@pytest.fixture
def start_nginx(program, tmp_path):
    """Return a function that starts nginx with the configuration of a page, and returns the port of nginx.

    It takes the URL of the server for each address in the configuration.
    """
    servers = []

    def start(page, **urls):
        (block,) = re.findall(r'```nginx\n(.*?)```', (GUIDES / page).read_text(), re.DOTALL)
        port = free_port()
        addresses = {f'127.0.0.1:{port_of_page[1:]}': url for port_of_page, url in urls.items()}
        for old, new in {'80;': f'127.0.0.1:{port};', **addresses}.items():
            assert old in block
            block = block.replace(old, new.removeprefix('http://'))
        user = 'user root;' if os.getuid() == 0 else ''
        (tmp_path / 'nginx.conf').write_text(NGINX.format(server=block, user=user))
        command = [program('nginx', 'nginx-light'), '-p', str(tmp_path), '-c', 'nginx.conf', '-g', 'daemon off;']
        servers.append(Server(command, port, tmp_path / 'nginx.log'))
        return port

    yield start
    for server in servers:
        server.process.terminate()
        server.process.wait(10)


@pytest.mark.slow
@pytest.mark.parametrize('name', SERVERS)
def test_an_application_under_a_prefix(start, start_nginx, name):
    site = start(SERVERS[name], 'sqlite')
    port = start_nginx('deployment.md', _6543=site.url)
    site.url = f'http://127.0.0.1:{port}/shop'
    link = site.get('/link')
    assert link['url'] == f'{site.url}/submit'
    (script,) = re.findall(r'src="(/shop/[^"]+/progress\.js)"', link['assets'])
    assert 'customElements' in site.read(script.removeprefix('/shop'))
    assert '"src": "/shop/progress_status"' in link['assets'].replace('&#34;', '"').replace('&quot;', '"')
    progress_id = site.submit(600)
    site.wait_for(progress_id, status='running')
    site.cancel(progress_id)
    site.wait_for(progress_id, status='cancelled')


@pytest.mark.slow
def test_event_streams_beside_an_application(tmp_path, start, start_nginx):
    """Each event arrives at once, although nginx compresses everything."""
    site = start(SERVERS['gunicorn'], 'sqlite')
    events = EventServer(tmp_path)
    try:
        port = start_nginx('push.md', _6543=site.url, _6544=events.url)
        with EventClient(
            f'http://127.0.0.1:{port}/progress_events', 'a', headers={'Accept-Encoding': 'gzip'}
        ) as client:
            assert client.next() == {'id': 'a', 'status': 'unknown'}
            for current in range(5):
                written = time.monotonic()
                set_progress_status('a', current=current)
                client.until(current=current)
                assert time.monotonic() - written < 1
    finally:
        events.stop()
