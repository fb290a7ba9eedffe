"""A real browser: the system's Chromium, driven by Playwright."""

import pytest
from playwright.sync_api import sync_playwright


@pytest.fixture(scope='session')
def launch(program):
    """Return a function that starts the system's Chromium. It takes Playwright's options."""
    executable = program('chromium')
    with sync_playwright() as playwright:
        yield lambda **options: playwright.chromium.launch(
            executable_path=executable,
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
    """A page of a new visitor, without cookies and storage."""
    context = browser.new_context(viewport={'width': 900, 'height': 700})
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()
