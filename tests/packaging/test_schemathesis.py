"""schemathesis, in an environment of its own, finds no answer of a server that docs/openapi.json does not describe."""

import sys

import pytest
from support.environments import ROOT, Environment
from support.servers import Server, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_schemathesis(tmp_path):
    environment = Environment(tmp_path / 'environment', 'schemathesis >= 4.32, < 5', 'openapi-spec-validator >= 0.7')
    document = ROOT / 'docs' / 'openapi.json'
    environment.run(environment.bin / 'openapi-spec-validator', document)
    port = free_port()
    server = Server([sys.executable, '-m', 'support.api', str(port)], port, tmp_path / 'log', cwd=ROOT / 'tests')
    try:
        printed = environment.run(
            environment.bin / 'schemathesis', 'run', document, '--url', f'http://127.0.0.1:{port}',
            '--header', 'Sec-Fetch-Site: same-origin', '--max-examples', '50', '--continue-on-failure', '--no-color',
            cwd=tmp_path,
        )  # fmt: skip
    finally:
        server.stop()
    assert 'Tested: 8' in printed
    assert 'Traceback' not in server.log
