"""The element in a real browser, under a strict content security policy, against a server that tells what we like."""

import json
import time
from datetime import datetime, timedelta, timezone

import pytest
from bs4 import BeautifulSoup
from pyramid.config import Configurator
from pyramid.scripting import prepare

from pyramid_progress import init_progress_status, start_task
from pyramid_progress.runtime import current_store

from .pages import Answer, bar, expect, serving

RUNNING = {'status': 'running', 'label': 'Import', 'message': 'Row 4', 'current': 42, 'length': 100}
FINISHED = RUNNING | {'status': 'finished', 'current': 100}
LOST = 'Lost: the server no longer knows this task'
NOTHING = 'Nothing is known of this task'
TROUBLE = 'Connection trouble, trying again'
SIGNED_OUT = 'Signed out: sign in, then reload this page'
HOSTILE = '<img src=x onerror=alert(1)>'

#: Keeps what is fired, from before the first element is there.
RECORD = """
    window.fired = [];
    for (const name of ['update', 'finished', 'failed', 'cancelled', 'error'])
        addEventListener(`progress:${name}`, ({ type, target, detail }) =>
            fired.push([type.slice(9), target.progressId, detail.status]));
"""


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def show(server, page):
    """Return a function that opens the page with some elements; afterwards nothing may have gone wrong in it."""
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
    page.add_init_script(RECORD)

    def show(*elements, **statuses):
        server.body = ''.join(elements)
        server.statuses = statuses
        page.goto(server.url)
        return page

    yield show
    # The browser itself reports answers with an error status.
    assert [error for error in errors if not error.startswith('Failed to load resource')] == []
    assert server.reports == []


def wait_for_polls(page, server, count):
    """Wait for some more requests for statuses."""
    enough = len(server.polls) + count
    while len(server.polls) < enough:
        page.wait_for_timeout(50)


def expect_quiet(page, server):
    """Nothing is asked in the time of three polls."""
    polls = len(server.polls)
    page.wait_for_timeout(700)
    assert len(server.polls) == polls


# What it shows

STATES = {
    'a': ({'status': 'pending', 'length': 10}, 'waiting', 'Waiting to start', '0%', 0),
    'b': ({'status': 'unknown'}, 'waiting', 'Waiting to start', '', 0),
    'c': ({'status': 'running', 'current': 42, 'length': 100}, 'running', 'Running', '42%', 42),
    'd': ({'status': 'running', 'current': 9999, 'length': 10000}, 'running', 'Running', '99%', 99.9),
    'e': ({'status': 'running', 'current': 1234}, 'indeterminate', 'Running, length unknown', '1,234', None),
    'f': ({'status': 'running'}, 'indeterminate', 'Running, length unknown', '', None),
    'g': ({'status': 'running', 'current': 'x', 'length': 9}, 'indeterminate', 'Running, length unknown', '', None),
    'h': ({'status': 'running', 'current': 12, 'length': 9}, 'running', 'Running', '100%', 100),
    'i': ({'status': 'running', 'current': -2, 'length': 9}, 'running', 'Running', '0%', 0),
    'j': ({'status': 'running', 'current': None, 'length': 0}, 'running', 'Running', '100%', 100),
    'k': ({'status': 'packing', 'current': 1, 'length': 2}, 'running', 'packing', '50%', 50),
    'l': ({'status': 'stalled', 'current': 1, 'length': 2}, 'stalled', 'Stalled: no longer responding', '50%', 50),
    'm': ({'status': 'cancelling', 'current': 1, 'length': 2}, 'cancelling', 'Cancelling', '50%', 50),
    'n': ({'status': 'cancelling'}, 'cancelling', 'Cancelling', '', 0),
    'o': ({'status': 'finished', 'current': 1, 'length': 2}, 'finished', 'Finished', '100%', 100),
    'p': ({'status': 'failed', 'current': 1, 'length': 2}, 'failed', 'Failed', '50%', 50),
    'q': ({'status': 'failed'}, 'failed', 'Failed', '', 0),
    'r': ({'status': 'cancelled'}, 'cancelled', 'Cancelled', '', 0),
    's': ({'status': 'cancelled', 'current': 1, 'length': 2}, 'cancelled', 'Cancelled', '', 50),
    't': ({'status': 'cancelled', 'current': 7}, 'cancelled', 'Cancelled', '', 0),
}


def test_every_state_has_its_words_and_its_bar(show, server):
    page = show(
        *map(bar, STATES), **{name: status | {'label': f'Task {name}'} for name, (status, *_) in STATES.items()}
    )
    for name, (_, state, word, amount, value) in STATES.items():
        expect(page, name, state=word, amount=amount)
        element = page.locator(f'[progress-id={name}]')
        assert element.get_attribute('state') == state
        native = element.get_by_role('progressbar')
        assert native.get_attribute('aria-label') == ('Progress' if name == 'b' else f'Task {name}')
        assert native.get_attribute('aria-valuetext') == ', '.join(filter(None, [amount, word]))
        assert native.evaluate('bar => bar.hasAttribute("value") ? bar.value : null') == value
    assert sorted(server.polls[0]) == sorted(STATES), 'one request asks for all'


def test_text_is_text(show):
    page = show(bar(HOSTILE), **{HOSTILE: RUNNING | {'label': HOSTILE, 'message': HOSTILE, 'status': HOSTILE}})
    expect(page, HOSTILE, label=HOSTILE, message=HOSTILE, state=HOSTILE)
    assert page.get_by_role('progressbar', name=HOSTILE).is_visible()
    assert page.locator('img').count() == 0


RESULTS = {
    'a': ({'url': '/files/1?a=b', 'text': 'The file'}, '/files/1?a=b', 'The file'),
    'b': ({'url': 'https://example.org/', 'text': HOSTILE}, 'https://example.org/', HOSTILE),
    'c': ({'url': 'report.html'}, 'report.html', 'Result'),
    'd': ({'url': 'javascript:alert(1)', 'text': 'Here'}, None, 'Here'),
    'e': ({'url': ' java\nscript:alert(1)'}, None, ''),
    'f': ({'url': 'data:text/html,x', 'text': 'Here'}, None, 'Here'),
    'g': ({'text': '40 rows'}, None, '40 rows'),
    'h': ('rubbish', None, ''),
}


def test_a_result_is_a_link_where_that_is_safe(show):
    page = show(*map(bar, RESULTS), **{name: FINISHED | {'result': result} for name, (result, *_) in RESULTS.items()})
    for name, (_, href, text) in RESULTS.items():
        expect(page, name, state='Finished', result=text)
        assert page.locator(f'[progress-id={name}] .pp-result').get_attribute('href') == href


@pytest.mark.parametrize(
    ('html', 'percent', 'count'),
    [
        ('lang="en"', '42%', '1,234'),
        ('lang="de"', '42\N{NO-BREAK SPACE}%', '1.234'),
        ('', '42%', '1,234'),
        ('lang="ar-EG" dir="rtl"', '٤٢٪\N{ARABIC LETTER MARK}', None),
        ('lang="en_US"', None, None),  # no language, and no error
    ],
)
def test_numbers_are_in_the_language_of_the_page(show, server, html, percent, count):
    server.html = html
    page = show(bar('a'), bar('b'), a=RUNNING, b={'status': 'running', 'current': 1234})
    expect(page, 'a', state='Running', **({'amount': percent} if percent else {}))
    expect(page, 'b', state='Running, length unknown', **({'amount': count} if count else {}))


class Moving(dict):
    """The status of a task that moves while one looks at it."""

    def __init__(self, *, rate, **status):
        super().__init__(status=RUNNING | status)
        self._rate = rate
        self._start = time.monotonic()

    def get(self, name, default=None):
        return self['status'] | {'current': int((time.monotonic() - self._start) * self._rate)}


def expect_pace(page, pattern):
    page.wait_for_function(
        "(pattern) => RegExp(pattern).test(document.querySelector('.pp-pace').textContent)", arg=f'^{pattern}$'
    )


@pytest.mark.parametrize(
    ('html', 'status', 'pattern'),
    [
        ('lang="en"', {'length': 40_000, 'rate': 1000}, r'About (40|35|30) seconds left, (1,\d00|9\d0) per second'),
        ('lang="en"', {'length': 300_000, 'rate': 1000}, r'About 5 minutes left, (1,\d00|9\d0) per second'),
        ('lang="en"', {'length': 36_000_000, 'rate': 1000}, r'About (9|10|11) hours left, (1,\d00|9\d0) per second'),
        ('lang="de"', {'length': 40_000, 'rate': 1000}, r'About (40|35|30) Sekunden left, (1\.\d00|9\d0) per second'),
        ('lang="en"', {'length': None, 'rate': 1000}, r'(1,\d00|9\d0) per second'),
    ],
)
def test_the_pace_of_a_steady_task(show, server, page, html, status, pattern):
    server.html = html
    show(bar('a'))
    server.statuses = Moving(**status)
    expect_pace(page, pattern)
    server.statuses = {'a': FINISHED}
    expect(page, 'a', state='Finished', pace='')


def test_a_task_that_does_not_move_has_no_pace(show, server, page):
    show(bar('a'))
    moving = Moving(length=40_000, rate=1000)
    server.statuses = moving
    expect_pace(page, 'About .*')
    server.statuses = {'a': moving.get('a')}
    expect(page, 'a', state='Running', pace='')


def test_a_screen_reader_hears_the_start_and_the_end(show, server, page):
    show(bar('a'), a=RUNNING)
    speech = page.locator('pyramid-progress').get_by_role('status')
    expect(page, 'a', live='Progress, Waiting to start')
    for current in (50, 60):
        server.statuses['a'] = RUNNING | {'current': current}
        expect(page, 'a', amount=f'{current}%')
    assert speech.inner_text() == 'Progress, Waiting to start', 'not at every step'
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')
    assert speech.inner_text() == 'Import, 100%, Finished, Row 4', 'the end does not wait'


# What the server rendered

PARTS = ('label', 'amount', 'state', 'count', 'elapsed', 'message', 'result')

LANGUAGES = [
    'en',
    *(pytest.param(name, marks=pytest.mark.slow) for name in ('ar', 'de', 'es', 'fr', 'it', 'ja', 'pt_BR')),
]

#: Of tasks that were started days ago: their elapsed time does not change during the test.
LONG = {'started': '2026-01-01T00:00:00.5+00:00'}
MORE = {
    'u': ({'status': 'running', 'current': 420, 'length': 1000} | LONG,),
    'v': ({'status': 'running', 'current': 12345.678} | LONG,),
    'w': ({'status': 'stalled', 'current': 999_999, 'length': 1_234_567} | LONG,),
    'x': ({'status': 'cancelling', 'current': 1, 'length': 30} | LONG,),
    'y': ({'status': 'failed', 'current': 420, 'length': 1000} | LONG,),
    'z': ({'status': 'finished', 'current': 1000, 'length': 1000} | LONG,),
}


@pytest.mark.parametrize('language', LANGUAGES)
def test_the_script_draws_what_the_server_drew(show, server, page, language):
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.include('pyramid_progress')
        config.set_locale_negotiator(lambda request: language)
    statuses = {name: status for name, (status, *_) in (STATES | MORE).items()}
    with prepare(registry=config.registry) as environment:
        for name, status in statuses.items():
            init_progress_status(name, None, f'Task {name}')
            # Not by the function, which refuses the words that are computed for readers.
            members = status | {'message': HOSTILE}
            current_store().storage.update(name, {member: json.dumps(value) for member, value in members.items()}, 60)
        with start_task('Census', progress_id='end') as task:
            task.finish(message='Done', result={'url': '/table'})
        elements = [environment['request'].progress.bar(name) for name in (*statuses, 'end')]
    bars = BeautifulSoup(''.join(elements), 'html.parser').select('pyramid-progress')
    server.language = language
    server.html = f'lang="{language.replace("_", "-")}"'
    show(*elements, **{bar['progress-id']: json.loads(bar['status']) for bar in bars})
    wait_for_polls(page, server, 2)
    drawn = page.evaluate(
        """(parts) => Array.from(document.querySelectorAll('pyramid-progress'), (bar) => [
            ...parts.map((part) => bar.querySelector(`.pp-${part}`).textContent),
            bar.querySelector('.pp-result').getAttribute('href'),
            bar.querySelector('progress').getAttribute('value'),
            bar.querySelector('progress').getAttribute('aria-label'),
            bar.querySelector('progress').getAttribute('aria-valuetext'),
        ])""",
        PARTS,
    )
    rendered = [
        [
            *(bar.select_one(f'.pp-{part}').text for part in PARTS),
            bar.select_one('.pp-result').get('href'),
            bar.progress.get('value'),
            bar.progress['aria-label'],
            bar.progress['aria-valuetext'],
        ]
        for bar in bars
    ]
    assert drawn == rendered
    shown = {
        bar['progress-id']: (bar.select_one('.pp-count').text != '', bar.select_one('.pp-elapsed').text) for bar in bars
    }
    assert all(shown[name][0] for name in 'uwxy')
    assert not shown['z'][0]
    assert shown['u'][1] == shown['v'][1] == shown['x'][1] != ''
    assert shown['w'][1] == shown['y'][1] == shown['z'][1] == ''


def ago(seconds):
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat()


def test_the_elapsed_time_goes_on_between_two_answers(show, page):
    status = RUNNING | {'started': ago(72), 'length': 1000}
    show(bar('a', poll_min=30_000, poll_max=30_000), a=status)
    page.wait_for_function("() => /^1 min 1[2-9] s$/.test(document.querySelector('.pp-elapsed').textContent)")
    first = page.locator('.pp-elapsed').inner_text()
    page.wait_for_function("(text) => document.querySelector('.pp-elapsed').textContent > text", arg=first)


def test_elapsed_times_change_in_one_task(show, page):
    """So that the browser computes one layout a second, and not one for each bar."""
    names = 'abcde'
    statuses = {name: RUNNING | {'started': ago(100.2 * place)} for place, name in enumerate(names, 1)}
    show(*(bar(name, poll_min=30_000, poll_max=30_000) for name in names), **statuses)
    page.wait_for_function("() => [...document.querySelectorAll('.pp-elapsed')].every((node) => node.textContent)")
    changes = page.evaluate("""() => new Promise((resolve) => {
        const changes = [];
        const observer = new MutationObserver((records) => {
            changes.push(new Set(records.map(({ target }) => target.parentNode)).size);
            if (changes.length === 4) resolve(changes);
        });
        for (const element of document.querySelectorAll('.pp-elapsed')) {
            observer.observe(element, { characterData: true, subtree: true });
        }
    })""")
    # An answer is drawn with the time at which it comes: some bars may be ahead of the first full second.
    assert changes[1:] == [len(names)] * 3, changes


def test_a_bar_that_is_removed_needs_no_clock(show, page):
    page.add_init_script("""
        window.timers = 0;
        window.realSetTimeout = setTimeout;
        window.setTimeout = (...options) => {
            timers += 1;
            return realSetTimeout(...options);
        };
    """)
    show(bar('a', poll_min=30_000, poll_max=30_000), a=RUNNING | {'started': ago(72)})
    page.wait_for_function("() => /\\d s$/.test(document.querySelector('.pp-elapsed').textContent)")
    before = page.evaluate('timers')
    page.wait_for_function('(before) => timers > before + 1', arg=before)
    page.evaluate("""() => {
        window.removed = document.querySelector('pyramid-progress');
        removed.remove();
        window.text = removed.querySelector('.pp-elapsed').textContent;
    }""")
    page.wait_for_timeout(1200)
    before = page.evaluate('timers')
    page.wait_for_timeout(3200)
    assert page.evaluate("text === removed.querySelector('.pp-elapsed').textContent")
    assert page.evaluate('timers') - before < 3, 'a clock has one each second'


def test_the_elapsed_time_is_that_of_the_servers_clock(show, page):
    page.add_init_script('const { now } = Date; Date.now = () => now() + 3_600_000;')
    show(bar('a'), a=RUNNING | {'started': ago(60)})
    page.wait_for_function("() => /^1 min \\d s$/.test(document.querySelector('.pp-elapsed').textContent)")


def test_amount_and_elapsed_time_are_switched_off(show, page):
    status = RUNNING | {'started': ago(300_000), 'current': 420, 'length': 1000}
    show(bar('a', no_count=''), bar('b', no_elapsed=''), a=status, b=status)
    expect(page, 'a', count='', elapsed='3 d 11 h')
    expect(page, 'b', count='420 of 1,000', elapsed='')
    page.evaluate("""() => {
        const [a, b] = document.querySelectorAll('pyramid-progress');
        a.noCount = false;
        b.setAttribute('no-count', '');
    }""")
    expect(page, 'a', count='420 of 1,000')
    expect(page, 'b', count='')


def test_markup_that_is_written_anew_shows_the_last_status(show, server, page):
    show('<main>', bar('a'), '</main>', a=RUNNING)
    expect(page, 'a', amount='42%')
    assert page.evaluate("""() => {
        const main = document.querySelector('main');
        const copy = document.createElement('pyramid-progress');
        copy.progressId = 'a';
        main.replaceChildren(copy);
        return [copy.state, copy.querySelector('.pp-amount').textContent, copy.querySelector('progress').value];
    }""") == ['running', '42%', 42]
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')


def test_what_the_server_rendered_is_shown_before_any_answer(show, server, page):
    server.answer = Answer({}, code=500)
    show(bar('a', status='{"status": "running", "label": "Old", "current": 1, "length": 4}'))
    expect(page, 'a', label='Old', amount='25%')
    expect(page, 'a', label='Old', amount='25%', state=TROUBLE)


def test_an_end_that_the_server_rendered_is_the_end(show, server, page):
    show(bar('a', status='{"status": "finished", "label": "Old"}'))
    expect(page, 'a', label='Old', state='Finished', live='')
    expect_quiet(page, server)
    assert server.polls == []
    assert page.evaluate('fired') == []


# What happens to it


def test_from_start_to_end(show, server, page):
    show(bar('a'))
    expect(page, 'a', state='Waiting to start')
    server.statuses['a'] = RUNNING
    expect(page, 'a', state='Running', amount='42%', label='Import', message='Row 4')
    server.statuses['a'] = FINISHED | {'message': None}
    expect(page, 'a', state='Finished', amount='100%', message='')
    assert page.evaluate('fired') == [
        ['update', 'a', 'running'],
        ['update', 'a', 'finished'],
        ['finished', 'a', 'finished'],
    ]
    # The server has told the end, and forgets it; the page does not.
    server.statuses.clear()
    expect_quiet(page, server)
    expect(page, 'a', state='Finished')


@pytest.mark.chromium('its protocol reports animations')
@pytest.mark.parametrize(
    ('motion', 'others', 'durations'),
    [
        ('no-preference', 9, {300}),
        ('no-preference', 10, set()),
        ('reduce', 0, set()),
    ],
)
def test_a_changed_value_glides(show, server, page, motion, others, durations):
    """In a page with few bars."""
    page.emulate_media(reduced_motion=motion)
    show(bar('a'), *(bar(f'other-{number}') for number in range(others)), a=RUNNING)
    expect(page, 'a', amount='42%')
    started = []
    client = page.context.new_cdp_session(page)
    client.on('Animation.animationStarted', lambda event: started.append(event['animation']))
    client.send('Animation.enable')
    server.statuses['a'] = RUNNING | {'current': 80}
    expect(page, 'a', amount='80%')
    page.wait_for_timeout(500)
    assert {animation['source']['duration'] for animation in started} == durations


#: Whether the layout of an element is computed.
IS_DRAWN = '(element) => element.checkVisibility({ contentVisibilityAuto: true })'


def test_of_many_bars_those_far_outside_the_window_are_not_drawn(show, page):
    show(*(bar(str(number)) for number in range(60)), **{'0': RUNNING})
    expect(page, '0', amount='42%')
    first, last = page.locator('[progress-id="0"] progress'), page.locator('[progress-id="59"] progress')
    assert first.evaluate(IS_DRAWN)
    assert not last.evaluate(IS_DRAWN)
    assert page.get_by_role('progressbar').count() == 60, 'for assistive technology, all bars are there'
    last.evaluate('(element) => element.scrollIntoView()')
    page.wait_for_timeout(200)
    assert last.evaluate(IS_DRAWN)
    assert not first.evaluate(IS_DRAWN)


@pytest.mark.parametrize(
    ('count', 'around', 'style', 'expected'),
    [
        (10, '', '', 'visible'),
        (11, '', '', 'auto'),
        (11, '', 'pyramid-progress { content-visibility: visible }', 'visible'),
        (11, '<tr><td>', '', 'visible'),  # the widths of a table's columns depend on all bars
    ],
)
def test_which_bars_may_be_left_out(show, page, count, around, style, expected):
    after = '</td></tr>' if around else ''
    bars = [f'{around}{bar(str(number))}{after}' for number in range(count)]
    show(*(['<table>', *bars, '</table>'] if around else bars), **{'0': RUNNING})
    expect(page, '0', amount='42%')
    page.evaluate(
        """(style) => {
            document.adoptedStyleSheets.push(new CSSStyleSheet());
            document.adoptedStyleSheets[0].replaceSync(style);
        }""",
        style,
    )
    assert (
        page.locator('pyramid-progress').evaluate_all(
            '(bars) => bars.map((bar) => getComputedStyle(bar).contentVisibility)'
        )
        == [expected] * count
    )


#: What is seen of the word and the message of a bar.
LOOK = """(bar) => {
    const style = (part, pseudo) => getComputedStyle(bar.querySelector(part), pseudo);
    const [word, message, icon] = [style('.pp-state'), style('.pp-message'), style('.pp-state', '::before')];
    const isPlain = (colour) => colour === getComputedStyle(bar).color;
    return [isPlain(word.color), word.fontWeight, isPlain(message.color), icon.content !== 'none' && icon.clipPath];
}"""


def test_an_end_has_a_colour_a_weight_and_an_icon(show, page):
    ends = ('finished', 'failed', 'cancelled', 'stalled')
    show(*map(bar, (*ends, 'running')), **{name: RUNNING | {'status': name} for name in (*ends, 'running')})
    expect(page, 'running', state='Running')
    looks = {name: page.locator(f'[progress-id={name}]').evaluate(LOOK) for name in (*ends, 'running')}
    assert looks.pop('running') == [True, '400', False, False]
    assert {name: look[:3] for name, look in looks.items()} == {
        'finished': [False, '600', False],
        'failed': [False, '600', True],
        'cancelled': [False, '600', False],
        'stalled': [False, '600', False],
    }
    icons = {look[3] for look in looks.values()}
    assert len(icons) == len(ends)
    assert not icons & {False, 'none'}


@pytest.mark.parametrize(('end', 'amount'), [('failed', '42%'), ('cancelled', '')])
def test_other_ends_have_their_events(show, server, page, end, amount):
    show(bar('a'), a=RUNNING | {'status': end, 'message': 'Line 7 is empty'})
    expect(page, 'a', state=end.capitalize(), message='Line 7 is empty', amount=amount)
    assert page.evaluate('fired') == [['update', 'a', end], [end, 'a', end]]
    expect_quiet(page, server)


def test_bars_do_not_disturb_each_other(show, server, page):
    show(*map(bar, 'abcd'), a=RUNNING, b=RUNNING | {'label': 'Export', 'current': 7}, c={'status': 'failed'})
    expect(page, 'a', label='Import', amount='42%')
    expect(page, 'b', label='Export', amount='7%')
    expect(page, 'c', label='', state='Failed')
    expect(page, 'd', state='Waiting to start')
    server.statuses['a'] = FINISHED
    server.statuses['b'] = {'status': 'cancelled'}
    expect(page, 'a', state='Finished')
    expect(page, 'b', state='Cancelled', label='')
    wait_for_polls(page, server, 2)
    assert server.polls[-1] == ['d']


def test_nothing_is_known(show, server, page):
    show(bar('a', patience=600))
    expect(page, 'a', state='Waiting to start')
    expect(page, 'a', state=NOTHING)
    assert page.evaluate('fired') == [['update', 'a', 'unknown'], ['error', 'a', 'unknown']]
    expect_quiet(page, server)


def test_lost(show, server, page):
    show(bar('a'), a=RUNNING)
    expect(page, 'a', state='Running')
    server.statuses.clear()
    expect(page, 'a', state=LOST, amount='42%')
    assert page.evaluate('fired.slice(1)') == [['update', 'a', 'running'], ['error', 'a', 'running']]
    expect_quiet(page, server)


def test_a_server_that_goes_away_and_comes_back(show, server, page):
    show(bar('a'), a=RUNNING)
    expect(page, 'a', state='Running')
    server.stop()
    expect(page, 'a', state=TROUBLE, amount='42%', label='Import')
    server.statuses['a'] = RUNNING | {'current': 60}
    server.start()
    expect(page, 'a', state='Running', amount='60%')
    assert [name for name, *_ in page.evaluate('fired')] == ['update', 'update', 'error', 'update']


@pytest.mark.parametrize(
    ('answer', 'word', 'goes_on'),
    [
        (Answer({'message': 'Who are you?'}, code=401), SIGNED_OUT, False),
        (Answer(code=302, Location='/login'), SIGNED_OUT, False),
        (Answer(code=303, Location='http://127.0.0.2:9/login'), SIGNED_OUT, False),
        (Answer({'message': 'No'}, code=403), 'You are not allowed to see this task', False),
        (Answer({'message': 'No such id'}, code=400), NOTHING, False),
        (Answer('<!DOCTYPE html><title>Sorry</title>', Content_Type='text/html'), TROUBLE, True),
        (Answer('Sorry', code=503, Retry_After='1'), TROUBLE, True),
    ],
)
def test_answers_that_are_no_status(show, server, page, answer, word, goes_on):
    show(bar('a'), a=RUNNING)
    expect(page, 'a', state='Running')
    server.answer = answer
    expect(page, 'a', state=word, amount='42%', label='Import')
    server.answer = None
    if goes_on:
        expect(page, 'a', state='Running')
    else:
        expect_quiet(page, server)


CANCEL = (
    '<pyramid-progress progress-id="a" poll-min="200" poll-max="200"><progress max="100"></progress>'
    '<span class="pp-state"></span><button type="button" class="pp-cancel" data-action="/progress_cancel"'
    ' data-csrf-name="key" data-csrf-token="secret">Cancel</button></pyramid-progress>'
)
CAN_BE = RUNNING | {'cancellable': True}


def test_the_button_asks_the_task_to_stop(show, server, page):
    server.cancel = Answer(RUNNING | {'status': 'cancelling'})
    # No poll follows soon, so that only the answer to the button is shown.
    show(CANCEL.replace('poll-min="200" poll-max="200"', 'poll-min="30000" poll-max="30000"'), a=CAN_BE)
    expect(page, 'a', state='Running')
    page.get_by_role('button', name='Cancel').click()
    expect(page, 'a', state='Cancelling')
    assert server.posts == [{'progress_id': ['a'], 'key': ['secret']}]
    assert not page.get_by_role('button', name='Cancel').is_visible()


#: The element that has the focus.
FOCUSED = 'document.activeElement.localName'


def test_the_focus_stays_in_the_bar_when_its_button_is_hidden(show, server, page):
    server.cancel = Answer(RUNNING | {'status': 'cancelling'})
    show(CANCEL, a=CAN_BE)
    expect(page, 'a', state='Running')
    page.get_by_role('button', name='Cancel').focus()
    server.statuses['a'] = RUNNING | {'status': 'cancelling'}
    page.keyboard.press('Enter')
    expect(page, 'a', state='Cancelling')
    assert page.evaluate(FOCUSED) == 'progress'


def test_a_button_without_the_focus_leaves_it_where_it_is(show, server, page):
    show('<input>', CANCEL, a=CAN_BE)
    expect(page, 'a', state='Running')
    page.locator('input').focus()
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')
    assert page.evaluate(FOCUSED) == 'input'


def test_the_button_cancels_the_task_that_the_bar_shows(show, server, page, wait_until):
    server.cancel = Answer(RUNNING | {'status': 'cancelling'})
    show(CANCEL, a=CAN_BE, b=CAN_BE)
    expect(page, 'a', state='Running')
    page.evaluate("document.querySelector('pyramid-progress').progressId = 'b'")
    expect(page, 'b', state='Running')
    page.get_by_role('button', name='Cancel').click()
    wait_until(lambda: server.posts, 30, 'the button sent nothing')
    assert [post['progress_id'] for post in server.posts] == [['b']]


@pytest.mark.parametrize(
    ('answer', 'path'),
    [
        (Answer('<title>No</title>', code=403, Content_Type='text/html'), '/progress_cancel'),
        (Answer(code=303, Location='/'), '/'),
        # Such as the page of a proxy to sign in.
        (Answer('<title>Sign in</title>', Content_Type='text/html'), '/progress_cancel'),
    ],
)
def test_the_page_that_says_why_a_button_does_nothing(show, server, page, answer, path):
    server.cancel = answer
    show(CANCEL, a=CAN_BE)
    expect(page, 'a', state='Running')
    page.evaluate('window.isSame = true')
    page.get_by_role('button', name='Cancel').click()
    page.wait_for_function('() => !window.isSame')
    assert page.url == server.url.rstrip('/') + path


def test_a_button_that_comes_too_late_leaves_the_page_as_it_is(show, server, page):
    server.cancel = Answer({'message': 'This task cannot be cancelled.'}, code=409)
    show(CANCEL, a=CAN_BE)
    expect(page, 'a', state='Running')
    page.evaluate('window.isSame = true')
    page.get_by_role('button', name='Cancel').click()
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')
    assert page.evaluate('window.isSame')


@pytest.mark.parametrize('answer', [Answer('<title>No</title>', code=403, Content_Type='text/html'), Answer('<html>')])
def test_no_form_is_sent_without_the_token_that_only_a_header_can_have(show, server, page, wait_until, answer):
    server.cancel = answer
    show(CANCEL.replace('data-csrf-name', 'data-csrf-header'), a=CAN_BE)
    expect(page, 'a', state='Running')
    page.evaluate('window.isSame = true')
    page.get_by_role('button', name='Cancel').click()
    wait_until(lambda: server.posts, 30, 'the button sent nothing')
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')
    assert page.evaluate('window.isSame')
    assert server.posts == [{'progress_id': ['a']}]


def test_every_tab_sees_the_end(show, server, page):
    """Even one that was not looking while the server told it."""
    show(bar('a', poll_min=30_000, poll_max=30_000), a=RUNNING)
    expect(page, 'a', state='Running')
    other = page.context.new_page()
    server.statuses['a'] = FINISHED
    other.goto(server.url)
    for tab in (other, page):
        expect(tab, 'a', state='Finished')
    assert len(server.polls) == 2


# What a page does with it


def test_elements_are_moved(show, server, page):
    show('<div id="here">', bar('a'), '</div><div id="there"></div>', a=RUNNING)
    expect(page, 'a', amount='42%')
    page.evaluate("""() => {
        const bar = document.querySelector('pyramid-progress');
        for (const place of ['there', 'here', 'there']) document.getElementById(place).append(bar);
    }""")
    expect(page, 'a', amount='42%', label='Import', message='Row 4')
    server.statuses['a'] = FINISHED
    expect(page, 'a', state='Finished')
    page.evaluate("document.getElementById('here').append(document.querySelector('pyramid-progress'))")
    expect(page, 'a', state='Finished')
    expect_quiet(page, server)


def test_elements_come_and_go(show, server, page):
    show(bar('a'), a=RUNNING, b=RUNNING | {'label': 'Export'})
    expect(page, 'a', label='Import')
    page.evaluate("""() => {
        const bar = document.createElement('pyramid-progress');
        bar.progressId = 'b';
        document.body.append(bar);
    }""")
    expect(page, 'b', label='Export')
    page.evaluate("window.gone = document.querySelector('[progress-id=a]'), gone.remove()")
    wait_for_polls(page, server, 2)
    assert server.polls[-1] == ['b']
    page.evaluate("document.querySelector('[progress-id=b]').remove()")
    expect_quiet(page, server)
    server.statuses['a'] = FINISHED
    page.evaluate('document.body.append(gone)')
    expect(page, 'a', state='Finished')


@pytest.mark.chromium('its protocol collects garbage')
def test_elements_that_are_gone_leave_nothing_behind(show, server, page):
    show(a=RUNNING)
    page.evaluate("""async () => {
        const bars = Array.from({ length: 20 }, () => {
            const bar = document.createElement('pyramid-progress');
            bar.progressId = 'a';
            document.body.append(bar);
            return bar;
        });
        await new Promise((resolve) => addEventListener('progress:update', resolve, { once: true }));
        fired.length = 0;
        window.weak = bars.map((bar) => new WeakRef(bar));
        for (const bar of bars) bar.remove();
    }""")
    expect_quiet(page, server)
    page.context.new_cdp_session(page).send('HeapProfiler.collectGarbage')
    assert page.evaluate('weak.filter((ref) => ref.deref()).length') == 0


def test_another_task_in_the_same_element(show, server, page):
    show(bar('a', status='{"status": "finished", "label": "Old"}'), b=RUNNING)
    expect(page, 'a', state='Finished')
    page.evaluate("document.querySelector('pyramid-progress').progressId = 'b'")
    expect(page, 'b', state='Running', label='Import')


def test_attributes_are_properties(show, page):
    show(bar('a'), a=RUNNING)
    expect(page, 'a', state='Running')
    assert page.evaluate("""() => {
        const bar = document.querySelector('pyramid-progress');
        return [bar.progressId, bar.src, bar.pollMin, bar.pollMax, bar.patience, bar.state, bar.status.label];
    }""") == ['a', '/progress_status', 200, 200, 30_000, 'running', 'Import']
    assert page.evaluate("""() => {
        const bar = document.createElement('pyramid-progress');
        Object.assign(bar, { progressId: 'x', src: '/a', pollMin: 1000, pollMax: 2000, patience: 3000 });
        return bar.outerHTML;
    }""") == (
        '<pyramid-progress progress-id="x" src="/a" poll-min="1000" poll-max="2000" patience="3000"></pyramid-progress>'
    )


@pytest.mark.every_engine
@pytest.mark.slow
def test_a_bar_in_a_shadow_root_has_the_style_that_is_linked_there(show, server, page):
    show('<div id="host"></div>', a=RUNNING)
    page.evaluate("""() => {
        const root = document.querySelector('#host').attachShadow({ mode: 'open' });
        const link = document.createElement('link');
        Object.assign(link, { rel: 'stylesheet', href: '/static/progress.css' });
        const bar = document.createElement('pyramid-progress');
        Object.assign(bar, { progressId: 'a', pollMin: 200 });
        root.append(link, bar);
    }""")
    bar = page.locator('#host').locator('pyramid-progress')
    bar.locator('.pp-amount', has_text='42%').wait_for()
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('#host').shadowRoot.querySelector('.pp-live')).width === '1px'"
    )
    assert bar.locator('progress').bounding_box()['width'] > 400
    server.statuses['a'] = FINISHED
    bar.locator('.pp-state', has_text='Finished').wait_for()


def test_no_attribute_makes_an_element_poll_all_the_time(show, page):
    show(bar('a', poll_min=0.5, poll_max=1))
    assert page.evaluate("document.querySelector('pyramid-progress').pollMin") == 100
    assert page.evaluate("document.querySelector('pyramid-progress').pollMax") == 100


def test_a_page_may_draw_its_own_picture(show, page):
    show(a=RUNNING)
    assert page.evaluate("""async () => {
        const { poll } = await import('/static/poller.js');
        return new Promise((resolve) => {
            const stop = poll('/progress_status', 'a', (status, state) => (stop(), resolve([status.label, state])));
        });
    }""") == ['Import', 'running']
