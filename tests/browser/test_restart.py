"""What the element does after an end: it follows a new run, copies show the end, and the page reacts once."""

import json
import time

import pytest

from .pages import bar, serving

slow = pytest.mark.slow

#: The same task in its first and its second run.
FIRST = {'status': 'running', 'label': 'First', 'current': 42, 'length': 100, 'started': '2026-01-01T00:00:00.1+00:00'}
FIRST_END = FIRST | {'status': 'finished', 'current': 100}
SECOND = FIRST | {'label': 'Second', 'current': 7, 'started': '2026-01-01T00:00:00.2+00:00'}
SECOND_END = SECOND | {'status': 'finished', 'current': 100}


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def show(server, page):
    """Return a function that opens the page with some elements; afterwards the page must have reported no error."""
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))

    def show(*elements, **statuses):
        server.body = ''.join(elements)
        server.statuses = statuses
        page.goto(server.url)
        return page

    yield show
    assert errors == []
    assert server.reports == []


def wait_for_state(page, state, label=''):
    page.wait_for_function(
        """([state, label]) => {
            const bar = document.querySelector('pyramid-progress');
            return bar?.getAttribute('state') === state && bar.querySelector('.pp-label').textContent === label;
        }""",
        arg=[state, label],
    )


def wait_for_polls(page, server, count):
    enough = len(server.polls) + count
    deadline = time.monotonic() + 15
    while len(server.polls) < enough:
        assert time.monotonic() < deadline, 'the element does not poll'
        page.wait_for_timeout(50)


def expect_no_polls(page, server):
    """The element polls five times a second: after a possible last request there are none."""
    page.wait_for_timeout(300)
    polls = len(server.polls)
    page.wait_for_timeout(900)
    assert len(server.polls) == polls


RESTARTS = {
    'method': "document.querySelector('pyramid-progress').restart()",
    'property': "document.querySelector('pyramid-progress').progressId = 'a'",
    'attribute': "document.querySelector('pyramid-progress').setAttribute('progress-id', 'a')",
}


@pytest.mark.parametrize(
    ('is_rendered', 'way'),
    [
        (True, 'method'),
        (False, 'attribute'),
        pytest.param(False, 'method', marks=slow),
        pytest.param(True, 'attribute', marks=slow),
        pytest.param(False, 'property', marks=slow),
        pytest.param(True, 'property', marks=slow),
    ],
)
def test_a_restarted_element_ignores_the_end_that_was_shown(show, server, way, is_rendered):
    attributes = {'status': json.dumps(FIRST_END)} if is_rendered else {}
    page = show(bar('a', **attributes), a=FIRST_END)
    wait_for_state(page, 'finished', 'First')
    page.evaluate(RESTARTS[way])
    wait_for_state(page, 'waiting')
    assert page.locator('pyramid-progress').get_attribute('status') is None
    wait_for_polls(page, server, 3)
    wait_for_state(page, 'waiting')
    page.evaluate("document.querySelector('pyramid-progress').restart()")  # a second restart ignores it, too
    wait_for_polls(page, server, 3)
    wait_for_state(page, 'waiting')
    server.statuses['a'] = SECOND
    wait_for_state(page, 'running', 'Second')
    server.statuses['a'] = SECOND_END
    wait_for_state(page, 'finished', 'Second')


@pytest.mark.parametrize('way', [pytest.param('property', marks=slow), 'attribute'])
def test_the_same_id_does_not_restart_a_task_that_runs(show, server, way):
    page = show(bar('a'), a=FIRST)
    wait_for_state(page, 'running', 'First')
    # In one step, because the next answer would hide a restart.
    assert page.evaluate(f"{RESTARTS[way]}, document.querySelector('pyramid-progress').state") == 'running'
    server.statuses['a'] = FIRST_END
    wait_for_state(page, 'finished', 'First')


def test_an_element_is_restarted_outside_the_page(show, server):
    page = show(bar('a'), a=FIRST_END)
    wait_for_state(page, 'finished', 'First')
    page.evaluate("""() => {
        const bar = document.querySelector('pyramid-progress');
        bar.remove();
        bar.restart();
        document.body.append(bar);
    }""")
    wait_for_polls(page, server, 3)
    wait_for_state(page, 'waiting')


@pytest.mark.parametrize(
    'end', [FIRST_END, pytest.param(FIRST | {'status': 'failed', 'message': 'Line 7 is empty'}, marks=slow)]
)
def test_a_copy_of_an_ended_element_shows_the_end_without_a_request(show, server, end):
    page = show(bar('a'), a=FIRST)
    wait_for_state(page, 'running', 'First')
    server.statuses['a'] = end
    wait_for_state(page, end['status'], 'First')
    server.statuses.clear()
    polls = len(server.polls)
    html = page.evaluate("""() => {
        const bar = document.querySelector('pyramid-progress');
        bar.replaceWith(bar.cloneNode(true));
        return document.querySelector('pyramid-progress').outerHTML;
    }""")
    wait_for_state(page, end['status'], 'First')
    expect_no_polls(page, server)
    show(html)
    wait_for_state(page, end['status'], 'First')
    expect_no_polls(page, server)
    assert len(server.polls) == polls


def test_a_status_that_another_script_writes_is_shown(show, server):
    page = show(bar('a', status=json.dumps(FIRST_END)), a=SECOND)
    wait_for_state(page, 'finished', 'First')
    page.evaluate(
        "(text) => document.querySelector('pyramid-progress').setAttribute('status', text)", json.dumps(SECOND)
    )
    wait_for_state(page, 'running', 'Second')
    server.statuses['a'] = SECOND_END
    wait_for_state(page, 'finished', 'Second')


def test_htmx_settles_the_attributes_of_an_ended_element(show, server):
    """It writes each attribute of new content a second time."""
    page = show(bar('a', status=json.dumps(FIRST_END)), a=FIRST_END)
    wait_for_state(page, 'finished', 'First')
    page.evaluate("""() => {
        const bar = document.querySelector('pyramid-progress');
        for (const { name, value } of Array.from(bar.attributes)) bar.setAttribute(name, value);
    }""")
    wait_for_state(page, 'finished', 'First')
    assert server.polls == []


# The attribute when-finished


@pytest.mark.parametrize('attributes', [{}, pytest.param({'status': json.dumps(FIRST)}, marks=slow)])
def test_the_page_is_reloaded_once(show, server, wait_until, attributes):
    """Even if the server, like this one, never renders the end."""
    page = show(bar('a', when_finished='reload', **attributes), a=FIRST)
    wait_for_state(page, 'running', 'First')
    wait_for_polls(page, server, 1)
    assert server.loads == ['/']
    server.statuses['a'] = FIRST_END
    wait_until(lambda: len(server.loads) == 2, complaint='the page is not reloaded')
    wait_for_state(page, 'finished', 'First')
    page.wait_for_timeout(1000)
    assert server.loads == ['/', '/']
    server.statuses['a'] = SECOND_END
    page.evaluate("document.querySelector('pyramid-progress').restart()")
    page.wait_for_timeout(2000)
    wait_for_state(page, 'finished', 'Second')
    assert server.loads == ['/', '/', '/'], 'once for each run'


def test_a_task_that_ends_before_the_first_poll_reloads_the_page_once(show, server):
    page = show(bar('a', when_finished='reload'), a=FIRST_END)
    page.wait_for_timeout(2000)
    wait_for_state(page, 'finished', 'First')
    assert server.loads == ['/', '/']


def test_a_page_follows_the_link_of_the_result_once(show, server):
    page = show(bar('a', when_finished='result'), a=FIRST)
    wait_for_state(page, 'running', 'First')
    server.statuses['a'] = FIRST_END | {'result': {'url': '/table?year=1'}}
    page.wait_for_url(f'{server.url}table?year=1')
    page.goto(server.url)
    wait_for_state(page, 'finished', 'First')
    page.wait_for_timeout(700)
    assert server.loads == ['/', '/table', '/']


@pytest.mark.parametrize(
    ('action', 'end'),
    [
        pytest.param('result', FIRST_END, marks=slow),
        ('result', FIRST_END | {'result': {'url': 'javascript:document.write(1)'}}),
        pytest.param('other', FIRST_END | {'result': {'url': '/table'}}, marks=slow),
        pytest.param('reload', FIRST | {'status': 'failed'}, marks=slow),
        ('result', FIRST | {'status': 'cancelled', 'result': {'url': '/table'}}),
    ],
)
def test_a_page_stays_if_there_is_nothing_to_do(show, server, action, end):
    page = show(bar('a', when_finished=action), a=FIRST)
    wait_for_state(page, 'running', 'First')
    server.statuses['a'] = end
    wait_for_state(page, end['status'], 'First')
    page.wait_for_timeout(700)
    assert server.loads == ['/']


@pytest.mark.parametrize('action', ['reload', pytest.param('result', marks=slow)])
def test_a_page_does_not_react_to_an_end_that_the_server_rendered(show, server, action):
    end = FIRST_END | {'result': {'url': '/table'}}
    page = show(bar('a', when_finished=action, status=json.dumps(end)), a=end)
    wait_for_state(page, 'finished', 'First')
    page.wait_for_timeout(700)
    assert server.loads == ['/']


# Frames and forms


def test_an_element_in_a_frame_that_is_removed_stops_polling(show, server):
    page = show(bar('a'), '<iframe></iframe>', a=FIRST)
    wait_for_state(page, 'running', 'First')
    page.evaluate("""() => {
        window.bar = document.querySelector('pyramid-progress');
        document.querySelector('iframe').contentDocument.body.append(bar);
    }""")
    wait_for_polls(page, server, 2)
    page.evaluate("document.querySelector('iframe').remove()")
    expect_no_polls(page, server)
    server.statuses['a'] = SECOND
    page.evaluate('document.body.append(bar)')
    wait_for_state(page, 'running', 'Second')


def test_the_bar_of_a_form_polls_250_ms_after_the_submit(show):
    page = show(a=FIRST)
    delays = page.evaluate("""async () => {
        await customElements.whenDefined('pyramid-progress');
        const { fetch } = window;
        const firstPoll = (className) => new Promise((resolve) => {
            const bar = document.createElement('pyramid-progress');
            bar.className = className;
            bar.src = `/progress_status?of=${className}`; // a poller for each
            document.body.append(bar);
            const start = performance.now();
            window.fetch = (...args) => (resolve(performance.now() - start), bar.remove(), fetch(...args));
            bar.progressId = 'a';
        });
        return [await firstPoll('pp-form'), await firstPoll('')];
    }""")
    assert 250 <= delays[0] < 1000
    assert delays[1] < 200
