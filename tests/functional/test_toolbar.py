"""The panel in the debug toolbar."""

import re

import pytest

from pyramid_progress import StorageError, get_running_tasks, init_progress_status, set_progress_status
from pyramid_progress.runtime import current_store

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::ResourceWarning')


@pytest.fixture
def panel(make_app):
    """Return a function that opens the panel and returns its text."""

    def configure(config):
        config.include('pyramid_debugtoolbar')
        config.add_route('page', '/')
        config.add_view(
            lambda request: request.response.__class__('<html><body>A page</body></html>', content_type='text/html'),
            route_name='page',
        )

    app = make_app(
        configure,
        **{'debugtoolbar.includes': 'pyramid_progress.toolbar', 'debugtoolbar.hosts': '0.0.0.0/0'},
    )
    environ = {'REMOTE_ADDR': '127.0.0.1'}

    def open_panel():
        page = app.get('/', extra_environ=environ)
        toolbar = re.search(r'/_debug_toolbar/[0-9a-f]+', page.text).group()
        return app.get(toolbar, extra_environ=environ).text

    return open_panel


def test_the_panel_shows_tasks_and_regions(panel):
    init_progress_status('a', 'mary', '<b>Import</b>', length=10, current=3)
    set_progress_status('a', 'finished', message='Done')
    text = panel()
    assert '&lt;b&gt;Import&lt;/b&gt;' in text
    assert '<b>Import' not in text
    for word in ('mary', 'Done', 'MemoryStorage', 'persistent', 'memory'):
        assert word in text
    assert get_running_tasks() == {'a'}  # the end is not acknowledged


def test_the_newest_tasks_come_first_and_ended_ones_stay(panel):
    for number in range(101):
        init_progress_status(f'task {number:03}', 'mary', 'Import')  # in the same ms, the id decides
        if number % 2:
            set_progress_status(f'task {number:03}', 'failed')
    text = panel()
    assert re.findall(r'<code>(task \d+)</code>', text) == [f'task {number:03}' for number in range(100, 0, -1)]
    assert 'There are more.' in text


def test_without_tasks_the_panel_says_so(panel):
    text = panel()
    assert 'There are none.' in text
    assert 'There are more.' not in text


def test_a_store_that_does_not_answer_gives_an_error_in_the_panel(panel, monkeypatch):
    def fail(*args):
        raise StorageError('No answer')

    monkeypatch.setattr(current_store().storage, 'list_entries', fail)
    assert 'No answer' in panel()
