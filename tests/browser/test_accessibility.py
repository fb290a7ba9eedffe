"""Accessibility of the demo's pages: by the rules of axe, and by their layout."""

import re
import threading
import zlib

import pytest

from pyramid_progress.demo import main, views
from pyramid_progress.demo.states import CONTENTS, STATES

from .findings import PLAIN, WIDE, boxes_in_the_way, scrolls_sideways, violations
from .wsgi import serving, strictly

#: The other browsers have their media from the start: see test_firefox.py and test_webkit.py.
emulates_media = pytest.mark.chromium('the driver ignores emulated media')

#: Of a window, in CSS pixels: one of 1280 by 1024 at a zoom of 400 %.
NARROW = {'width': 320, 'height': 256}


@pytest.fixture
def narrow(engine):
    """The size of a narrow window. WebKit has none of 320 pixels: see test_webkit.py for a frame."""
    return {'width': 450, 'height': 700} if engine == 'webkit' else NARROW


@pytest.fixture(scope='module')
def url(demo_settings):
    with serving(strictly(main({}, **demo_settings))) as url:
        yield url


@pytest.fixture(scope='module', params=['ltr', pytest.param('rtl', marks=pytest.mark.slow)])
def shared_states(url, browser, request):
    """The page of all states, each of them reached, under a strict content security policy: it takes 20 seconds."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    complaints = []
    page.on('console', lambda message: complaints.append(message.text) if message.type == 'error' else None)
    page.goto(f'{url}/states?dir={request.param}')
    assert page.evaluate('getComputedStyle(document.body).direction') == request.param
    for example in STATES:
        page.locator(f'#{example.id} pyramid-progress[state={example.title}]').wait_for()
    page.locator('#moving .pp-pace').get_by_text('per second').wait_for()
    assert [text for text in complaints if not text.startswith('Failed to load resource')] == []
    yield page
    context.close()


@pytest.fixture
def states(shared_states):
    """The shared page, in a plain window and without the styles that an earlier test added."""
    shared_states.emulate_media(**PLAIN)
    shared_states.set_viewport_size(WIDE)
    shared_states.evaluate('() => { document.adoptedStyleSheets = []; }')
    return shared_states


@pytest.fixture
def busy(url, page, monkeypatch):
    """The index, with two tasks that run until the test is over."""
    over = threading.Event()

    def work(task, *args):
        task.length, task.message = 10, 'Row 4'
        task.advance(4)
        over.wait(60)

    for job in ('import_file', 'count_code'):
        monkeypatch.setattr(views, job, work)
    page.goto(url)
    for count, button in enumerate(('Import the sample', 'Count'), 1):
        page.get_by_role('button', name=button).click()
        page.wait_for_function(
            '(count) => document.querySelectorAll(\'progress[value="40"]\').length === count', arg=count
        )
    yield page
    over.set()


@pytest.mark.parametrize(
    'media',
    [
        {'color_scheme': 'light'},
        pytest.param({'color_scheme': 'dark'}, marks=emulates_media),
        pytest.param({'color_scheme': 'light', 'forced_colors': 'active'}, marks=[pytest.mark.slow, emulates_media]),
        pytest.param({'color_scheme': 'dark', 'forced_colors': 'active'}, marks=[pytest.mark.slow, emulates_media]),
        pytest.param({'reduced_motion': 'reduce'}, marks=[pytest.mark.slow, emulates_media]),
    ],
    ids=lambda media: '-'.join(media.values()),
)
def test_axe_finds_nothing_in_any_state(states, narrow, media):
    assert violations(states, narrow, **media) == {}


@pytest.mark.chromium('its protocol gives the accessibility tree')
def test_a_reader_hears_what_each_bar_is_and_how_far(states):
    """What axe asks of elements with the role of a progress bar, but not of native ones."""
    nodes = states.context.new_cdp_session(states).send('Accessibility.getFullAXTree')['nodes']
    bars = [node for node in nodes if not node['ignored'] and node['role']['value'] == 'progressbar']
    assert len(bars) == len(STATES) + len(CONTENTS)
    for bar in bars:
        assert bar['name']['value'], bar
    texts = states.locator('progress').evaluate_all("(bars) => bars.map((bar) => bar.getAttribute('aria-valuetext'))")
    assert all(texts), texts


@pytest.mark.parametrize('scheme', ['light', pytest.param('dark', marks=[pytest.mark.slow, emulates_media])])
def test_axe_finds_nothing_while_work_goes_on(busy, url, narrow, scheme):
    assert violations(busy, narrow, color_scheme=scheme) == {}
    busy.goto(f'{url}/progress_tasks')
    busy.locator('pyramid-progress').nth(1).wait_for()
    # Of WCAG's highest level, which the browser's own buttons do not reach in dark; the add-on's page has no others.
    assert violations(busy, narrow, 'color-contrast-enhanced', color_scheme=scheme) == {}


def test_nothing_scrolls_sideways_at_400_percent(states):
    """WCAG 1.4.10, Reflow."""
    states.set_viewport_size(NARROW)
    assert not scrolls_sideways(states)
    assert boxes_in_the_way(states) == []


def test_nothing_scrolls_sideways_while_work_goes_on(busy, url):
    busy.set_viewport_size(NARROW)
    for address in (url, f'{url}/progress_tasks'):
        busy.goto(address)
        busy.locator('pyramid-progress').nth(1).wait_for()
        assert not scrolls_sideways(busy), address
        assert boxes_in_the_way(busy) == [], address


@pytest.mark.parametrize('size', [NARROW, WIDE], ids=['narrow', 'wide'])
def test_wider_spacing_of_text_loses_nothing(states, size):
    """WCAG 1.4.12, Text Spacing."""
    # As a visitor's own style sheet would; the page's security policy takes none from a page's markup.
    states.evaluate("""() => {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(`* { line-height: 1.5 !important; letter-spacing: 0.12em !important;
            word-spacing: 0.16em !important; } p { margin-bottom: 2em !important; }`);
        document.adoptedStyleSheets.push(sheet);
    }""")
    states.set_viewport_size(size)
    assert states.locator('.pp-state').first.evaluate('node => getComputedStyle(node).letterSpacing') != 'normal'
    assert not scrolls_sideways(states)
    assert boxes_in_the_way(states) == []


@pytest.mark.chromium('its driver prints')
def test_print_shows_how_far_it_is(states):
    """On paper, where browsers leave out backgrounds unless a page insists."""
    states.emulate_media(**PLAIN | {'media': 'print'})
    assert states.locator('#running .pp-amount').is_visible()
    fills = states.evaluate("""() => Array.from(document.querySelectorAll(':is(#running, #failed) progress'), (bar) => {
        const context = document.createElement('canvas').getContext('2d');
        context.fillStyle = getComputedStyle(bar).getPropertyValue('--pp-fill');
        return context.fillStyle;
    })""")
    assert len(set(fills)) == 2
    assert set(fills) <= colours(states.pdf(print_background=False))


def colours(pdf):
    """Return the colours that something is filled with in a PDF file, as HTML writes them."""
    streams = re.findall(rb'stream\r?\n(.*?)\r?\nendstream', pdf, re.DOTALL)
    texts = [zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b'\x78']
    found = re.findall(rb'([\d.]+) ([\d.]+) ([\d.]+) rg\b', b'\n'.join(texts))
    return {'#' + ''.join(f'{round(float(part) * 255):02x}' for part in colour) for colour in found}
