"""The pages: signing in, and an import from the form to its end."""

import pytest
from webtest import Upload

from contacts.models import Contact
from contacts.models import Upload as UploadedFile
from pyramid_progress import ProgressError, list_tasks, testing

CSV = b'name,email\nAda,ada@example.com\nGrace,grace@example.com\n'


def post_import(browser, content=CSV):
    """Send the form, and return the progress id in the URL of the page that follows."""
    form = browser.get('/').forms[1]
    form['file'] = Upload('contacts.csv', content)
    return form.submit(status=303).location.rpartition('/')[2]


def test_visitors_sign_in(testapp):
    assert testapp.get('/').location == 'http://localhost/login'


def test_a_wrong_password(testapp):
    form = testapp.get('/login').form
    form['name'], form['password'] = 'mary', 'guessed'
    assert form.submit(status=403).form['name'].value == 'mary'


def test_signing_out(mary):
    mary.get('/').forms[0].submit(status=303)
    mary.get('/', status=303)


def test_an_import(mary, dbsession):
    progress_id = post_import(mary)
    status = testing.wait_for(progress_id)
    assert status['result'] == {'url': '/', 'text': '2 contacts'}
    assert status['owner'] == 'mary'
    assert dbsession.get(Contact, 'ada@example.com').name == 'Ada'
    assert dbsession.query(UploadedFile).count() == 0
    assert 'grace@example.com' in mary.get('/')


def test_the_page_of_an_import_shows_its_bar(mary):
    progress_id = post_import(mary)
    page = mary.get(f'/import/{progress_id}')
    assert page.html.find('pyramid-progress')['progress-id'] == progress_id
    assert 'Importing contacts' in mary.get('/progress_tasks', headers={'Accept': 'text/html'})
    mary.get('/import/no-such-import', status=404)


def test_a_row_without_email_address(mary, dbsession):
    with pytest.raises(ProgressError, match='Row 2 has no email'):
        post_import(mary, CSV.replace(b'grace@example.com', b''))
    (task,) = list_tasks()
    assert (task['status'], task['message']) == ('failed', 'Row 2 has no email address.')
    assert dbsession.query(Contact).count() == 0


def test_a_file_that_is_not_text(mary):
    form = mary.get('/').forms[1]
    form['file'] = Upload('contacts.csv', b'\xff')
    form.submit(status=400)
    assert list_tasks() == []


@pytest.mark.parametrize('attempt', [1, 2])
def test_no_test_sees_what_another_one_did(mary, dbsession, attempt):
    assert list_tasks() == []
    assert dbsession.query(Contact).count() == 0
    post_import(mary)
    assert len(list_tasks()) == 1
    assert dbsession.query(Contact).count() == 2
