"""The tutorial as a reader follows it: its commands, in an empty directory, in an environment of its own."""

import re
import shutil
import signal
from urllib.request import Request, urlopen

import pytest
from support.environments import ROOT, Environment
from support.servers import Server, free_port
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_commands(distributions, tmp_path):
    document = (ROOT / 'docs' / 'tutorial.md').read_text()
    venv, install, start = (line.split() for line in re.findall(r'(?m)^\$ (.*)$', document))
    assert venv == ['python3', '-m', 'venv', 'env']
    assert install == ['env/bin/pip', 'install', 'pyramid_progress', 'waitress']
    assert start == ['env/bin/python', 'app.py']
    _, wheel = distributions
    environment = Environment(tmp_path / 'env', '--no-compile', wheel, *install[3:])
    (source,) = re.findall(r'{literalinclude} (\S+/app\.py)', document)
    shutil.copy(ROOT / 'docs' / source, tmp_path)
    port = free_port()
    app = tmp_path / 'app.py'
    app.write_text(app.read_text().replace('localhost:6543', f'127.0.0.1:{port}').replace('sleep(0.1)', 'sleep(0)'))
    server = Server(
        [str(environment.python), *start[1:]], port, tmp_path / 'log', cwd=tmp_path, env=environment.variables
    )

    def open_page(url, **options):
        with urlopen(Request(url, **options), timeout=10) as answer:  # noqa: S310
            return answer.url, answer.read().decode()

    def import_customers():
        url, page = open_page(f'http://127.0.0.1:{port}/imports', method='POST')
        assert '<pyramid-progress' in page
        return url

    def restart():
        server.process.send_signal(signal.SIGINT)  # Ctrl-C
        server.process.wait(10)
        server.start()

    try:
        url = import_customers()
        wait_until(lambda: 'state="finished"' in open_page(url)[1])
        assert '>100 customers<' in open_page(url)[1]

        app.write_text(app.read_text().replace('sleep(0)', 'sleep(0.1)'))
        restart()
        url = import_customers()
        restart()
        assert 'This task was interrupted.' in open_page(url)[1]
    finally:
        server.stop()
    assert 'Traceback' not in server.log
