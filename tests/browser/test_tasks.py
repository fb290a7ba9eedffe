"""The page of tasks in a real browser: it lives, and its buttons cancel."""

import threading

import pytest
from pyramid.config import Configurator

from pyramid_progress import TaskCancelled, start_task

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


@pytest.mark.parametrize('before', [0, 1])
def test_new_tasks_come_in_on_top(url, page, errors, before):
    for _ in range(before):
        start_task('Old one', owner='mary').finish()
    page.goto(url + '/progress_tasks')
    with start_task('New one', owner='mary'):
        page.get_by_text('New one', exact=True).wait_for()
        assert page.locator('.pp-label').all_inner_texts()[0] == 'New one'
        assert page.get_by_role('button', name='Cancel').is_visible()
    page.locator('li', has_text='New one').get_by_text('Finished', exact=True).wait_for()


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
