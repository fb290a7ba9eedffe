"""The tests with every supported version of Python that is installed: ``nox``."""

import os
import shutil
import subprocess
import sys

import nox
from nox.command import CommandFailed

#: The supported versions, apart from the one in which nox itself, and so `make test`, runs.
VERSIONS = [f'3.{minor}' for minor in range(10, 15) if minor != sys.version_info.minor]

if shutil.which('pyenv'):
    # The programs of pyenv run only if their version is selected.
    versions = subprocess.run(['pyenv', 'versions', '--bare'], check=True, capture_output=True, text=True)  # noqa: S607
    os.environ['PYENV_VERSION'] = ':'.join(versions.stdout.split())

INSTALLED = [version for version in VERSIONS if shutil.which(f'python{version}')]

nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = 'venv'


@nox.session(python=VERSIONS)
def tests(session: nox.Session) -> None:
    """Run the unit tests; with the oldest and the newest installed version, also those of other folders."""
    session.install('--quiet', '--no-compile', '--editable', '.[test]')
    paths = session.posargs or ['tests/unit']
    if not session.posargs and session.python in (INSTALLED[0], INSTALLED[-1]):
        paths += ['tests/functional']
    if not session.posargs and session.python == INSTALLED[-1]:
        paths += ['tests/backends', 'tests/bridges']
    options = ('-m', 'not slow', '-o', f'cache_dir=.nox/cache-{session.python}', *paths)
    try:
        session.run('pytest', '-q', '--numprocesses', '6', '--dist', 'loadfile', '--reruns', '1', *options)
    except CommandFailed:
        # Run the failed tests again, one after the other.
        session.run('pytest', '-q', '--last-failed', '--last-failed-no-failures', 'none', *options)
