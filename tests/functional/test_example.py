"""The tests of the example pass, in one process and in two, whatever their order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'sqlalchemy'


@pytest.mark.parametrize(
    'options', [(), pytest.param(('-n', '2'), marks=pytest.mark.slow)], ids=['one process', 'pytest-xdist']
)
def test_example(tmp_path, options):
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', f'--basetemp={tmp_path}/base', *options]
    # The example's own settings of pytest, and not those of this run.
    environ = {name: value for name, value in os.environ.items() if not name.startswith('PYTEST_')}
    done = subprocess.run(command, cwd=EXAMPLE, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ' passed' in done.stdout
