"""Distributions, and fresh virtual environments."""

import shutil
from functools import cache

import pytest
from support.environments import ROOT, Environment, build

_NOT_SOURCE = shutil.ignore_patterns('.*', '*.egg-info', '__pycache__', 'build', 'dist', 'node_modules', 'var')


@pytest.fixture(scope='session')
def distributions(tmp_path_factory):
    """The paths of the sdist and the wheel. They are built in a copy, because other processes build them as well."""
    copy = tmp_path_factory.mktemp('source') / 'copy'
    shutil.copytree(ROOT, copy, symlinks=True, ignore=_NOT_SOURCE)
    return build(copy, tmp_path_factory.mktemp('dist'))


@pytest.fixture(scope='session')
def checkout(tmp_path_factory):
    """A copy of the checkout as git makes it on a platform without symbolic links: with text files instead."""
    copy = tmp_path_factory.mktemp('checkout') / 'copy'
    shutil.copytree(ROOT, copy, symlinks=True, ignore=_NOT_SOURCE)
    for path in copy.rglob('*'):
        if path.is_symlink():
            target = str(path.readlink())
            path.unlink()
            path.write_text(target)
    return copy


@pytest.fixture(scope='session')
def make_environment(distributions, tmp_path_factory):
    """Return a function that returns a fresh environment with the wheel and extras: one for each set of extras."""
    _, wheel = distributions
    directory = tmp_path_factory.mktemp('environments')

    @cache
    def make(extras=''):
        requirement = f'{wheel}[{extras}]' if extras else wheel
        return Environment(directory / (extras or 'plain'), '--no-compile', requirement)

    return make
