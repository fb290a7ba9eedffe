"""Functional tests as the Pyramid cookiecutter generates them: the test has the transaction, which never commits.

Submitted work starts after the commit, so it waits here, and is discarded when the test aborts the transaction. These
tests check that a view submits work, and what the work does, each by itself. Tests of both use the fixtures in
``conftest.py`` instead, with which transactions commit.
"""

import pytest
import transaction
import webtest

from contacts import models
from contacts.imports import import_contacts
from pyramid_progress import get_progress_status, start_task, testing

CSV = 'name,email\nAda,ada@example.com\n'


@pytest.fixture
def tm():
    tm = transaction.TransactionManager(explicit=True)
    tm.begin()
    tm.doom()
    yield tm
    tm.abort()


@pytest.fixture
def shared_dbsession(app, tm):
    return models.get_tm_session(app.registry['dbsession_factory'], tm)


@pytest.fixture
def testapp(app, tm, shared_dbsession):
    return webtest.TestApp(
        app,
        extra_environ={
            'HTTP_HOST': 'example.com',
            'HTTP_AUTHORIZATION': 'Bearer the token of mary',
            'tm.active': True,
            'tm.manager': tm,
            'app.dbsession': shared_dbsession,
        },
    )


def test_the_view_submits_the_import(testapp, tm, shared_dbsession):
    progress_id = testapp.post('/api/imports', CSV, content_type='text/csv', status=202).json['progress_id']
    assert testing.wait_for(progress_id, 'pending')['label'] == 'Importing contacts'
    assert shared_dbsession.query(models.Upload).one().text == CSV
    tm.abort()
    assert get_progress_status(progress_id) == {'status': 'unknown'}
    tm.begin()


def test_the_import(dbsession):
    """The work by itself: a function with a task. Its own transactions commit into that of the fixture."""
    dbsession.add(models.Upload(id=1, text=CSV))
    dbsession.commit()
    with start_task('Importing contacts') as task:
        assert import_contacts(task, 1) == {'url': '/', 'text': '1 contacts'}
    assert task.current == 1
    assert dbsession.get(models.Contact, 'ada@example.com').name == 'Ada'
