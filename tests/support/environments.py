"""Distributions of the checkout, and fresh virtual environments."""

import os
import subprocess
import sys
import venv
from pathlib import Path

#: The checkout.
ROOT = Path(__file__).parents[2]

#: Variables that make programs find the packages of the environment of the tests.
_NOT_INHERITED = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV')


def run(*command, **options):
    """Run a program to its end, and return what it printed. If it fails, its output is in the error."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **{'timeout': 600} | options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source, directory):
    """Build the sdist of a checkout, and the wheel from the sdist; return their paths."""
    run(sys.executable, '-m', 'build', '--outdir', directory, source)
    (sdist,) = directory.glob('*.tar.gz')
    (wheel,) = directory.glob('*.whl')
    return sdist, wheel


class Environment:
    """A fresh virtual environment.

    :param path: a directory that does not exist
    :param requirements: arguments of ``pip install``
    """

    def __init__(self, path, *requirements):
        venv.create(path)
        self.bin = path / 'bin'
        self.python = self.bin / 'python'
        if requirements:
            self.pip('install', *requirements)

    @property
    def variables(self):
        """The environment variables for its programs."""
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        return kept | {'PATH': f'{self.bin}:{os.environ["PATH"]}'}

    @property
    def site_packages(self):
        """The directory of its packages."""
        (path,) = self.bin.parent.glob('lib/python*/site-packages')
        return path

    def pip(self, command, *arguments):
        """Run a command of pip; it is the pip of the environment of the tests, to save time."""
        run(sys.executable, '-m', 'pip', '--python', self.python, command, *arguments, env=self.variables)

    def run(self, *command, env=None, **options):
        """Run a program, with further environment variables; return what it printed."""
        return run(*command, env=self.variables | (env or {}), **options)
