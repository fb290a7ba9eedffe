"""A real browser: the system's Chromium, driven by Playwright."""

import shutil

import pytest
from playwright.sync_api import sync_playwright


@pytest.fixture(scope='session')
def launch(program):
    """Return a function that starts the system's Chromium. It takes Playwright's options."""
    # Chromium without its own windows: a new page takes a quarter of the time.
    executable = shutil.which('chromium-headless-shell') or program('chromium')
    with sync_playwright() as playwright:
        yield lambda executable_path=executable, **options: playwright.chromium.launch(
            executable_path=executable_path,
            # Chromium does not run as root with its sandbox. The other options prevent requests of its own.
            args=[
                '--no-sandbox',
                '--disable-gpu',
                '--disable-quic',
                '--disable-background-networking',
                '--disable-component-update',
                '--disable-sync',
                '--no-first-run',
            ],
            **options,
        )


@pytest.fixture(scope='session')
def browser(launch):
    """The browser that the tests share."""
    browser = launch()
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
