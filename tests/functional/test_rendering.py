"""Bars on a page: macros and methods, in templates as users write them."""

import gc
import json
import re
import tracemalloc
from contextlib import suppress

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from beaker.cache import cache_regions
from pyramid.interfaces import ILocalizer
from pyramid.request import Request
from support import storages  # noqa: F401  (registers the type faulty)

from pyramid_progress import get_running_tasks, init_progress_status, set_progress_status, start_task
from pyramid_progress.runtime import current_store, get_runtime

from .conftest import HeaderPolicy

HOSTILE = '<img src=x onerror=alert(1)>"\'&'

BY_MACRO = """<html><head><tal:block metal:use-macro="request.progress.macros['assets']"/></head>
<body><tal:block repeat="progress_id ids" metal:use-macro="request.progress.macros['bar']"/></body></html>"""
BY_METHOD = """<html><head>${request.progress.assets()}</head>
<body><tal:block repeat="name ids">${request.progress.bar(name)}</tal:block></body></html>"""


@pytest.fixture
def serve(make_app, tmp_path):
    """Return a function that serves a page of this text, which shows these tasks; it gives the parsed page."""

    def serve(template, *ids, configure=lambda config: None, **options):
        file = tmp_path / 'page.pt'
        file.write_text(template)

        def with_page(config):
            config.add_route('page', '/page')
            # The renderer looks for templates beside a package with a file, which a folder of tests has not.
            config = config.with_package('pyramid_progress')
            config.add_view(lambda request: {'ids': ids}, route_name='page', renderer=str(file))
            configure(config)

        app = make_app(with_page, **options)
        return app, lambda: app.get('/page').html

    return serve


def text(element, part):
    """Return the text of a part of a bar."""
    return element.select_one(f'.pp-{part}').text


def words(page):
    """Return the configuration of the script that a page contains."""
    return json.loads(page.select_one('meta[name=pyramid-progress]')['content'])


@pytest.mark.parametrize('template', [BY_MACRO, BY_METHOD])
def test_page_with_bars(serve, template):
    _, show = serve(template, 'a', 'b', 'a')
    init_progress_status('a', None, 'Import', length=100, current=42)
    set_progress_status('a', message='Row 42')
    page = show()
    first, second, third = page.select('body > pyramid-progress')
    assert str(first) == str(third)
    assert [first['progress-id'], first['src'], first['state']] == ['a', '/progress_status', 'running']
    assert [text(first, part) for part in ('label', 'amount', 'state', 'message')] == [
        'Import',
        '42%',
        'Running',
        'Row 42',
    ]
    assert first.progress.attrs == {
        'max': '100',
        'value': '42',
        'aria-label': 'Import',
        'aria-valuetext': '42%, Running',
    }
    assert json.loads(first['status'])['message'] == 'Row 42'
    assert first.select_one('[role=status]').text == ''
    assert first.noscript.a['href'] == ''
    assert [second['progress-id'], text(second, 'state')] == ['b', 'Waiting to start']


@pytest.mark.parametrize('template', [BY_MACRO, BY_METHOD])
def test_assets_are_served_under_a_path_with_the_version(serve, template):
    app, show = serve(template, route_prefix='inner')
    page = show()
    style, script = page.select_one('link[rel=stylesheet]')['href'], page.select_one('script[type=module]')['src']
    assert app.get(style).content_type == 'text/css'
    assert app.get(script).content_type in ('text/javascript', 'application/javascript')
    assert app.get(script.replace('progress.js', 'poller.js')).status_int == 200
    assert app.get(words(page)['src'] + '?progress_id=a').json == {'status': 'unknown'}


def test_macro_and_method_render_the_same(serve):
    _, show = serve(BY_MACRO + BY_METHOD, 'a')
    init_progress_status('a', None, 'Import', length=3, current=1)
    by_macro, by_method = show().select('pyramid-progress')
    assert str(by_macro) == str(by_method)


def test_markup_in_texts_is_escaped(serve):
    _, show = serve(BY_MACRO, HOSTILE)
    init_progress_status(HOSTILE, None, HOSTILE)
    set_progress_status(HOSTILE, HOSTILE, HOSTILE)
    page = show()
    bar = page.find('pyramid-progress')
    assert {bar['progress-id'], bar.progress['aria-label']} == {HOSTILE}
    assert [text(bar, part) for part in ('label', 'message', 'state')] == [HOSTILE] * 3
    assert page.find('img') is None


def test_nothing_is_inline(serve):
    _, show = serve(BY_MACRO, 'a')
    page = show()
    assert [script.text for script in page.select('script')] == ['']
    assert page.select('style') == []
    attributes = {name for element in page.select('*') for name in element.attrs}
    assert not {name for name in attributes if name == 'style' or name.startswith('on')}


STATES = [
    ({'status': 'pending', 'length': 10}, 'waiting', 'Waiting to start', '0%', '0'),
    ({'current': 9999, 'length': 10000}, 'running', 'Running', '99%', '99.9'),
    ({'current': 5}, 'indeterminate', 'Running, length unknown', '5', None),
    ({'current': 2.5}, 'indeterminate', 'Running, length unknown', '2.5', None),
    ({'status': 'running'}, 'indeterminate', 'Running, length unknown', '', None),
    ({'length': -1, 'current': 1}, 'indeterminate', 'Running, length unknown', '1', None),
    ({'current': 12, 'length': 9}, 'running', 'Running', '100%', '100'),
    ({'current': -2, 'length': 9}, 'running', 'Running', '0%', '0'),
    ({'length': 0}, 'running', 'Running', '100%', '100'),
    ({'current': 1.5, 'length': 10**400}, 'running', 'Running', '0%', '0'),
    ({'current': 10**400}, 'indeterminate', 'Running, length unknown', '∞', None),
    ({'status': 'packing', 'current': 1, 'length': 2}, 'running', 'packing', '50%', '50'),
    ({'status': 'stalled', 'current': 1, 'length': 2}, 'stalled', 'Stalled: no longer responding', '50%', '50'),
    ({'status': 'cancelling'}, 'cancelling', 'Cancelling', '', '0'),
    ({'status': 'finished'}, 'finished', 'Finished', '100%', '100'),
    ({'status': 'failed', 'current': 1, 'length': 3}, 'failed', 'Failed', '33%', '33.3'),
    ({'status': 'cancelled'}, 'cancelled', 'Cancelled', '', '0'),
]


def test_states_in_words(serve):
    _, show = serve(BY_MACRO, *map(str, range(len(STATES))))
    for i, (status, *_) in enumerate(STATES):
        # Not by the function, which refuses the words that are computed for readers.
        current_store().storage.update(
            str(i), {name: json.dumps(value) for name, value in ({'status': 'running'} | status).items()}, 60
        )
    for bar, (_, state, word, amount, value) in zip(show().select('pyramid-progress'), STATES, strict=True):
        assert [bar['state'], text(bar, 'state'), text(bar, 'amount')] == [state, word, amount]
        assert bar.progress.get('value') == value
        assert bar.progress['aria-label'] == 'Progress'


AMOUNT = {'status': 'running', 'current': 420, 'length': 1000, 'started': '2020-01-01T00:00:00+00:00'}


@pytest.mark.parametrize(
    ('page', 'shown'),
    [
        (BY_MACRO, ['420 of 1,000', True, None, None]),
        (BY_MACRO.replace('repeat', 'define="no_count True" repeat'), ['', True, '', None]),
        ("<body>${request.progress.bar('0', no_elapsed=True)}</body>", ['420 of 1,000', False, None, '']),
    ],
)
def test_amount_and_elapsed_time(serve, page, shown):
    _, show = serve(page, '0')
    init_progress_status('0', None, 'Import')
    current_store().storage.update('0', {name: json.dumps(value) for name, value in AMOUNT.items()}, 60)
    bar = show().find('pyramid-progress')
    elapsed = text(bar, 'elapsed')
    assert [text(bar, 'count'), bool(elapsed), bar.get('no-count'), bar.get('no-elapsed')] == shown
    assert not elapsed or re.fullmatch(r'[\d,]+ d \d+ h', elapsed)


def test_rendering_a_bar_acknowledges_nothing(serve):
    _, show = serve(BY_MACRO, 'a')
    init_progress_status('a', None, 'Import')
    set_progress_status('a', 'finished')
    for _ in range(2):
        assert text(show().find('pyramid-progress'), 'state') == 'Finished'
    assert get_running_tasks() == {'a'}


def test_an_invisible_task_looks_like_an_unknown_one(serve, with_policy):
    app, _ = serve(BY_MACRO, 'owned', 'no-such', configure=with_policy)
    init_progress_status('owned', 'mary', 'Import')

    def shown(user):
        return [
            str(bar).replace(bar['progress-id'], '')
            for bar in app.get('/page', headers={'X-User': user}).html.select('pyramid-progress')
        ]

    owned, no_such = shown('tom')
    assert owned == no_such
    assert shown('mary')[0] != no_such


def test_a_store_that_is_down_does_not_break_the_page(serve, tmp_path):
    _, show = serve(BY_MACRO, 'a')
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'file', 'data_dir': str(tmp_path / 'data')}
    init_progress_status('a', None, 'Import')
    for file in tmp_path.rglob('*.cache'):
        file.write_bytes(b'garbage')
    bar = show().find('pyramid-progress')
    assert [bar['state'], text(bar, 'state')] == ['trouble', 'Connection trouble, trying again']
    assert 'status' not in bar.attrs


def test_a_missing_variable_is_named(serve):
    _, show = serve('<body><tal:block metal:use-macro="request.progress.macros[\'bar\']"/></body>')
    with pytest.raises(NameError, match="the macro 'bar' of pyramid_progress needs a variable 'progress_id'"):
        show()


@pytest.mark.parametrize('template', [BY_MACRO, BY_METHOD])
@pytest.mark.parametrize(('progress_id', 'error'), [(None, TypeError), ('', ValueError)])
def test_an_invalid_id_is_an_error_of_the_page(serve, template, progress_id, error):
    _, show = serve(template, progress_id)
    with pytest.raises(error, match='progress_id'):
        show()


def test_the_page_keeps_its_own_variables(serve):
    _, show = serve(
        "<body tal:define=\"bar 'mine'; rendering 'mine'; progress_id 'a'\">"
        '<tal:block metal:use-macro="request.progress.macros[\'bar\']"/><b>${bar} ${rendering}</b></body>'
    )
    assert show().b.text == 'mine mine'


RESULTS = [
    ({'url': '/files/1?a=b:c', 'text': HOSTILE}, '/files/1?a=b:c', HOSTILE),
    ({'url': 'HTTPS://example.org/'}, 'HTTPS://example.org/', 'Result'),
    ({'url': 'report.html'}, 'report.html', 'Result'),
    ({'url': '?page=2:3'}, '?page=2:3', 'Result'),
    ({'url': '#here'}, '#here', 'Result'),
    ({'url': 'javascript:alert(1)', 'text': 'Here'}, None, 'Here'),
    ({'url': ' javascript:alert(1)'}, None, ''),
    ({'url': 'java\nscript:alert(1)'}, None, ''),
    ({'url': 'data:text/html,/'}, None, ''),
    ({'url': ''}, None, ''),
    ({'text': '40 rows'}, None, '40 rows'),
    (None, None, ''),
]


def test_a_result_is_a_link_if_its_url_is_safe(serve):
    _, show = serve(BY_MACRO, *map(str, range(len(RESULTS))))
    for i, (result, *_) in enumerate(RESULTS):
        with start_task('Import', progress_id=str(i)) as task:
            task.finish(result=result)
    for link, (_, href, shown) in zip(show().select('.pp-result'), RESULTS, strict=True):
        assert (link.get('href'), link.text) == (href, shown)


@pytest.mark.parametrize(
    ('locale', 'language', 'word', 'amount', 'refresh', 'left'),
    [
        ('en', 'en', 'Running', '42%', 'Refresh', 'About {time} left'),
        ('fr', 'fr', 'En cours', '42\N{NO-BREAK SPACE}%', 'Actualiser', 'Encore {time} environ'),
        ('de', 'de', 'Läuft', '42\N{NO-BREAK SPACE}%', 'Aktualisieren', 'Noch etwa {time}'),
        ('es', 'es', 'En curso', '42\N{NO-BREAK SPACE}%', 'Actualizar', 'Tiempo restante: {time} aprox.'),
        ('pt_BR', 'pt-BR', 'Em andamento', '42%', 'Atualizar', 'Tempo restante: cerca de {time}'),
        ('nl', 'en', 'Running', '42%', 'Refresh', 'About {time} left'),
    ],
)
def test_words_are_those_of_the_request_s_locale(serve, locale, language, word, amount, refresh, left):
    app, _ = serve(BY_MACRO, 'a')
    init_progress_status('a', None, 'Import', length=100, current=42)
    page = app.get('/page?_LOCALE_=' + locale).html
    bar = page.find('pyramid-progress')
    assert [text(bar, 'state'), text(bar, 'amount'), bar.noscript.text] == [word, amount, refresh]
    given = words(page)
    assert [given['lang'], given['words']['running'], given['words']['left']] == [language, word, left]


@pytest.mark.parametrize('locale', ['de', 'nl'])
def test_an_application_can_replace_the_words(serve, tmp_path, locale):
    directory = tmp_path / 'locale' / locale / 'LC_MESSAGES'
    directory.mkdir(parents=True)
    catalogue = Catalog(locale)
    catalogue.add('running', 'Ci siamo')
    with directory.joinpath('pyramid_progress.mo').open('wb') as file:
        write_mo(file, catalogue)

    def configure(config):
        config.add_translation_dirs(str(tmp_path / 'locale'), override=True)

    app, _ = serve(BY_MACRO, 'a', configure=configure)
    init_progress_status('a', None, 'Import', length=100, current=42)
    bar = app.get('/page?_LOCALE_=' + locale).html.find('pyramid-progress')
    assert text(bar, 'state') == 'Ci siamo'


def test_the_message_of_an_error_is_in_the_language_of_the_request(serve):
    app, _ = serve(BY_MACRO, 'a')
    with suppress(ZeroDivisionError), start_task('Import', progress_id='a'):
        1 / 0  # noqa: B018
    sentence = 'Ein unerwarteter Fehler hat diese Aufgabe beendet.'
    assert app.get('/progress_status?progress_id=a&_LOCALE_=de').json['message'] == sentence
    assert text(app.get('/page?_LOCALE_=de').html, 'message') == sentence
    assert app.get('/progress_status?progress_id=a').json['message'] == 'An unexpected error ended this task.'


def test_a_page_has_the_poll_intervals(serve):
    _, show = serve(BY_MACRO, 'a')
    assert [words(show())[name] for name in ('min', 'max')] == [500, 5000]
    _, show = serve(BY_MACRO, 'a', **{'progress.poll_min': '2', 'progress.poll_max': '30'})
    assert [words(show())[name] for name in ('min', 'max')] == [2000, 30_000]


def test_preloaded_bars_cost_one_read_and_one_look_at_the_user(serve, with_policy):
    users = []

    class Policy(HeaderPolicy):
        def authenticated_userid(self, request):
            users.append(request.path)
            return 'mary'

    ids = [f'job-{number}' for number in range(10)]
    template = '<body tal:define="_ request.progress.preload(ids)">' + BY_MACRO.partition('<body>')[2].removesuffix(
        '</html>'
    )
    app, show = serve(
        template, *ids, configure=lambda config: config.set_security_policy(Policy()), **{'cache.type': 'faulty'}
    )
    storage = get_runtime(app.app.registry).store().storage
    for number, progress_id in enumerate(ids[:8]):
        init_progress_status(progress_id, 'mary', 'Import', length=10, current=number)
    storage.reads.clear()
    bars = show().select('pyramid-progress')
    assert [text(bar, 'amount') for bar in bars] == [f'{10 * number}%' for number in range(8)] + ['', '']
    assert storage.reads == {'get_many_serialized': 1}
    assert users == ['/page']


def test_the_place_of_a_form_s_bar(serve):
    _, show = serve(
        '<html><body><form><tal:block metal:use-macro="request.progress.macros[\'form\']"/></form>'
        '<form>${request.progress.form()}</form></body></html>'
    )
    by_macro, by_method = show().select('form > pyramid-progress')
    assert by_macro.attrs == by_method.attrs == {'class': ['pp-form'], 'hidden': 'hidden'}


def test_locales_without_a_catalogue_do_not_fill_the_memory(serve):
    app, _ = serve(BY_MACRO, 'a')
    with suppress(ZeroDivisionError), start_task('Import', progress_id='a'):
        1 / 0  # noqa: B018

    def visit(locale):
        for path in ('/page', '/progress_status', '/progress_tasks'):
            request = Request.blank(path, accept='text/html')
            # Not in the URL, because urllib.parse keeps the URLs that it has parsed.
            request.query_string = f'progress_id=a&_LOCALE_={locale}'
            assert request.get_response(app.app).status_int == 200
        return {name for name, _ in app.app.registry.getUtilitiesFor(ILocalizer)}

    assert visit('xx') == {'en'}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20):
            assert visit(f'{number:x<100000}') == {'en'}
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 500_000, 'the names alone have 2,000,000 characters'
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('content_type', ['text/plain; charset=nonsense', 'application/json; charset=\xff', '; ='])
def test_a_request_of_an_unknown_charset_is_answered(serve, content_type):
    app, _ = serve(BY_MACRO, 'a')
    with suppress(ZeroDivisionError), start_task('Import', progress_id='a'):
        1 / 0  # noqa: B018
    headers = {'Content-Type': content_type}
    sentence = 'An unexpected error ended this task.'
    assert text(app.get('/page', headers=headers).html, 'message') == sentence
    for accept in ('text/html', 'application/json'):
        app.get('/progress_tasks?status=failed', headers=headers | {'Accept': accept}, status=200)
    for query in ('progress_id=a', 'progress_id=a&_LOCALE_=de', 'progress_id=a&progress_id=b'):
        assert 'failed' in app.get(f'/progress_status?{query}', headers=headers, status='*').text
    for path in ('progress_cancel', 'progress_remove'):
        answer = app.post(f'/{path}', b'progress_id=a', headers=headers | {'Sec-Fetch-Site': 'same-origin'}, status='*')
        assert answer.status_int == 400


def test_a_query_that_cannot_be_read_does_not_break_the_page(serve):
    app, _ = serve(BY_MACRO, 'a')
    for query in ('x=%ff', '_LOCALE_=%00', '_LOCALE_=..%2F..', '_LOCALE_=no-such'):
        assert 'Waiting to start' in app.get(f'/page?{query}').text
    for query in ('_LOCALE_=%00', '_LOCALE_=no-such'):
        assert app.get(f'/progress_tasks?{query}', headers={'Accept': 'text/html'}).html.h1.text == 'Tasks'
