"""Bars on pages whose markup libraries replace: htmx 2 and 4, Turbo 8 and idiomorph."""

import os
from pathlib import Path

import pytest
from pyramid.config import Configurator
from pyramid.response import FileResponse, Response

from pyramid_progress import forget_task, start_task

from .wsgi import serving

slow = pytest.mark.slow
pytestmark = pytest.mark.every_engine

MODULES = Path(__file__).parents[2] / 'node_modules'
FILES = {
    'htmx': 'htmx.org/dist/htmx.min.js',
    'htmx4': 'htmx4/dist/htmx.min.js',
    'idiomorph': 'idiomorph/dist/idiomorph.min.js',
    'turbo': '@hotwired/turbo/dist/turbo.es2017-umd.js',
}

PAGE = """<!DOCTYPE html><html lang="en"><head><title>{title}</title><link rel="icon" href="data:,">{head}{assets}
</head><body{attributes}><h1>{title}</h1><main id="main">{body}</main></body></html>"""

#: What the first bar of an element shows.
READ = """(selector) => {
    const bar = document.querySelector(`${selector} pyramid-progress`);
    const native = bar?.querySelector('progress');
    const text = (part) => bar.querySelector(`.pp-${part}`).textContent;
    return native && [bar.getAttribute('state'), text('amount'), text('state'), native.getAttribute('value'),
        native.getAttribute('aria-valuetext')];
}"""
FINISHED = ['finished', '100%', 'Finished', '100', '100%, Finished']


class Application:
    """Pages with the bars of some tasks, which a test sets: by name, the ids; and more of the page's head and body."""

    def __init__(self, library):
        self.library = library
        self.pages = {'one': ['a'], 'two': []}
        self.head = self.attributes = self.body = ''
        self.requests = []

    def page(self, request):
        self.requests.append(request.path)
        name = request.matchdict['name']
        bars = ''.join(request.progress.bar(progress_id) for progress_id in self.pages[name])
        return Response(
            PAGE.format(
                title=name,
                head=f'<script src="/library"></script>{self.head}',
                assets=request.progress.assets(),
                attributes=self.attributes,
                body=f'{bars}<a href="/two">To two</a>{self.body}',
            )
        )

    def fragment(self, request):
        """Bars without a page around them, each in a frame of Turbo, and one to be swapped out of band by htmx."""
        return Response(
            f'<turbo-frame id="frame">{request.progress.bar("b")}</turbo-frame>'
            f'<div id="other" hx-swap-oob="true">{request.progress.bar("c")}</div>'
        )

    @property
    def wsgi(self):
        settings = {'cache.regions': 'default, persistent', 'cache.type': 'memory', 'progress.poll_max': '0.5'}
        with Configurator(settings=settings) as config:
            config.include('pyramid_progress')
            config.add_route('library', '/library')
            config.add_view(lambda request: FileResponse(MODULES / FILES[self.library], request), route_name='library')
            config.add_route('fragment', '/fragment')
            config.add_view(self.fragment, route_name='fragment')
            config.add_route('page', '/{name}')
            config.add_view(self.page, route_name='page')
        return config.make_wsgi_app()


@pytest.fixture
def application(request):
    if not MODULES.joinpath(FILES[request.param]).exists():
        (pytest.fail if os.environ.get('CI') == 'true' else pytest.skip)(
            f'{request.param} is missing: make node_modules'
        )
    return Application(request.param)


@pytest.fixture
def visit(application, page):
    """Return a function that opens the page `one`; the page must report no error."""
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    with serving(application.wsgi) as url:

        def visit():
            page.goto(f'{url}/one')
            return page

        yield visit
        page.goto('about:blank')
    assert errors == []


def expect(page, selector, shown):
    """Wait until the first bar in an element shows this."""
    page.wait_for_function(
        f'([selector, shown]) => JSON.stringify(({READ})(selector)) === shown',
        arg=[selector, page.evaluate('JSON.stringify', shown)],
    )


def half_done(progress_id='a'):
    task = start_task('Import', length=10, progress_id=progress_id)
    task.advance(5)
    return task


RUNNING = ['running', '50%', 'Running', '50', '50%, Running']

htmx = pytest.mark.parametrize('application', ['htmx'], indirect=True)
turbo = pytest.mark.parametrize('application', ['turbo'], indirect=True)


@pytest.mark.parametrize('application', [pytest.param('htmx', marks=slow), 'turbo'], indirect=True)
def test_back_to_a_page_whose_task_has_ended(application, visit):
    """The copy of the page that the library kept shows the end, also when the server has no status any more."""
    application.attributes = ' hx-boost="true"'
    with half_done():
        page = visit()
        expect(page, 'main', RUNNING)
    expect(page, 'main', FINISHED)
    page.get_by_text('To two').click()
    page.wait_for_function("document.title === 'two'")
    forget_task('a')
    page.evaluate('history.back()')
    page.wait_for_function("document.querySelector('h1').textContent === 'one'")
    expect(page, 'main', FINISHED)
    page.wait_for_timeout(700)
    expect(page, 'main', FINISHED)


@slow
@pytest.mark.parametrize('application', ['htmx4'], indirect=True)
def test_back_in_htmx_4_which_keeps_no_copies(application, visit):
    application.attributes = ' hx-boost:inherited="true"'
    with half_done():
        page = visit()
        expect(page, 'main', RUNNING)
        page.evaluate('window.isSame = true')
        page.get_by_text('To two').click()
        page.wait_for_function("document.title === 'two'")
    page.evaluate('history.back()')
    page.wait_for_function("document.querySelector('h1').textContent === 'one'")
    expect(page, 'main', FINISHED)
    assert page.evaluate('window.isSame'), 'the browser loaded the pages'


@slow
@pytest.mark.parametrize('application', ['htmx', 'htmx4'], indirect=True)
def test_bars_that_htmx_swaps_in(application, visit):
    application.body = '<p id="slot" hx-get="/fragment" hx-swap="innerHTML">Load</p><div id="other"></div>'
    with half_done('b'), half_done('c'):
        page = visit()
        page.get_by_text('Load').click()
        expect(page, '#slot', RUNNING)
        expect(page, '#other', RUNNING)
    expect(page, '#slot', FINISHED)
    expect(page, '#other', FINISHED)


@slow
@turbo
def test_bars_in_a_frame_and_in_a_stream(application, visit):
    application.body = '<turbo-frame id="frame" src="/fragment"></turbo-frame><div id="other"></div>'
    with half_done('b'), half_done('c'):
        page = visit()
        expect(page, '#frame', RUNNING)
        page.evaluate("""async () => {
            const page = new DOMParser().parseFromString(await (await fetch('/fragment')).text(), 'text/html');
            const { outerHTML } = page.querySelector('#other pyramid-progress');
            Turbo.renderStreamMessage(`<turbo-stream action="update" target="other"><template>${outerHTML}</template>
                </turbo-stream>`);
        }""")
        expect(page, '#other', RUNNING)
    expect(page, '#frame', FINISHED)
    expect(page, '#other', FINISHED)


REFRESH = """() => new Promise((resolve) => {
    document.addEventListener('turbo:morph', () => setTimeout(resolve), { once: true });
    Turbo.renderStreamMessage('<turbo-stream action="refresh"></turbo-stream>');
})"""


@slow
@turbo
def test_a_refresh_of_turbo_that_morphs(application, visit):
    application.head = '<meta name="turbo-refresh-method" content="morph">'
    with half_done() as task:
        page = visit()
        expect(page, 'main', RUNNING)
        page.evaluate("document.querySelector('pyramid-progress').isSame = true")
        page.evaluate(REFRESH)
        expect(page, 'main', RUNNING)
        task.advance()
        page.wait_for_function("document.querySelector('.pp-amount').textContent === '60%'")
    expect(page, 'main', FINISHED)
    page.evaluate(REFRESH)
    assert page.evaluate("document.querySelector('pyramid-progress').isSame"), 'the element was replaced'
    expect(page, 'main', FINISHED)


@slow
@pytest.mark.parametrize('application', ['idiomorph'], indirect=True)
def test_markup_that_is_morphed(application, visit):
    """As pages do that load themselves again: the bar repairs what the markup of the server lacks."""
    with half_done():
        page = visit()
        expect(page, 'main', RUNNING)
        old = page.evaluate("document.querySelector('main').innerHTML")
    expect(page, 'main', FINISHED)
    page.evaluate("""async () => {
        const page = new DOMParser().parseFromString(await (await fetch('/one')).text(), 'text/html');
        Idiomorph.morph(document.querySelector('main'), page.querySelector('main'));
    }""")
    expect(page, 'main', FINISHED)
    # A page from before the end: the bar asks again.
    page.evaluate("(html) => Idiomorph.morph(document.querySelector('main'), html, { morphStyle: 'innerHTML' })", old)
    expect(page, 'main', FINISHED)


@slow
@htmx
def test_two_versions_of_the_script(visit):
    with half_done():
        page = visit()
        page.evaluate("import(`${document.querySelector('script[type=module]').src}?other`)")
        expect(page, 'main', RUNNING)
    expect(page, 'main', FINISHED)


@slow
@htmx
def test_markup_that_is_written_anew_all_the_time(visit):
    """It shows at once what the page knows, and goes on."""
    with half_done() as task:
        page = visit()
        expect(page, 'main', RUNNING)
        page.evaluate(f"""() => {{
            const main = document.querySelector('main');
            window.shown = [];
            setInterval(() => {{
                main.innerHTML = '<pyramid-progress progress-id="a"></pyramid-progress>';
                shown.push(({READ})('main')[1]);
            }}, 250);
        }}""")
        page.wait_for_function('() => shown.length > 2')
        task.advance(4)
        page.wait_for_function("() => shown.at(-1) === '90%'")
    page.wait_for_function("() => shown.at(-1) === '100%'")
    shown = page.evaluate('shown')
    assert shown == sorted(shown, key=lambda text: int(text[:-1])), shown
    assert set(shown) == {'50%', '90%', '100%'}
