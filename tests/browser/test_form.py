"""A form whose POST is the slow work, in a real application: a bar while the browser waits, and else a plain form."""

import time

import pytest
from pyramid.config import Configurator
from pyramid.response import Response

from pyramid_progress.work.publisher import INTERVAL

from .wsgi import serving, strictly

slow = pytest.mark.slow

PAGE = """<!DOCTYPE html><html lang="en"><head><title>Form</title>{assets}</head><body>
<p id="error">{error}</p>
<form action="/send" {attributes}>
<label>Name <input name="name" required value="{name}"></label> {inside}
<button name="button" value="save">Send</button> <button name="button" value="find" formmethod="get">Find</button>
</form></body></html>"""

#: Ways to say it: what a form has as attributes, and inside.
WRITTEN = ('method="post" data-progress', '')
BY_METHOD = ('method="post"', '{form}')


class Application:
    """What a test sets: ``form``, one of the ways above, how many ``steps`` the work has, and ``is_download``.

    What it reads: the ``posts``. Where there is a bar, the work takes a step each time that the bar has asked how far
    it is, so that it is seen on a busy machine as well.
    """

    def __init__(self):
        self.form = WRITTEN
        self.steps = 3
        self.is_download = False
        self.posts = []
        self.polls = 0
        with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
            config.include('pyramid_progress')
            config.add_route('form', '/')
            config.add_view(self.show, route_name='form')
            config.add_route('send', '/send')
            config.add_view(self.send, route_name='send')
            config.add_route('icon', '/favicon.ico')
            config.add_view(lambda request: Response(status=204), route_name='icon')
            config.registry['application'] = self
            config.add_tween('tests.browser.test_form.count_polls')
            self.wsgi = strictly(config.make_wsgi_app())

    def show(self, request, name='', error=''):
        attributes, inside = self.form
        parts = {'assets': request.progress.assets(), 'inside': inside.format(form=request.progress.form())}
        return Response(PAGE.format(attributes=attributes, name=name, error=error, **parts))

    def send(self, request):
        if request.method == 'GET':
            return Response(f'<p id="answer">Found by {request.query_string}</p>')
        self.posts.append(dict(request.POST))
        if request.POST['name'] == 'bad':
            return self.show(request, 'bad', 'This name is invalid.')
        with request.progress.start(f'Sending {request.POST["name"]}', length=self.steps) as task:
            for _ in task.track(range(self.steps)):
                time.sleep(2 * INTERVAL)  # until the position is published
                self.wait_for_polls(1 if 'progress_id' in request.POST else 0)
        if self.is_download:
            return Response('text', content_disposition='attachment; filename="file.txt"')
        return Response('<!DOCTYPE html><title>Answer</title><p id="answer">Sent.</p>')

    def wait_for_polls(self, count):
        enough = self.polls + count
        deadline = time.monotonic() + 10
        while self.polls < enough and time.monotonic() < deadline:
            time.sleep(0.02)


def count_polls(handler, registry):
    """Make a tween that counts the requests for a status."""

    def tween(request):
        response = handler(request)
        registry['application'].polls += request.path == '/progress_status'
        return response

    return tween


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def url(application):
    with serving(application.wsgi) as url:
        yield url


#: Keeps what the bars show, across pages: while a page waits for the answer to a form, Chromium runs no script of a
#: test.
RECORD = """addEventListener('progress:update', ({ target, detail }) => {
    const seen = JSON.parse(localStorage.seen ?? '[]');
    const isVisible = target.checkVisibility() && target.getBoundingClientRect().height > 0;
    seen.push([target.progressId, detail.label, target.querySelector('progress').value, isVisible]);
    localStorage.seen = JSON.stringify(seen);
});"""


@pytest.fixture
def form(page, url):
    """The page, in which nothing goes wrong."""
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
    page.add_init_script(RECORD + SEND)
    page.goto(url, wait_until='networkidle')
    yield page
    assert errors == []


#: Fills the form in and presses a button.
SEND = """window.send = (name, button) => {
    document.querySelector('[name=name]').value = name;
    Array.from(document.querySelectorAll('button')).find(({ textContent }) => textContent === button).click();
};"""


def send(page, name='Mary', button='Send'):
    page.evaluate('([name, button]) => void setTimeout(() => send(name, button))', [name, button])


def expect_bar(page, label):
    """A bar was seen, moving; return its id."""
    page.wait_for_function('() => localStorage.seen')
    seen = [
        (name, value)
        for name, told, value, is_visible in page.evaluate('JSON.parse(localStorage.seen)')
        if told == label and is_visible
    ]
    assert len({name for name, _ in seen}) == 1
    assert len({value for _, value in seen}) > 1
    return seen[0][0]


def expect_no_bar(page):
    assert page.evaluate('localStorage.seen ?? null') is None
    assert not page.locator('pyramid-progress').is_visible()


def expect_answer(page):
    page.wait_for_selector('#answer')


WAYS = [WRITTEN, pytest.param(BY_METHOD, marks=slow)]


@pytest.mark.parametrize('way', WAYS)
def test_a_bar_shows_while_the_browser_waits(application, form, url, way):
    application.form = way
    form.goto(url, wait_until='networkidle')
    assert form.locator('pyramid-progress').count() == (way is BY_METHOD)
    expect_no_bar(form)
    send(form)
    expect_answer(form)
    progress_id = expect_bar(form, 'Sending Mary')
    assert len(progress_id) == 32
    assert application.posts == [{'name': 'Mary', 'button': 'save', 'progress_id': progress_id}]
    assert form.url == f'{url}/send'


def test_what_the_browser_finds_wrong_is_not_sent(application, form):
    send(form, '')
    form.wait_for_timeout(300)
    expect_no_bar(form)
    assert application.posts == []
    send(form)
    expect_answer(form)
    expect_bar(form, 'Sending Mary')


def test_what_the_server_finds_wrong_comes_back_as_ever(application, form):
    send(form, 'bad')
    form.wait_for_function("() => document.querySelector('#error').textContent")
    assert form.get_by_label('Name').input_value() == 'bad'
    expect_no_bar(form)
    send(form)
    expect_answer(form)
    expect_bar(form, 'Sending Mary')
    first, second = (post['progress_id'] for post in application.posts)
    assert first != second


@slow
@pytest.mark.not_in(firefox='its driver waits for ever when a page is shown as it was left')
def test_back_to_the_form(form):
    form.get_by_label('Name').fill('Mary')
    form.get_by_role('button', name='Send').click()
    expect_answer(form)
    form.go_back()
    assert form.get_by_label('Name').input_value() == 'Mary'
    assert not form.locator('pyramid-progress').is_visible()


def test_back_to_the_form_as_it_was_left(launch, program, url):
    """In a browser that keeps pages as they were, as those of visitors do."""
    browser = launch(program('chromium'), ignore_default_args=['--disable-back-forward-cache'])
    page = browser.new_page()
    page.add_init_script(RECORD + SEND)
    page.goto(url, wait_until='networkidle')
    page.evaluate('window.isSame = true')
    send(page)
    expect_answer(page)
    first = expect_bar(page, 'Sending Mary')
    page.go_back(wait_until='commit')
    assert page.evaluate('window.isSame'), 'the browser did not keep the page'
    assert page.locator('pyramid-progress').count() == 1
    assert not page.locator('pyramid-progress').is_visible()
    send(page, 'Ann')
    expect_answer(page)
    assert expect_bar(page, 'Sending Ann') != first
    browser.close()


def test_sent_twice_the_second_counts(application, form):
    application.steps = 6
    form.evaluate("""() => {
        const values = new Set();
        const look = ({ target }) => {
            if (values.add(target.querySelector('progress').value).size < 3) return;
            removeEventListener('progress:update', look);
            setTimeout(() => send('Ann', 'Send'));
        };
        addEventListener('progress:update', look);
    }""")
    send(form)
    expect_answer(form)
    first, second = expect_bar(form, 'Sending Mary'), expect_bar(form, 'Sending Ann')
    assert [(post['name'], post['progress_id']) for post in application.posts] == [('Mary', first), ('Ann', second)]


def test_an_answer_that_leaves_the_page(application, form):
    application.is_download = True
    send(form)
    form.wait_for_selector('pyramid-progress[state=finished]')
    first = expect_bar(form, 'Sending Mary')
    send(form, 'Ann')
    form.wait_for_selector('pyramid-progress[state=finished]:has([aria-label="Sending Ann"])')
    assert expect_bar(form, 'Sending Ann') != first


def test_what_the_page_keeps_back_has_no_bar(application, form):
    form.evaluate("document.forms[0].addEventListener('submit', (event) => event.preventDefault())")
    send(form)
    form.wait_for_timeout(300)
    expect_no_bar(form)
    assert application.posts == []


def test_a_get_stays_as_it_is(form):
    send(form, button='Find')
    expect_answer(form)
    assert form.locator('#answer').text_content() == 'Found by name=Mary&button=find'


@slow
def test_a_form_that_comes_later(form):
    form.evaluate("""() => {
        const [form] = document.forms;
        form.remove();
        document.body.append(form.cloneNode(true));
    }""")
    send(form)
    expect_answer(form)
    expect_bar(form, 'Sending Mary')


def test_the_first_form_of_a_page_may_come_later(application, form, url):
    application.form = ('method="post"', '')
    form.goto(url, wait_until='networkidle')
    form.evaluate("document.forms[0].setAttribute('data-progress', '')")
    form.get_by_label('Name').focus()
    form.wait_for_timeout(500)
    send(form)
    expect_answer(form)
    expect_bar(form, 'Sending Mary')


@pytest.mark.not_in(
    firefox='its driver ignores java_script_enabled',
    webkit='its driver sometimes hangs when a page without script is replaced: see test_webkit.py',
)
@pytest.mark.parametrize('way', WAYS)
def test_without_script(application, browser, url, way):
    application.form = way
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(url, wait_until='networkidle')
    assert not page.locator('pyramid-progress').is_visible()
    page.get_by_label('Name').fill('Mary')
    page.get_by_role('button', name='Send').click()
    expect_answer(page)
    assert application.posts == [{'name': 'Mary', 'button': 'save'}]
    page.context.close()


@slow
def test_another_bar_in_the_form_goes_on(application, form):
    form.evaluate("""() => {
        const bar = document.createElement('pyramid-progress');
        bar.progressId = 'another';
        document.forms[0].prepend(bar);
    }""")
    application.is_download = True
    send(form)
    form.wait_for_selector('.pp-form[state=finished]')
    expect_bar(form, 'Sending Mary')
    assert form.locator('pyramid-progress[progress-id=another]').count() == 1


@pytest.mark.parametrize(
    'name',
    [
        'append',
        *(pytest.param(name, marks=slow) for name in ('matches', 'querySelector', 'getAttribute', 'method')),
        'progress_id',
    ],
)
def test_fields_may_have_any_name(application, form, name):
    form.evaluate(
        "(name) => document.querySelector('[name=name]').insertAdjacentElement('afterend',"
        " Object.assign(document.createElement('input'), { name, value: 'x' }))",
        name,
    )
    send(form)
    expect_answer(form)
    assert application.posts[0]['progress_id'] == expect_bar(form, 'Sending Mary')


@slow
def test_what_is_prevented_last_of_all_leaves_nothing_behind(application, form):
    form.evaluate("addEventListener('submit', (event) => event.preventDefault())")
    send(form)
    form.wait_for_timeout(300)
    expect_no_bar(form)
    assert form.evaluate("new FormData(document.forms[0]).has('progress_id')") is False
    assert application.posts == []
