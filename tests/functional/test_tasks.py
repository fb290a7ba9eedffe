"""The task list: its page, and its JSON."""

import re

import pytest

from pyramid_progress import StorageError, get_running_tasks, init_progress_status, set_progress_status, start_task
from pyramid_progress.runtime import current_store

JSON = {'Accept': 'application/json'}


@pytest.fixture
def tasks(make_app, with_policy):
    """Return a function that asks for the tasks of a user."""
    app = make_app(with_policy, **{'progress.operator_permission': 'operate'})

    def ask(query='', user='mary', operator=False, accept='application/json', **options):
        headers = {'Accept': accept}
        if user:
            headers['X-User'] = user
        if operator:
            headers['X-Permissions'] = 'operate'
        return app.get('/progress_tasks' + query, headers=headers, **options)

    return ask


@pytest.fixture
def some():
    """Start some tasks, each later than the one before."""
    for number in range(60):
        init_progress_status(f'm{number:02}', 'mary', f'Import {number}', tags=['even' if number % 2 == 0 else 'odd'])
    init_progress_status('j', 'john', '<b>Export</b>', tags='x')
    init_progress_status('ownerless', None, 'Report')


def test_own_tasks_newest_first(tasks, some):
    answer = tasks()
    assert answer.headers['Cache-Control'] == 'no-store'
    assert answer.json['total'] == 60
    assert (answer.json['page'], answer.json['pages']) == (1, 3)
    assert list(answer.json['tasks']) == [f'm{number:02}' for number in range(59, 34, -1)]
    assert answer.json['tasks']['m59']['label'] == 'Import 59'
    assert 'owner' not in answer.json['tasks']['m59']


def test_pages(tasks, some):
    assert list(tasks('?page=3').json['tasks']) == [f'm{number:02}' for number in range(9, -1, -1)]
    assert tasks('?page=99').json['page'] == 3
    for page in ('0', '-1', 'x', '1e9', '%D9%A3', '9' * 99, ''):
        assert tasks(f'?page={page}').json['page'] in (1, 3)


def test_filters(tasks, some):
    assert tasks('?tag=odd').json['total'] == 30
    assert tasks('?tag=nothing').json['total'] == 0
    set_progress_status('m07', 'waiting for paper')
    assert list(tasks('?status=waiting+for+paper').json['tasks']) == ['m07']
    assert tasks('?status=running&tag=odd').json['total'] == 29


def test_who_may_list(tasks, some):
    assert list(tasks(user='john').json['tasks']) == ['j']
    assert tasks(user=None).json['total'] == 0
    everything = tasks(user='john', operator=True).json
    assert everything['total'] == 62
    assert everything['tasks']['ownerless']['owner'] is None
    assert everything['tasks']['j']['owner'] == 'john'


def test_under_the_access_rule_id_there_is_no_list(make_app, with_policy):
    app = make_app(with_policy, **{'progress.access': 'id'})
    init_progress_status('a', 'mary', 'Import')
    assert app.get('/progress_tasks', headers=JSON | {'X-User': 'mary'}).json['total'] == 0


def test_the_page(tasks, some):
    page = tasks('?tag=odd', accept='text/html')
    assert page.content_type == 'text/html'
    assert page.headers['Cache-Control'] == 'no-store'
    assert re.findall('progress-id="([^"]+)"', page.text) == [f'm{number:02}' for number in range(59, 9, -2)]
    assert page.html.find('input', {'name': 'tag'})['value'] == 'odd'
    older = page.html.find('a', rel='next')['href']
    assert older == '?tag=odd&page=2'
    assert page.html.find('a', rel='prev') is None
    page = tasks(older, accept='text/html')
    assert len(re.findall('progress-id="([^"]+)"', page.text)) == 5
    assert page.html.find('a', rel='prev')['href'].endswith('page=1')


def test_markup_in_texts_is_escaped(tasks, some):
    page = tasks('?status="><script>alert(1)</script>', accept='text/html', user='john')
    assert '<script>alert' not in page.text
    assert '<b>Export' not in tasks(accept='text/html', user='john').text


def test_the_list_acknowledges_nothing(tasks):
    init_progress_status('a', 'mary', 'Import')
    set_progress_status('a', 'finished')
    assert 'Finished' in tasks(accept='text/html').text
    assert tasks().json['tasks']['a']['status'] == 'finished'
    assert get_running_tasks() == {'a'}


def test_an_operator_does_not_acknowledge_ends_of_others(make_app, with_policy):
    app = make_app(with_policy, **{'progress.operator_permission': 'operate'})
    init_progress_status('a', 'mary', 'Import')
    set_progress_status('a', 'finished')
    operator = JSON | {'X-User': 'john', 'X-Permissions': 'operate'}
    assert app.get('/progress_status?progress_id=a', headers=operator).json['status'] == 'finished'
    assert get_running_tasks() == {'a'}
    app.get('/progress_status?progress_id=a', headers=JSON | {'X-User': 'mary'})
    assert get_running_tasks() == set()


@pytest.mark.parametrize(('accept', 'status'), [('application/json', 503), ('text/html', 200)])
def test_a_store_that_is_down(tasks, monkeypatch, accept, status):
    def fail():
        raise StorageError('down')

    monkeypatch.setattr(current_store().storage, 'running_ids', fail)
    answer = tasks(accept=accept, status=status)
    if status == 200:
        assert 'Connection trouble' in answer.text


def test_a_query_that_is_not_utf_8(tasks):
    for accept in ('application/json', 'text/html'):
        tasks('?tag=%ff', accept=accept, status=400)


def test_cancel_buttons(tasks):
    with start_task('Import', owner='mary'), start_task('Fixed', owner='mary', cancellable=False):
        page = tasks(accept='text/html')
        assert len(page.html.select('form.pp-cancel:not([hidden])')) == 1
