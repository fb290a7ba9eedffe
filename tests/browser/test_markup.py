"""A bar wherever HTML allows phrasing content: its markup is valid there, and it works, with and without script."""

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pyramid.config import Configurator
from pyramid.csrf import get_csrf_token
from pyramid.renderers import render
from pyramid.response import Response
from pyramid.scripting import prepare
from pyramid.session import SignedCookieSessionFactory

import pyramid_progress
from pyramid_progress import TaskCancelled, start_task
from pyramid_progress.demo.states import CONTENTS, STATES

from .pages import serving as serving_pages
from .wsgi import serving, strictly

slow = pytest.mark.slow

VALIDATOR = Path(__file__).parents[2] / 'node_modules/.bin/html-validate'

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Bars</title>{assets}</head><body>
{body}
</body></html>
"""

#: The parents of a bar.
CONTEXTS = {
    'div': '<div>{bar}</div>',
    'form': '<form action="/save" method="post"><p><label>Name <input type="text" name="before" value="1"></label></p>'
    '{token}{bar}<p><input type="text" aria-label="Town" name="after" value="2">'
    '<button type="submit" name="save" value="yes">Save</button></p></form>',
    'p': '<p>Before {bar} after</p>',
    'td': '<table><tbody><tr><td>{bar}</td></tr></tbody></table>',
    'li': '<ul><li>{bar}</li></ul>',
    'dd': '<dl><dt>Import</dt><dd>{bar}</dd></dl>',
    'span': '<p><strong><span>{bar}</span></strong></p>',
}

#: A label may contain one control only, so a bar with a button is not valid in it, but it works.
LABEL = {'label': '<label>Import {bar}</label>'}


class Application:
    """Serves the page ``/CONTEXT`` with the bar of ``task``. Keeps the ``posts`` of the page's own form."""

    def __init__(self, *, has_session):
        self.posts = []
        settings = {'cache.regions': 'default, persistent', 'cache.type': 'memory'}
        with Configurator(settings=settings) as config:
            config.include('pyramid_progress')
            if has_session:
                config.set_session_factory(SignedCookieSessionFactory('secret'))
                config.set_default_csrf_options(token='our_token')
            config.add_route('save', '/save', request_method='POST')
            config.add_view(self.save, route_name='save')
            config.add_route('icon', '/favicon.ico')
            config.add_view(lambda request: Response(status=204), route_name='icon')
            config.add_route('page', '/{context}')
            config.add_view(self.show, route_name='page')
            self.wsgi = strictly(config.make_wsgi_app())
            self.has_session = has_session
            self.task = start_task('Import', length=10)
        self.task.advance(3)

    def show(self, request):
        token = f'<input type="hidden" name="our_token" value="{get_csrf_token(request)}">' if self.has_session else ''
        body = (CONTEXTS | LABEL)[request.matchdict['context']].format(
            token=token, bar=request.progress.bar(self.task.id)
        )
        return Response(PAGE.format(assets=request.progress.assets(), body=body))

    def save(self, request):
        self.posts.append(dict(request.POST))
        return Response('Saved.')

    def is_cancelled(self):
        """Return whether the task is asked to stop within five seconds."""
        try:
            for _ in range(250):
                self.task.advance(0)
                threading.Event().wait(0.02)
        except TaskCancelled:
            return True
        return False


@pytest.fixture
def application(request):
    """An application with CSRF tokens if the test says so."""
    application = Application(has_session=getattr(request, 'param', False))
    yield application
    application.task.finish()


@pytest.fixture
def url(application):
    with serving(application.wsgi) as url:
        yield url


@pytest.fixture(
    params=[
        pytest.param(True, id='with script'),
        pytest.param(
            False,
            id='without script',
            marks=pytest.mark.not_in(
                firefox='its driver ignores java_script_enabled',
                webkit='its driver sometimes hangs when a page without script is replaced: see test_webkit.py',
            ),
        ),
    ]
)
def visitor(request, browser):
    """A page, with and without script."""
    context = browser.new_context(**{} if request.param else {'java_script_enabled': False})
    page = context.new_page()
    page.set_default_timeout(15_000)
    yield page
    context.close()


def open_page(visitor, url, context):
    """Open the page; if there is script, wait until the bar follows its task."""
    visitor.goto(f'{url}/{context}', wait_until='networkidle')
    visitor.get_by_role('button', name='Cancel').wait_for()
    assert visitor.get_by_role('button', name='Cancel').count() == 1


@pytest.mark.parametrize(
    ('application', 'context'),
    [
        (False, 'form'),
        pytest.param(True, 'form', marks=slow),
        (False, 'label'),
        *(pytest.param(False, name, marks=slow) for name in ('div', 'p', 'td')),
    ],
    indirect=['application'],
)
def test_the_button_cancels_the_task(application, url, visitor, context):
    open_page(visitor, url, context)
    visitor.get_by_role('button', name='Cancel').click()
    assert application.is_cancelled()
    assert visitor.url == f'{url}/{context}'
    assert application.posts == []
    if context == 'form':
        assert visitor.locator('[name=before]').input_value() == '1'


@pytest.mark.parametrize('application', [pytest.param(False, marks=slow), True], indirect=True)
def test_the_form_of_the_page_has_its_own_fields_only(application, url, visitor):
    open_page(visitor, url, 'form')
    visitor.locator('[name=after]').press('Enter')
    visitor.get_by_text('Saved.').wait_for()
    open_page(visitor, url, 'form')
    visitor.get_by_role('button', name='Save').click()
    visitor.get_by_text('Saved.').wait_for()
    for post in application.posts:
        post.pop('our_token', None)
    assert application.posts == [{'before': '1', 'after': '2', 'save': 'yes'}] * 2


def test_the_parts_stay_in_the_element(url, page):
    for context in CONTEXTS | LABEL:
        page.goto(f'{url}/{context}')
        bar = page.locator(f'{context} > pyramid-progress')
        for part in ('.pp-label', 'progress', '.pp-line', '.pp-state', '.pp-result', '.pp-cancel', '.pp-live'):
            bar.locator(part).wait_for(state='attached')
            assert page.locator(part).count() == bar.locator(part).count() == 1


@pytest.fixture
def validate(tmp_path):
    """Return a function that gives what a validator finds in pages, by the rules of the HTML standard."""
    if not VALIDATOR.exists():
        (pytest.fail if os.environ.get('CI') == 'true' else pytest.skip)('html-validate is missing: make node_modules')
    config = {'root': True, 'extends': ['html-validate:standard']}
    tmp_path.joinpath('.htmlvalidate.json').write_text(json.dumps(config))

    def validate(pages):
        for name, text in pages.items():
            tmp_path.joinpath(f'{name}.html').write_text(text)
        run = subprocess.run(
            [VALIDATOR, '-f', 'json', *map(str, tmp_path.glob('*.html'))], capture_output=True, text=True, check=False
        )
        return {
            (Path(result['filePath']).stem, message['ruleId'], message['message'])
            for result in json.loads(run.stdout)
            for message in result['messages']
        }

    return validate


@pytest.fixture
def bodies():
    """The bodies of pages with a bar in every state, by context, as the server renders them."""
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.include('pyramid_progress')
        config.set_session_factory(SignedCookieSessionFactory('secret'))
        config.commit()
        with prepare(registry=config.registry) as environment:
            request = environment['request']

            def draw(example):
                names = {
                    'progress_id': example.id,
                    'pyramid_progress_status': example.status,
                    'when_finished': 'reload',
                }
                return render('pyramid_progress:web/templates/bar.pt', names, request)

            bodies = {}
            for name, context in CONTEXTS.items():
                bars = [context.format(token='', bar=draw(example)) for example in (*STATES, *CONTENTS)]
                bodies[name] = '\n'.join(bars)
            bodies['assets'] = request.progress.assets()
    return bodies


def test_the_validator_finds_errors(validate):
    body = '<p><b>A bar</p><form><form></form></form>'
    assert {rule for _, rule, _ in validate({'bad': PAGE.format(assets='', body=body)})} >= {'close-order'}


def test_every_state_is_valid_in_every_context(validate, bodies):
    assets = bodies.pop('assets')
    pages = {name: PAGE.format(assets=assets, body=body) for name, body in bodies.items()}
    assert all('Import of animals.csv' in page for page in pages.values())
    assert validate(pages) == set()


def test_every_state_is_valid_as_the_script_leaves_it(validate, bodies, page):
    bodies.pop('assets')
    with serving_pages() as server:
        server.statuses = {example.id: example.status for example in (*STATES, *CONTENTS)}
        texts = {}
        for name, body in bodies.items():
            server.body = body
            page.goto(server.url)
            count = body.count('</pyramid-progress>')
            page.wait_for_function(f"() => document.querySelectorAll('pyramid-progress:defined').length === {count}")
            texts[name] = page.content()
    assert validate(texts) == set()


@pytest.mark.parametrize('value', ['reload', 'result', None])
def test_the_macro_and_the_method_write_when_finished(bar_of, value):
    for bar in bar_of(value):
        assert bar.get('when-finished') == value


def test_an_invalid_when_finished_is_an_error_of_the_page(bar_of):
    with pytest.raises(ValueError, match="when_finished is 'restart'; it must be 'reload', 'result' or None"):
        bar_of('restart')


@pytest.fixture
def bar_of(tmp_path):
    """Return a function that gives the bars that the macro and the method draw with ``when_finished``."""
    file = tmp_path / 'page.pt'
    file.write_text(
        """<body><tal:block define="progress_id 'a'" metal:use-macro="request.progress.macros['bar']"/>"""
        """${request.progress.bar('a', when_finished=when_finished)}</body>"""
    )
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.include('pyramid_progress')
        config.commit()
        with prepare(registry=config.registry) as environment:
            yield lambda value: BeautifulSoup(
                render(str(file), {'when_finished': value}, environment['request'], package=pyramid_progress),
                'html.parser',
            ).select('pyramid-progress')
