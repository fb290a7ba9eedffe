"""The task list: its page, its JSON, and the removal of a task."""

import json
from collections import Counter

import pytest
from pyramid.session import SignedCookieSessionFactory

from pyramid_progress import (
    ProgressError,
    StorageError,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
    start_task,
)
from pyramid_progress.model.record import CHANGED, HEARTBEAT, RUN
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
        start(f'm{number:02}', 'mary', f'Import {number}', ['even' if number % 2 == 0 else 'odd'], started=number)
    start('j', 'john', '<b>Export</b>', 'x', started=60)
    start('ownerless', None, 'Report', started=61)


def start(progress_id, owner='mary', label='Import', tags=None, *, started):
    """Start a task at a time of the store's clock: some seconds after a fixed one."""
    init_progress_status(progress_id, owner, label, tags)
    storage, expire, _ = current_store()
    record = storage.get_many([progress_id])[progress_id]
    storage.start(progress_id, record | {RUN: f'"{1_700_000_000_000 + started * 1000:013d}-00000000"'}, expire)


def stall(progress_id):
    """Let the heartbeats of a task stop."""
    storage, expire, _ = current_store()
    storage.update_active({progress_id: {HEARTBEAT: repr(storage.now() - 100)}}, expire)


def shown(page):
    """Return the ids of the bars on a page."""
    return [bar['progress-id'] for bar in page.html.select('.pp-tasks li > pyramid-progress')]


def numbers(*interval):
    return [f'm{number:02}' for number in range(*interval)]


def test_own_tasks_newest_first(tasks, some):
    answer = tasks()
    assert answer.headers['Cache-Control'] == 'no-store'
    assert list(answer.json['tasks']) == numbers(59, 34, -1)
    assert answer.json['next'] == '1700000035000.m35'
    assert answer.json['tasks']['m59']['label'] == 'Import 59'
    assert 'owner' not in answer.json['tasks']['m59']


def test_older_tasks_follow_without_gap_or_repetition_while_tasks_start(tasks, some):
    seen = []
    before = ''
    for number in range(10):
        answer = tasks(f'?before={before}').json
        seen += answer['tasks']
        before = answer['next']
        if before is None:
            break
        start(f'new {number}', started=100 + number)
        set_progress_status(seen[-1], 'finished')  # the task at which the next page begins
        assert get_progress_status(seen[-1])['status'] == 'finished'
    assert seen == numbers(59, -1, -1)


def test_an_invalid_position_gives_the_first_page(tasks, some):
    for before in ('0', '-1.a', 'x', '1e9', '%D9%A3.a', '9' * 99 + '.a', '.', '5.', ''):
        assert list(tasks(f'?before={before}').json['tasks']) == numbers(59, 34, -1)
    assert list(tasks('?before=1700000003000.m03').json['tasks']) == ['m02', 'm01', 'm00']


def test_tasks_are_filtered_by_tag_and_status(tasks, some):
    assert list(tasks('?tag=odd').json['tasks']) == numbers(59, 9, -2)
    assert tasks('?tag=nothing').json == {'tasks': {}, 'next': None}
    set_progress_status('m07', 'waiting for paper')
    assert list(tasks('?status=waiting+for+paper').json['tasks']) == ['m07']
    assert 'm07' not in tasks('?status=running&tag=odd&before=1700000009000.m09').json['tasks']


def test_every_status_can_be_chosen(tasks):
    statuses = ['pending', 'running', 'stalled', 'cancelling', 'finished', 'failed', 'cancelled']
    for number, status in enumerate(statuses):
        start(status, started=number)
        if status not in ('stalled', 'cancelling'):
            set_progress_status(status, status)
    stall('stalled')
    with start_task('Import', owner='mary', progress_id='cancelling') as task:
        task.cancel()
        page = tasks(accept='text/html')
        choices = [(link.text, link['href']) for link in page.html.select('.pp-filters a')]
        assert choices == [
            ('All', '?'),
            ('Waiting', '?status=pending'),
            ('Running', '?status=running'),
            ('Stalled', '?status=stalled'),
            ('Cancelling', '?status=cancelling'),
            ('Finished', '?status=finished'),
            ('Failed', '?status=failed'),
            ('Cancelled', '?status=cancelled'),
        ]
        assert [link.text for link in page.html.select('a[aria-current]')] == ['All']
        for status in statuses:
            page = tasks(f'?status={status}', accept='text/html')
            assert shown(page) == [status]
            assert page.html.select_one('a[aria-current]')['href'] == f'?status={status}'
            assert list(tasks(f'?status={status}').json['tasks']) == [status]


def test_a_status_of_the_application_s_own_is_one_more_choice(tasks):
    page = tasks('?status=waiting+for+paper', accept='text/html')
    assert page.html.select('.pp-filters a')[-1].text == 'waiting for paper'


def test_one_sees_one_s_own_tasks_and_an_operator_all(tasks, some):
    assert list(tasks(user='john').json['tasks']) == ['j']
    assert tasks(user=None).json['tasks'] == {}
    everything = tasks(user='john', operator=True).json['tasks']
    assert list(everything) == ['ownerless', 'j', *numbers(59, 36, -1)]
    assert everything['ownerless']['owner'] is None
    assert everything['j']['owner'] == 'john'
    page = tasks(user='john', operator=True, accept='text/html')
    assert [row.dd.text for row in page.html.select('.pp-about dl > div') if row.dt.text == 'Owner'][:2] == [
        'john',
        'mary',
    ]
    assert 'Owner' not in tasks(accept='text/html').text


def test_under_the_access_rule_id_there_is_no_list(make_app, with_policy):
    app = make_app(with_policy, **{'progress.access': 'id'})
    init_progress_status('a', 'mary', 'Import')
    assert app.get('/progress_tasks', headers=JSON | {'X-User': 'mary'}).json == {'tasks': {}, 'next': None}


def only_odd(request, progress_id, status):
    """A rule for ``progress.access``."""
    return status['tags'] == ['odd']


def test_a_function_decides_what_is_listed(make_app, with_policy):
    app = make_app(with_policy, **{'progress.access': f'{__name__}.only_odd'})
    for number in range(60):
        start(f'm{number:02}', 'mary', 'Import', ['even' if number % 2 == 0 else 'odd'], started=number)
    answer = app.get('/progress_tasks', headers=JSON | {'X-User': 'mary'}).json
    assert list(answer['tasks']) == numbers(59, 9, -2)
    answer = app.get(f'/progress_tasks?before={answer["next"]}', headers=JSON | {'X-User': 'mary'}).json
    assert list(answer['tasks']) == numbers(9, 0, -2)


def test_the_page_links_to_older_and_newest_tasks(tasks, some):
    page = tasks('?tag=odd&theme=dark', accept='text/html')
    assert page.content_type == 'text/html'
    assert page.headers['Cache-Control'] == 'no-store'
    assert shown(page) == numbers(59, 9, -2)
    assert page.html.find('input', {'name': 'tag'})['value'] == 'odd'
    assert page.html.find('input', {'name': 'theme'})['value'] == 'dark'
    assert page.html.select_one('.pp-tasks')['data-src'] == '/progress_tasks?tag=odd'
    (older,) = page.html.select('.pp-pages a')
    assert (older.text, older['href']) == ('Older tasks', '?tag=odd&theme=dark&before=1700000011000.m11')
    page = tasks(older['href'], accept='text/html')
    assert shown(page) == numbers(9, 0, -2)
    (newest,) = page.html.select('.pp-pages a')
    assert (newest.text, newest['href']) == ('Newest tasks', '?tag=odd&theme=dark')
    assert 'data-src' not in page.html.select_one('.pp-tasks').attrs  # it does not change
    failed = page.html.find('a', string='Failed')
    assert failed['href'] == '?tag=odd&theme=dark&status=failed'


def test_what_stands_beside_a_bar(tasks):
    start('a', 'mary', 'Import', ['daily', 'x & y'], started=0)
    storage, expire, _ = current_store()
    storage.update_active({'a': {'started': '"2026-03-01T23:59:58.123456+02:00"'}}, expire)
    page = tasks(accept='text/html')
    about = page.html.select_one('.pp-about')
    assert about.time['datetime'] == '2026-03-01T21:59:58.123+00:00'
    assert [row.get_text(' ', strip=True) for row in about.select('dl > div')] == [
        'Started 2026-03-01 21:59 UTC',
        'Tags daily x & y',
    ]
    assert [link['href'] for link in about.select('a')] == ['?tag=daily', '?tag=x+%26+y']
    assert about.form is None
    set_progress_status('a', 'failed', message='The disk is full')
    storage.update('a', {CHANGED: '1700003725'}, expire)
    page = tasks('?status=failed', accept='text/html')
    assert page.html.select_one('.pp-message').text == 'The disk is full'
    assert [row.get_text(' ', strip=True) for row in page.html.select('.pp-about dl > div')][1] == 'Duration 1 h 2 min'
    status = tasks().json['tasks']['a']
    assert (status['duration'], status['removable']) == (3725, True)


@pytest.mark.parametrize('tags', [None, 5, [1, None, {}], [], '', {'a': 1}])
def test_tags_of_any_type_are_accepted(tasks, tags):
    init_progress_status('a', 'mary', 'Import', tags)
    assert [link.text for link in tasks(accept='text/html').html.select('.pp-about a')] == (
        ['a'] if isinstance(tags, dict) else []
    )


def test_a_page_makes_one_query_and_reads_each_record_once(tasks, some, monkeypatch):
    storage = current_store().storage
    calls = Counter()
    read = Counter()

    def count(name):
        original = getattr(storage, name)

        def counted(first, *args, **options):
            calls[name] += 1
            if name.startswith('get_many'):
                read.update(first)
            return original(first, *args, **options)

        monkeypatch.setattr(storage, name, counted)

    for name in ('get_many', 'get_many_serialized', 'list_entries'):
        count(name)
    monkeypatch.setattr(storage, 'running_ids', None)
    for options in ({'accept': 'text/html'}, {}, {'accept': 'text/html', 'operator': True}):
        tasks(**options)
        assert calls == {'list_entries': 1, 'get_many_serialized': 1}
        assert len(read) == 26  # one more than a page, to know whether there are more
        assert set(read.values()) == {1}
        calls.clear()
        read.clear()


def test_markup_in_texts_is_escaped(tasks, some):
    page = tasks('?status="><script>alert(1)</script>&tag="><script>', accept='text/html', user='john')
    assert '<script>alert' not in page.text
    assert '"><script>' not in page.text
    assert '<b>Export' not in tasks(accept='text/html', user='john').text


def test_the_list_acknowledges_nothing(tasks):
    init_progress_status('a', 'mary', 'Import')
    set_progress_status('a', 'finished')
    assert 'Finished' in tasks(accept='text/html').text
    assert tasks().json['tasks']['a']['status'] == 'finished'
    assert get_running_tasks() == {'a'}


def test_a_finished_task_stays_listed_after_its_end_was_acknowledged(tasks):
    init_progress_status('a', 'mary', 'Import')
    set_progress_status('a', 'finished')
    get_progress_status('a')
    assert get_progress_status('a') == {'status': 'unknown'}
    assert tasks().json['tasks']['a']['status'] == 'finished'


def test_an_operator_does_not_acknowledge_ends_of_others(make_app, with_policy):
    app = make_app(with_policy, **{'progress.operator_permission': 'operate'})
    init_progress_status('a', 'mary', 'Import')
    set_progress_status('a', 'finished')
    operator = JSON | {'X-User': 'john', 'X-Permissions': 'operate'}
    assert app.get('/progress_status?progress_id=a', headers=operator).json['status'] == 'finished'
    assert get_running_tasks() == {'a'}
    app.get('/progress_status?progress_id=a', headers=JSON | {'X-User': 'mary'})
    assert get_running_tasks() == set()


def test_a_store_that_does_not_answer_gives_503_or_a_sentence(tasks, monkeypatch):
    def fail(*args):
        raise StorageError('down')

    monkeypatch.setattr(current_store().storage, 'list_entries', fail)
    tasks(status=503)
    page = tasks('?status=failed', accept='text/html')
    assert page.html.select_one('.pp-note').text == 'The tasks cannot be read at the moment.'
    assert page.html.select_one('a[aria-current]').text == 'Failed'


def test_an_empty_list_is_a_sentence_with_the_filter_kept(tasks, some):
    page = tasks('?status=failed&tag=x', accept='text/html')
    note = page.html.select_one('.pp-note')
    assert (note.text, 'hidden' in note.attrs) == ('There are no tasks.', False)
    assert page.html.find('input', {'name': 'tag'})['value'] == 'x'
    assert page.html.find('input', {'name': 'status'})['value'] == 'failed'
    page = tasks('?before=1.a', accept='text/html')
    assert page.html.select_one('.pp-note').text == 'There are no tasks on this page.'
    assert 'hidden' in tasks(accept='text/html').html.select_one('.pp-note').attrs


@pytest.mark.parametrize(('language', 'direction', 'title'), [('de', 'ltr', 'Aufgaben'), ('ar', 'rtl', 'المهام')])
def test_the_direction_of_the_page_is_that_of_its_language(tasks, language, direction, title):
    page = tasks(f'?_LOCALE_={language}', accept='text/html')
    assert [page.html.html['lang'], page.html.html['dir'], page.html.h1.text] == [language, direction, title]


def test_the_language_of_the_page_is_that_of_the_request(tasks, some):
    page = tasks('?_LOCALE_=de', accept='text/html')
    assert page.html.html['lang'] == 'de'
    assert [link.text for link in page.html.select('.pp-filters a')][:2] == ['Alle', 'Wartet']
    assert page.html.select_one('.pp-pages a').text == 'Ältere Aufgaben'


def test_a_query_that_is_not_utf_8(tasks):
    for accept in ('application/json', 'text/html'):
        tasks('?tag=%ff', accept=accept, status=400)


def test_cancel_buttons(tasks):
    with start_task('Import', owner='mary'), start_task('Fixed', owner='mary', cancellable=False):
        page = tasks(accept='text/html')
        assert len(page.html.select('button.pp-cancel:not([hidden])')) == 1


@pytest.fixture
def app(make_app, with_policy):
    """An application with a session, hence with CSRF tokens, and operators."""

    def configure(config):
        with_policy(config)
        config.set_session_factory(SignedCookieSessionFactory('secret'))

    return make_app(configure, **{'progress.operator_permission': 'operate'})


def test_the_remove_button_removes_an_ended_task(app):
    with pytest.raises(ProgressError), start_task('Import', owner='mary', progress_id='a'):
        raise ProgressError('The disk is full')
    headers = {'X-User': 'mary', 'Accept': 'text/html', 'Referer': 'http://localhost/progress_tasks?tag='}
    page = app.get('/progress_tasks', headers=headers)
    (form,) = [form for form in page.forms.values() if form.action == '/progress_remove']
    answer = form.submit(headers=headers, status=303)
    assert answer.location == 'http://localhost/progress_tasks?tag='
    assert get_progress_status('a') == {'status': 'unknown'}
    assert shown(app.get('/progress_tasks', headers=headers)) == []
    assert form.submit(headers=headers, status=404).status_code == 404


def test_a_running_task_cannot_be_removed_and_a_stalled_one_can(make_app, with_policy):
    app = make_app(with_policy)
    headers = JSON | {'X-User': 'mary', 'Sec-Fetch-Site': 'same-origin'}
    start('a', started=0)
    answer = app.post('/progress_remove', {'progress_id': 'a'}, headers=headers, status=409)
    assert 'This task cannot be removed.' in answer.text
    assert get_running_tasks() == {'a'}
    stall('a')
    assert app.post('/progress_remove', {'progress_id': 'a'}, headers=headers).json == {'status': 'unknown'}
    assert get_running_tasks() == set()


def test_who_may_remove_a_task(app):
    for progress_id, owner in (('a', 'mary'), ('b', 'mary'), ('c', None)):
        init_progress_status(progress_id, owner, 'Import')
        set_progress_status(progress_id, 'failed')
    page = app.get('/progress_tasks', headers={'X-User': 'mary', 'Accept': 'text/html'})
    token = page.html.find('input', {'name': 'csrf_token'})['value']

    def remove(progress_id, status, **headers):
        fields = {'progress_id': progress_id, 'csrf_token': token}
        app.post('/progress_remove', fields, headers=JSON | headers, status=status)

    remove('a', 404, **{'X-User': 'john'})
    remove('a', 404)
    remove('a', 200, **{'X-User': 'mary'})
    remove('b', 200, **{'X-User': 'john', 'X-Permissions': 'operate'})
    remove('c', 200)


def test_a_request_of_another_site_removes_nothing(app, make_app, with_policy):
    init_progress_status('a', 'mary', 'Import')
    set_progress_status('a', 'failed')
    headers = JSON | {'X-User': 'mary'}
    app.post('/progress_remove', {'progress_id': 'a'}, headers=headers, status=400)  # no token
    without_session = make_app(with_policy)
    set_progress_status('a', 'failed')
    for site in ('cross-site', 'same-site'):
        without_session.post(
            '/progress_remove', {'progress_id': 'a'}, headers=headers | {'Sec-Fetch-Site': site}, status=403
        )


def test_the_bars_of_the_page_have_the_statuses_of_the_json(tasks, some):
    set_progress_status('m59', 'failed', message='No')
    page = tasks(accept='text/html', operator=True)
    statuses = {bar['progress-id']: json.loads(bar['status']) for bar in page.html.select('pyramid-progress')}
    assert statuses == tasks(operator=True).json['tasks']


def test_removing_an_ended_task_leaves_the_run_that_replaces_it_in_the_meantime(make_app):
    """The callable of ``progress.access`` is called between the read of the record and its removal."""

    def access(request, progress_id, status):
        if status['status'] == 'failed':
            init_progress_status('nightly', None, 'Again')
        return True

    app = make_app(**{'progress.access': access})
    init_progress_status('nightly', None, 'Import')
    set_progress_status('nightly', 'failed')
    app.post('/progress_remove', {'progress_id': 'nightly'}, headers={'Sec-Fetch-Site': 'same-origin'}, status=303)
    assert get_progress_status('nightly')['label'] == 'Again'


def test_a_cancel_request_leaves_the_run_that_replaces_the_task_in_the_meantime(make_app):
    tasks = []

    def access(request, progress_id, status):
        if len(tasks) == 1:
            tasks.append(start_task('Again', progress_id='nightly'))
        return True

    app = make_app(**{'progress.access': access})
    tasks.append(start_task('Import', progress_id='nightly'))
    app.post('/progress_cancel', {'progress_id': 'nightly'}, headers={'Sec-Fetch-Site': 'same-origin'}, status=409)
    assert get_progress_status('nightly')['status'] == 'running'
    for task in tasks:
        task.finish()
