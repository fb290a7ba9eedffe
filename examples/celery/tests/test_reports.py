"""The pages and their tasks, in one process: without workers, and without Redis."""

from pathlib import Path

import pytest
import webtest
from pyramid.paster import get_app

from pyramid_progress import testing


@pytest.fixture(scope='session')
def app():
    """The application. Celery runs a task where it is sent, and keeps results in memory."""
    app = get_app(str(Path(__file__).parents[1] / 'production.ini'))
    from sales.worker import app as celery  # the module reads the ini file that the application names

    celery.conf.update(task_always_eager=True, result_backend='cache+memory://')
    return app


@pytest.fixture(autouse=True)
def progress(app):
    with testing.isolated(app):
        yield


@pytest.mark.parametrize(('button', 'text'), [('one', 'Sales of France'), ('chord', '5 reports')])
def test_a_report(app, tmp_path, monkeypatch, button, text):
    monkeypatch.setattr('sales.worker.data_dir', tmp_path)
    monkeypatch.setattr('sales.worker.time.sleep', lambda seconds: None)  # the work
    browser = webtest.TestApp(app)
    page = browser.get('/').form.submit(button, status=303)
    status = testing.wait_for(page.location.rpartition('/')[2])
    assert status['result']['text'] == text
    assert status['result']['url'].startswith('/files/')
