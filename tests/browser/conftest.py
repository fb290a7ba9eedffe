"""Real browsers of the system: Chromium, and in `make check` Firefox, driven by Playwright, and WebKit, by Selenium."""

import shutil
import subprocess

import pytest
from playwright.sync_api import sync_playwright

from . import webkit

#: Chromium does not run as root with its sandbox. The other options prevent requests of its own.
CHROMIUM_OPTIONS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
]

#: Firefox has them in place of Playwright's option `reduced_motion`, which its driver ignores. The others prevent
#: requests of its own.
FIREFOX_PREFERENCES = {
    'ui.prefersReducedMotion': 1,
    'app.update.enabled': False,
    'network.captive-portal-service.enabled': False,
    'network.connectivity-service.enabled': False,
    'services.settings.server': 'data:,',
}


def pytest_configure(config):
    """Declare the markers of tests that need what a driver has not, and of slow tests for every engine."""
    config.addinivalue_line('markers', 'chromium(reason): not in the other engines, for a reason that is not a fault')
    config.addinivalue_line('markers', 'not_in(engine=reason): not in this engine, for a reason that is not a fault')
    config.addinivalue_line('markers', 'every_engine: in Firefox and WebKit, too, although it is slow')


def pytest_collection_modifyitems(config, items):
    """Skip the tests that are marked so in their engine. Chromium alone runs those that are slow in any engine."""
    left_out = []
    for item in items:
        engine = item.callspec.params.get('engine', 'chromium') if hasattr(item, 'callspec') else 'chromium'
        reasons = [marker.args[0] for marker in item.iter_markers('chromium') if engine != 'chromium']
        reasons += [marker.kwargs[engine] for marker in item.iter_markers('not_in') if engine in marker.kwargs]
        for reason in reasons:
            item.add_marker(pytest.mark.skip(reason=reason))
        is_slow = len([*item.iter_markers('slow')]) > 1  # one is that of the engine
        if engine != 'chromium' and is_slow and not item.get_closest_marker('every_engine'):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(
    scope='module', params=['chromium', *(pytest.param(name, marks=pytest.mark.slow) for name in ('firefox', 'webkit'))]
)
def engine(request):
    """The name of the browser."""
    return request.param


@pytest.fixture(scope='module')
def playwright():
    """The driver. While it runs, so does an event loop: it ends before the tests of other files."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope='module')
def launch(playwright, program):
    """Return a function that starts the system's Chromium. It takes Playwright's options."""

    def launch(executable_path=None, **options):
        # Chromium without its own windows: a new page takes a quarter of the time.
        executable = executable_path or shutil.which('chromium-headless-shell') or program('chromium')
        return playwright.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS, **options)

    return launch


@pytest.fixture(scope='module')
def launch_firefox(playwright, program):
    """Return a function that starts the system's Firefox, with more preferences."""

    def launch(**preferences):
        return playwright.firefox.launch(
            channel='moz-firefox',
            executable_path=program('firefox-esr'),
            firefox_user_prefs=FIREFOX_PREFERENCES | preferences,
        )

    return launch


@pytest.fixture(scope='module')
def display(program):
    """An X display without a screen."""
    xvfb = subprocess.Popen(
        [program('Xvfb', 'xvfb'), '-displayfd', '1', '-screen', '0', '1400x1200x24', '-nolisten', 'tcp'],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield f':{xvfb.stdout.readline().strip()}'
    xvfb.terminate()
    xvfb.wait()
    xvfb.stdout.close()


@pytest.fixture(scope='module')
def launch_webkit(program, display):
    """Return a function that starts a browser, as a context manager: see :func:`webkit.launching`."""
    service_program = program('WebKitWebDriver', 'webkit2gtk-driver')
    return lambda *arguments, **environment: webkit.launching(service_program, display, *arguments, **environment)


@pytest.fixture(scope='module')
def browser(engine, request):
    """The browser that the tests share."""
    if engine == 'webkit':
        browser = webkit.Browser(request.getfixturevalue('launch_webkit'))
    else:
        browser = request.getfixturevalue('launch' if engine == 'chromium' else 'launch_firefox')()
    yield browser
    browser.close()


@pytest.fixture
def page(browser):
    """A page of a new visitor, without cookies and storage. Reduced motion saves the processor."""
    context = browser.new_context(viewport={'width': 900, 'height': 700}, reduced_motion='reduce')
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()
