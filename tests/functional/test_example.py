"""The tests of the examples pass, in one process and in two, whatever their order."""

import os
import subprocess
import sys

import pytest
from support.examples import EXAMPLES


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        pytest.param('sqlalchemy', (), id='sqlalchemy'),
        pytest.param('sqlalchemy', ('-n', '2'), id='sqlalchemy, pytest-xdist', marks=pytest.mark.slow),
        pytest.param('celery', (), id='celery'),
    ],
)
def test_example(tmp_path, name, options):
    if name == 'celery':
        pytest.importorskip('celery')
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', f'--basetemp={tmp_path}/base', *options]
    # The example's own settings of pytest, and not those of this run.
    environ = {name: value for name, value in os.environ.items() if not name.startswith('PYTEST_')}
    done = subprocess.run(command, cwd=EXAMPLES / name, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ' passed' in done.stdout
