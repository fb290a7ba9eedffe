"""Fixtures for all tests: a state of their own, and programs of the system."""

import logging
import os
import shutil
import sys
from pathlib import Path

import pytest
from support import servers, waiting

from pyramid_progress.testing import isolated


def pytest_configure():
    """Let Chameleon keep compiled templates, here and in the programs that the tests start.

    Otherwise each test that makes an application compiles them, which is a third of the time of all tests.
    """
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    directory = Path(__file__).parents[1] / '.pytest_cache' / f'templates-{version}'
    directory.mkdir(parents=True, exist_ok=True)
    os.environ['CHAMELEON_CACHE'] = str(directory)  # read when Chameleon is imported


#: The folders whose tests take longest come first, so that the processes that share the tests end at the same time.
ORDER = ('packaging', 'servers', 'browser', 'bridges', 'backends', 'functional', 'unit')


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: ORDER.index(item.path.relative_to(Path(__file__).parent).parts[0]))


@pytest.fixture(autouse=True)
def _isolated():
    """Give each test regions, a default runtime and a publisher that no other test has used."""
    for name in list(logging.root.manager.loggerDict):
        # pprogress in this process sets up logging from an ini file, which disables all other loggers.
        if name.startswith('pyramid_progress'):
            logging.getLogger(name).disabled = False
    with isolated():
        yield


@pytest.fixture
def wait_until():
    """Return :func:`support.waiting.wait_until`."""
    return waiting.wait_until


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
    """Return :func:`support.servers.free_port`."""
    return servers.free_port


@pytest.fixture(scope='module')
def demo_settings(tmp_path_factory):
    """The settings of a demo with data of its own, kept in memory."""
    return {
        'cache.regions': 'default, persistent',
        'cache.type': 'memory',
        'demo.secret': 'a secret of the tests',
        'demo.data_dir': str(tmp_path_factory.mktemp('demo')),
        'demo.max_upload': '1000000',
    }
