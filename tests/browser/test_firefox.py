"""Dark mode and forced colours in Firefox, whose driver sets them by preferences only."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from pyramid.config import Configurator

from pyramid_progress import init_progress_status
from pyramid_progress.demo import main

from .wsgi import Mary, serving, strictly

pytestmark = pytest.mark.slow

DARK = {'ui.systemUsesDarkTheme': 1}
FORCED = {'browser.display.document_color_use': 2, 'ui.useAccessibilityTheme': 1}

#: The colours of elements, and whether the browser has the media that a test is about.
COLOURS = """(selector) => Array.from(document.querySelectorAll(selector), (node) => {
    const { color, backgroundColor } = getComputedStyle(node);
    return [color, backgroundColor];
})"""


@pytest.fixture
def open_page(launch_firefox):
    """Return a function that opens a page in a Firefox with these preferences."""
    browsers = []

    def open_page(url, media, **preferences):
        browser = launch_firefox(**preferences)
        browsers.append(browser)
        page = browser.new_page()
        page.goto(url)
        assert page.evaluate(f"matchMedia('({media})').matches")
        page.locator('pyramid-progress:defined[state=running]').first.wait_for()
        return page

    yield open_page
    for browser in browsers:
        browser.close()


@pytest.fixture
def states_url(demo_settings):
    """The demo's page of all states."""
    with serving(strictly(main({}, **demo_settings))) as url:
        yield f'{url}/states'


def test_the_page_of_tasks_is_dark(open_page):
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.set_security_policy(Mary())
        config.include('pyramid_progress')
    init_progress_status('a', 'mary', 'Import', length=10, current=4)
    with serving(strictly(config.make_wsgi_app())) as url:
        page = open_page(f'{url}/progress_tasks', 'prefers-color-scheme: dark', **DARK)
        lightness = page.evaluate("""() => {
            const probe = document.createElement('div');
            probe.style.backgroundColor = 'Canvas';
            document.body.append(probe);
            const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
            const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
            const { color } = getComputedStyle(document.body);
            return [mean(channels(getComputedStyle(probe).backgroundColor)), mean(channels(color))];
        }""")
        assert lightness[0] < 60
        assert lightness[1] > 200


@pytest.mark.parametrize(
    ('media', 'preferences'),
    [('prefers-color-scheme: dark', DARK), ('forced-colors: active', FORCED)],
    ids=['dark', 'forced colours'],
)
def test_axe_finds_nothing_in_any_state(open_page, states_url, media, preferences):
    page = open_page(states_url, media, **preferences)
    violations = Axe().run(page, options={'resultTypes': ['violations']}).response['violations']
    assert {violation['id']: [node['html'][:300] for node in violation['nodes']] for violation in violations} == {}


def test_forced_colours_are_those_of_the_system(open_page, states_url):
    page = open_page(states_url, 'forced-colors: active', **FORCED)
    (text, _), *_ = page.evaluate(COLOURS, 'h1')
    colours = page.evaluate(COLOURS, '.pp-label, .pp-amount, .pp-line > span')
    assert {colour for colour, _ in colours} == {text}
