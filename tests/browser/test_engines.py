"""The same page in three template languages, under a strict content security policy: its bar follows real work."""

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import expect
from pyramid.config import Configurator
from pyramid.response import Response

from . import templates
from .wsgi import STRICT, Mary, serving, strictly

pytestmark = pytest.mark.not_in(webkit='it needs more of Playwright than the adapter for WebKit has')

#: Keeps every amount that the bar shows, from before it is there.
RECORD = """
    window.amounts = [];
    addEventListener('progress:update', ({ target }) => amounts.push(target.querySelector('progress').value));
"""


def derive_keys(task, count):
    """Do some work, in which the processor has all the time something to do."""
    for n in task.track(range(count)):
        task.message = f'Key {n}'
        hashlib.pbkdf2_hmac('sha256', b'more work', b'', 120_000)
        key = hashlib.pbkdf2_hmac('sha256', b'a password', b'%d' % n, 60_000)
    task.finish(f'<b>{key.hex()[:8]}</b>')


def start(request):
    """Start the work of a page once: the script of the task list loads the page again."""
    started = request.registry.setdefault('started', {})
    if request.path not in started:
        started[request.path] = request.progress.submit(derive_keys, 60, label='Keys & "locks"', length=60)
    return {'progress_id': started[request.path]}


@pytest.fixture
def reports():
    """What browsers say of violations of the policy."""
    return []


@pytest.fixture
def url(reports):
    """Serve an application with one page in each language, which starts the work; give its URL."""
    settings = {
        'cache.regions': 'default, persistent',
        'cache.type': 'memory',
        'mako.directories': str(Path(templates.__file__).parent),
        'mako.default_filters': 'h',
    }
    with Configurator(settings=settings, security_policy=Mary(), package=templates) as config:
        config.include('pyramid_progress')
        config.include(templates)
        for language, template in {'chameleon': 'page.pt', 'jinja2': 'page.jinja2', 'mako': 'page.mako'}.items():
            config.add_route(language, f'/{language}')
            config.add_view(start, route_name=language, renderer=template)
        config.add_route('reports', '/reports', request_method='POST')
        config.add_view(lambda request: reports.append(request.text) or Response(), route_name='reports')
        config.add_route('icon', '/favicon.ico')
        config.add_view(lambda request: Response(status=204), route_name='icon')
    with serving(strictly(config.make_wsgi_app(), f'{STRICT}; report-uri /reports')) as url:
        yield url


@pytest.mark.parametrize(
    'language',
    ['chameleon', *(pytest.param(name, marks=pytest.mark.slow) for name in ('jinja2', 'mako'))],
)
def test_a_bar_follows_the_work_to_its_end(url, page, reports, language):
    complaints = []
    page.on('pageerror', lambda error: complaints.append(str(error)))
    page.on('console', lambda message: complaints.append(message.text) if message.type == 'error' else None)
    page.add_init_script(RECORD)
    page.goto(f'{url}/{language}')
    assert page.title().lower() == language
    bars = page.locator('pyramid-progress')
    expect(bars).to_have_count(2)  # its own, and the one on the list
    assert bars.first.get_attribute('progress-id') == bars.last.get_attribute('progress-id')
    for bar in bars.all():
        expect(bar).to_have_attribute('state', 'finished', timeout=60_000)
        expect(bar.locator('.pp-label')).to_have_text('Keys & "locks"')
        expect(bar.locator('.pp-message')).to_have_text('<b>4f5473f6</b>')
        expect(bar.locator('.pp-amount')).to_have_text('100%')
    amounts = page.evaluate('amounts')
    assert amounts == sorted(amounts)
    assert len({amount for amount in amounts if 0 < amount < 100}) >= 2, 'it moved'
    assert complaints == []
    assert reports == []
