"""The page of tasks in a real browser: it lives, and its buttons cancel."""

import threading

import pytest
from pyramid.config import Configurator
from waitress.server import create_server

from pyramid_progress import TaskCancelled, start_task


class Everybody:
    """A security policy in which everybody is Mary."""

    def identity(self, request):
        return 'mary'

    def authenticated_userid(self, request):
        return 'mary'

    def permits(self, request, context, permission):
        return True


@pytest.fixture
def url():
    """Serve an application, and give its URL."""
    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.set_security_policy(Everybody())
        config.include('pyramid_progress')

        def strict(event):
            event.response.headers['Content-Security-Policy'] = (
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
                " require-trusted-types-for 'script'"
            )

        config.add_subscriber(strict, 'pyramid.events.NewResponse')
    server = create_server(config.make_wsgi_app(), host='127.0.0.1', port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.effective_port}'
    server.close()


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
