"""The configuration of nginx in docs/guides/deployment.md, with an application under a prefix."""

import os
import re
import sys
from pathlib import Path

import pytest
from support.servers import Server, free_port

PAGE = Path(__file__).parents[2] / 'docs' / 'guides' / 'deployment.md'

#: What Debian's configuration has around the block of a server, with all files in one directory.
NGINX = """\
{user}
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log off;
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
    """Return a function that starts nginx before a site, and returns the port of nginx."""
    servers = []

    def start(site):
        (block,) = re.findall(r'```nginx\n(.*?)```', PAGE.read_text(), re.DOTALL)
        port = free_port()
        for old, new in (('80;', f'127.0.0.1:{port};'), ('127.0.0.1:6543', site.url.removeprefix('http://'))):
            assert old in block
            block = block.replace(old, new)
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
    port = start_nginx(site)
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
