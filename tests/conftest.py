"""What every test needs: regions of its own, and programs that may be missing."""

import os
import shutil
import socket

import pytest
from beaker.cache import cache_regions

from pyramid_progress.regions import configure
from pyramid_progress.storage import memory


@pytest.fixture(autouse=True)
def _own_regions():
    """Give a test Beaker regions, and settings, that it may change."""
    before = dict(cache_regions)
    cache_regions.clear()
    for entries in memory._spaces.values():
        entries.clear()
    yield
    cache_regions.clear()
    configure({})
    cache_regions.clear()
    cache_regions.update(before)


@pytest.fixture(scope='session')
def program():
    """Return a function that finds a program of the system, or skips the test: with CI=true it fails it."""

    def find(name, package=None):
        path = shutil.which(name)
        if path is None:
            sentence = f'{name} is missing: install the system package {package or name}'
            if os.environ.get('CI') == 'true':
                pytest.fail(sentence)
            pytest.skip(sentence)
        return path

    return find


@pytest.fixture(scope='session')
def free_port():
    """Return a function that finds a TCP port nobody listens on."""

    def find():
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture(scope='module')
def demo_settings(tmp_path_factory):
    """The settings of a demo with data of its own, kept in memory."""
    return {
        'cache.regions': 'default, persistent',
        'cache.type': 'memory',
        'demo.secret': 'a secret of nobody',
        'demo.data_dir': str(tmp_path_factory.mktemp('demo')),
        'demo.max_upload': '1000000',
    }
