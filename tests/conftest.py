"""Fixtures for all tests: a state of their own, and programs of the system."""

import logging
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from support import servers, waiting

from pyramid_progress.testing import isolated


def pytest_configure():
    """Prepare what the programs that the tests start inherit.

    Chameleon keeps compiled templates: otherwise each test that makes an application compiles them, which is a third of
    the time of all tests. Ctrl-C interrupts programs: a shell that runs the tests in the background makes it ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    directory = Path(__file__).parents[1] / '.pytest_cache' / f'templates-{version}'
    directory.mkdir(parents=True, exist_ok=True)
    os.environ['CHAMELEON_CACHE'] = str(directory)  # read when Chameleon is imported


#: The folders whose tests take longest come first, so that the processes that share the tests end at the same time.
ORDER = ('packaging', 'servers', 'browser', 'bridges', 'backends', 'functional', 'unit')


def _folder(item):
    return item.path.relative_to(Path(__file__).parent).parts[0]


def pytest_collection_modifyitems(items):
    """Sort the tests, and mark those of the folder `browser`."""
    items.sort(key=lambda item: ORDER.index(_folder(item)))
    for item in items:
        if _folder(item) == 'browser':
            item.add_marker('browser')


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
    """Return a function that finds a system program. If it is missing, it skips the test; with CI=true, it fails it."""

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
    """The settings of a demo with its own data directory, and with statuses in memory."""
    return {
        'cache.regions': 'default, persistent',
        'cache.type': 'memory',
        'demo.secret': 'a secret of the tests',
        'demo.data_dir': str(tmp_path_factory.mktemp('demo')),
        'demo.max_upload': '1000000',
    }
