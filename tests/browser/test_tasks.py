"""The page of tasks in a real browser: it follows the tasks, and its buttons cancel and remove them."""

import threading
import time
from datetime import datetime, timedelta

import pytest
from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory

from pyramid_progress import (
    TaskCancelled,
    forget_task,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
    start_task,
)

from .wsgi import Mary, serving, strictly


@pytest.fixture
def url():
    """Serve an application, and give its URL."""
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.set_security_policy(Mary())
        config.include('pyramid_progress')
    with serving(strictly(config.make_wsgi_app())) as url:
        yield url


@pytest.fixture
def page(page):
    """A page whose clock a test can advance."""
    page.clock.install()
    return page


def wait_for(page, text):
    """Wait until the page shows a text; time passes in which the page asks for what is new."""
    page.clock.fast_forward(6000)
    page.get_by_text(text, exact=True).first.wait_for()


@pytest.fixture
def errors(page):
    """Collect what the page complains of."""
    found = []
    page.on('pageerror', lambda error: found.append(str(error)))
    page.on('console', lambda message: found.append(message.text) if message.type == 'error' else None)
    yield found
    assert [error for error in found if 'favicon' not in error and '404' not in error] == []


def test_a_button_cancels(url, page, errors):
    stopped = threading.Event()

    def work():
        try:
            with start_task('Import', owner='mary') as task:
                for _ in task.track(iter(int, 1)):
                    stopped.wait(0.01)
        except TaskCancelled:
            stopped.set()

    threading.Thread(target=work, daemon=True).start()
    page.goto(url + '/progress_tasks')
    page.get_by_role('button', name='Cancel').click()
    page.get_by_text('Cancelled', exact=True).wait_for()
    assert stopped.wait(5)
    assert page.url == url + '/progress_tasks'
    assert not page.get_by_role('button', name='Cancel').is_visible()


def test_the_buttons_send_a_token_that_is_accepted_in_a_header_only(page, wait_until):
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.set_security_policy(Mary())
        config.set_session_factory(SignedCookieSessionFactory('secret'))
        config.set_default_csrf_options(require_csrf=True, token=None, header='X-Key')
        config.include('pyramid_progress')
    init_progress_status('failed', 'mary', 'Old')
    set_progress_status('failed', 'failed')
    task = start_task('Import', owner='mary')
    codes = []
    wsgi = config.make_wsgi_app()

    def removing(environ, start_response):
        def start(status, headers, exc_info=None):
            codes.append(int(status[:3]))
            return start_response(status, headers, exc_info)

        return wsgi(environ, start if environ['PATH_INFO'] == '/progress_remove' else start_response)

    with serving(strictly(removing)) as url:
        page.goto(url + '/progress_tasks')
        page.get_by_role('button', name='Cancel').click()
        page.locator('.pp-state', has_text='Cancelling').wait_for()
        # If the token is refused, no form is sent without it.
        page.evaluate('window.isSame = true')
        form = page.locator('.pp-remove')
        token = form.get_attribute('data-csrf-token')
        for sent in ('wrong', token):
            count = len(codes)
            form.evaluate('(form, token) => { form.dataset.csrfToken = token }', sent)
            page.get_by_role('button', name='Remove').click()
            wait_until(lambda count=count: len(codes) > count, complaint='the button sent nothing')
        assert codes == [400, 200]
        page.locator('li', has_text='Old').wait_for(state='detached')
        assert page.evaluate('window.isSame')
    task.finish()


@pytest.mark.parametrize('before', [0, 1])
def test_new_tasks_come_in_on_top(url, page, errors, before):
    for _ in range(before):
        start_task('Old one', owner='mary').finish()
    page.goto(url + '/progress_tasks')
    with start_task('New one', owner='mary'):
        wait_for(page, 'New one')
        assert labels(page)[0] == 'New one'
        assert page.get_by_role('button', name='Cancel').is_visible()
    page.clock.fast_forward(6000)
    page.locator('li', has_text='New one').get_by_text('Finished', exact=True).wait_for()


def labels(page):
    # Not their inner text: labels outside the window are not drawn.
    return page.evaluate("Array.from(document.querySelectorAll('.pp-tasks .pp-label'), (label) => label.textContent)")


def start(*names):
    """Start tasks, each later than the one before."""
    for name in names:
        init_progress_status(name, 'mary', name)
        time.sleep(0.002)


def test_a_task_that_fails_takes_the_place_of_its_start_in_the_list_of_failed_ones(url, page, errors):
    start('first', 'second', 'third')
    set_progress_status('first', 'failed')
    set_progress_status('third', 'failed')
    page.goto(url + '/progress_tasks')
    page.get_by_role('link', name='Failed', exact=True).click()
    page.wait_for_url(url + '/progress_tasks?status=failed')
    page.get_by_text('third', exact=True).wait_for()
    assert labels(page) == ['third', 'first']
    set_progress_status('second', 'failed', message='The disk is full')
    wait_for(page, 'The disk is full')
    assert labels(page) == ['third', 'second', 'first']


def test_an_ended_task_stays_in_the_list_of_running_ones(url, page, errors):
    start('Import')
    page.goto(url + '/progress_tasks?status=running')
    set_progress_status('Import', 'finished', message='Done')
    wait_for(page, 'Done')
    start('Export')
    wait_for(page, 'Export')
    assert labels(page) == ['Export', 'Import']


def test_an_ended_task_gets_its_duration_and_its_button(url, page, errors):
    start('Import')
    page.goto(url + '/progress_tasks')
    assert page.get_by_role('button', name='Remove').count() == 0
    set_progress_status('Import', 'failed')
    page.clock.fast_forward(6000)
    page.get_by_role('button', name='Remove').wait_for()
    assert page.locator('.pp-about dd').last.inner_text().endswith(' s')


def test_remove_removes_without_a_new_page_and_keeps_the_focus_in_the_list(url, page, errors):
    start('first', 'second')
    for name in ('first', 'second'):
        set_progress_status(name, 'failed')
    page.goto(url + '/progress_tasks')
    page.evaluate('window.isSamePage = true')
    remove = page.get_by_role('button', name='Remove')
    remove.first.click()
    page.get_by_text('second', exact=True).wait_for(state='detached')
    assert labels(page) == ['first']
    page.locator('li:focus-within .pp-label', has_text='first').wait_for()
    forget_task('first')  # in another tab
    remove.click()
    page.get_by_text('There are no tasks.', exact=True).wait_for()
    assert labels(page) == []
    assert page.evaluate('window.isSamePage')


def test_a_button_that_is_replaced_before_its_answer_comes(url, page, errors):
    start('first')
    set_progress_status('first', 'failed')
    page.goto(url + '/progress_tasks')
    page.locator('pyramid-progress:defined').wait_for()
    page.evaluate("""() => {
        const form = document.querySelector('.pp-remove');
        form.requestSubmit();
        form.replaceWith(form.cloneNode(true));
    }""")
    page.get_by_text('There are no tasks.', exact=True).wait_for()


def test_a_new_run_of_an_id_replaces_the_old_one(url, page, errors):
    start('again', 'other')
    set_progress_status('again', 'failed')
    page.goto(url + '/progress_tasks')
    assert labels(page) == ['other', 'again']
    init_progress_status('again', 'mary', 'once more')
    wait_for(page, 'once more')
    assert labels(page) == ['once more', 'other']


def test_the_link_to_older_tasks_continues_after_the_last_one_that_is_shown(url, page, errors):
    names = [f'Task {number:02}' for number in range(30)]
    start(*names)
    page.goto(url + '/progress_tasks')
    assert len(labels(page)) == 25
    start('New one')
    wait_for(page, 'New one')
    first = labels(page)
    assert len(first) == 25
    page.get_by_role('link', name='Older tasks').click()
    page.get_by_role('link', name='Newest tasks').wait_for()
    assert first + labels(page) == ['New one', *reversed(names)]


def test_times_are_those_of_the_visitor(url, browser):
    start('Import')
    context = browser.new_context(timezone_id='Asia/Tokyo')
    page = context.new_page()
    page.goto(url + '/progress_tasks?_LOCALE_=de')
    started = page.locator('.pp-tasks time[title$=UTC]')
    started.wait_for()
    in_tokyo = datetime.fromisoformat(started.get_attribute('datetime')) + timedelta(hours=9)
    assert started.inner_text() == f'{in_tokyo:%d.%m.%Y, %H:%M}'
    context.close()


@pytest.mark.not_in(
    firefox='its driver ignores java_script_enabled',
    webkit='its driver sometimes hangs when a page without script is replaced: see test_webkit.py',
)
def test_without_script_the_remove_button_is_a_form(url, browser):
    start('Import')
    set_progress_status('Import', 'finished')
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url + '/progress_tasks?tag=')
    page.get_by_role('button', name='Remove').click()
    page.get_by_text('There are no tasks.').wait_for()
    assert page.url == url + '/progress_tasks?tag='
    assert get_running_tasks() == set()
    context.close()


@pytest.mark.not_in(
    firefox='its driver ignores java_script_enabled',
    webkit='its driver sometimes hangs when a page without script is replaced: see test_webkit.py',
)
def test_without_script_the_button_is_a_form(url, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    with start_task('Import', owner='mary') as task:
        page.goto(url + '/progress_tasks?tag=')
        page.get_by_role('button', name='Cancel').click()
        page.wait_for_url(url + '/progress_tasks?tag=')
        with pytest.raises(TaskCancelled):
            while True:
                task.advance()
    context.close()
