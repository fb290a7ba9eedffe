"""Bars among the styles of others: those of Bootstrap, and none; and without their own."""

import os
import re
from pathlib import Path

import pytest
from pyramid.config import Configurator
from pyramid.response import Response

from pyramid_progress import init_progress_status, set_progress_status, start_task

from .wsgi import serving, strictly

BOOTSTRAP = Path(__file__).parents[2] / 'node_modules/bootstrap/dist/css'

PAGE = """<!DOCTYPE html>
<html lang="en" {attributes}>
  <head><meta charset="utf-8"><title>Looks</title><link rel="icon" href="/icon.svg">{head}</head>
  <body><main class="container"><h1>Work</h1><p id="text">Some text.</p>{bars}</main></body>
</html>
"""

#: Computed styles, as colours that were really drawn.
MEASURE = """
() => {
    const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const paint = (...colours) => {
        for (const colour of colours) {
            context.fillStyle = colour;
            context.fillRect(0, 0, 1, 1);
        }
        return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    };
    const luminance = (colour) => {
        const [red, green, blue] = colour.map((part) => part / 255).map(
            (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const contrast = (colour, other) => {
        const [dark, light] = [luminance(colour), luminance(other)].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05);
    };
    const canvas = document.createElement('div');
    canvas.hidden = true;
    canvas.style.backgroundColor = 'Canvas';
    document.documentElement.append(canvas);
    const grounds = [getComputedStyle(canvas).backgroundColor];
    const ground = (node) => {
        const found = [];
        for (; node; node = node.parentElement) found.unshift(getComputedStyle(node).backgroundColor);
        return [...grounds, ...found];
    };
    const page = getComputedStyle(document.querySelector('#text'));
    return Array.from(document.querySelectorAll('pyramid-progress'), (bar) => {
        const progress = bar.querySelector('progress');
        const { width, height } = progress.getBoundingClientRect();
        const fills = ['color', 'finished', 'failed', 'warning', 'idle']
            .map((name) => getComputedStyle(bar).getPropertyValue(`--pp-${name}`)).filter(Boolean);
        const texts = [...bar.querySelectorAll('.pp-label, .pp-amount, .pp-state, .pp-message, .pp-result, button')]
            .filter((node) => node.textContent && node.checkVisibility());
        return {
            state: bar.state,
            width,
            height,
            room: bar.parentElement.clientWidth,
            parts: texts.map((node) => node.className || node.localName),
            contrasts: texts.map((node) =>
                contrast(paint(...ground(node), getComputedStyle(node).color), paint(...ground(node)))),
            fills: fills.map((fill) => contrast(paint(...ground(progress), fill), paint(...ground(progress)))),
            fonts: texts.filter((node) => node.localName !== 'button')
                .map((node) => getComputedStyle(node).fontFamily === page.fontFamily),
            sizes: texts.map((node) => parseFloat(getComputedStyle(node).fontSize) / parseFloat(page.fontSize)),
        };
    });
}
"""


@pytest.fixture(scope='module')
def bootstrap():
    """Skip the test where Bootstrap's style sheets are missing; with CI=true, fail it."""
    if not BOOTSTRAP.is_dir():
        (pytest.fail if os.environ.get('CI') == 'true' else pytest.skip)('bootstrap is missing: make node_modules')


@pytest.fixture
def url():
    """Serve a page with bars.

    The query string says which styles it has, those of 'bootstrap' and the bars, the bars' 'own', or 'none', and
    whether its ``theme`` is light or dark.
    """
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.include('pyramid_progress')
        config.add_route('page', '/')
        config.add_view(page_of_bars, route_name='page')
        config.add_route('icon', '/icon.svg')
        config.add_view(lambda request: Response(status=204), route_name='icon')
        config.add_static_view('bootstrap', str(BOOTSTRAP))
    with start_task('Import with a button', progress_id='started', length=100) as task:
        start_task('Export', progress_id='finished').finish('Rows: 42', {'url': '/', 'text': 'The file'})
        for status in STATUSES:
            init_progress_status(status, None, f'Task that is {status}', length=100)
            set_progress_status(status, status, message='Row 42', current=42)
        set_progress_status('endless', message='Row 42', current=42)
        with serving(strictly(config.make_wsgi_app())) as url:
            yield url
        task.finish()


STATUSES = ['pending', 'running', 'failed', 'cancelled']


def page_of_bars(request):
    head = request.progress.assets()
    styles = request.GET['styles']
    if styles == 'bootstrap':
        head = f'<link rel="stylesheet" href="/bootstrap/bootstrap.min.css">{head}'
    elif styles == 'none':
        head, found = re.subn('<link rel="stylesheet".*?>', '', head)
        assert found == 1
    theme = request.GET['theme']
    bars = [request.progress.bar(progress_id) for progress_id in ('started', 'finished', 'endless', *STATUSES)]
    return Response(
        PAGE.format(
            attributes=f'data-bs-theme="{theme}"',
            head=f'<meta name="color-scheme" content="{theme}">{head}',
            bars=''.join(bars),
        )
    )


@pytest.fixture
def measure(url, page):
    """Return a function that opens the page, with some styles in some theme, and measures its bars."""
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)

    def measure(styles, theme):
        page.emulate_media(reduced_motion='reduce')
        page.goto(f'{url}/?styles={styles}&theme={theme}')
        page.wait_for_function("() => document.querySelectorAll('pyramid-progress:defined').length === 7")
        return page.evaluate(MEASURE)

    yield measure
    assert errors == []


@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('styles', ['bootstrap', 'own'])
def test_at_home(request, measure, styles, theme):
    if styles == 'bootstrap':
        request.getfixturevalue('bootstrap')
    bars = measure(styles, theme)
    assert {bar['state'] for bar in bars} == {'waiting', 'running', 'indeterminate', 'finished', 'failed', 'cancelled'}
    for bar in bars:
        assert bar['width'] > bar['room'] - 30, bar  # all of a container's width, less its padding
        assert 6 <= bar['height'] <= 16, bar
        assert min(bar['contrasts']) >= 4.5, bar
        assert len(bar['fills']) == 5
        assert min(bar['fills']) >= 3, bar  # WCAG 1.4.11, Non-text Contrast
        assert all(bar['fonts']), bar
        assert all(0.8 <= size <= 1 for size in bar['sizes']), bar


@pytest.mark.not_in(webkit='the theme of the system draws its controls, in other colours than the computed ones')
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_without_any_styles(measure, theme):
    bars = measure('none', theme)
    for bar in bars:
        assert 100 <= bar['width'] <= bar['room'], bar
        assert 8 <= bar['height'] <= 24, bar
        assert min(bar['contrasts']) >= 4.5, bar
        assert all(bar['fonts']), bar
