"""Real browsers, driven by Playwright: the system's Chromium, and in `make check` its Firefox, too."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

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
    """Declare the marker of tests that need what a driver has not."""
    config.addinivalue_line('markers', 'chromium(reason): not in the other engines, for a reason that is not a fault')


@pytest.fixture(scope='module', params=['chromium', pytest.param('firefox', marks=pytest.mark.slow)])
def engine(request):
    """The name of the browser."""
    return request.param


@pytest.fixture(autouse=True)
def _engines(request):
    """Skip a test that is marked `chromium` in another engine."""
    marker = request.node.get_closest_marker('chromium')
    if marker and 'engine' in request.fixturenames and request.getfixturevalue('engine') != 'chromium':
        pytest.skip(marker.args[0])


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
def browser(engine, request):
    """The browser that the tests share."""
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
