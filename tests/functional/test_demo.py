"""The pages of the demo without a browser: results, errors, and what each visitor sees."""

import csv
import io
import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from pyramid.scripting import prepare
from webtest import TestApp, Upload

from pyramid_progress import TaskCancelled, configure, init_progress_status, start_task
from pyramid_progress.demo import main
from pyramid_progress.demo.census import take_census
from pyramid_progress.demo.csv_import import import_csv
from pyramid_progress.demo.states import CONTENTS, STATES
from pyramid_progress.demo.store import Store
from pyramid_progress.demo.unicode_sample import FILE_NAME
from pyramid_progress.model.messages import BAR
from pyramid_progress.runtime import current_store

HOSTILE = '<img src=x onerror=alert(1)>'


@pytest.fixture(scope='module')
def wsgi_app(demo_settings):
    # One for all tests: each application compiles its templates.
    return main({}, **demo_settings)


@pytest.fixture
def visitor(wsgi_app):
    return open_browser(wsgi_app)


@pytest.fixture
def files(demo_settings):
    return Path(demo_settings['demo.data_dir'], 'files')


def open_browser(app, **options):
    """Return a browser without script."""
    # WebOb need not copy a large form to a temporary file, which only the garbage collector would close.
    return TestApp(app, extra_environ={'webob.is_body_seekable': True}, **options)


def upload(visitor, content, name='animals.csv', status=303):
    """Send a file through the form of the index."""
    form = visitor.get('/').forms[0]
    form['file'] = Upload(name, content)
    return form.submit(status=status)


def ended(visitor, started):
    """Wait for the end of the task that a form started; return its page."""
    task_id = started.location.rpartition('#task-')[2]
    url = f'/tasks/{task_id}'
    deadline = time.monotonic() + 60
    while True:
        page = visitor.get(url)
        # The result is saved before the end is published.
        answer = visitor.get('/progress_status', {'progress_id': task_id}, {'Accept': 'application/json'}, status='*')
        outcome = page.html.select('.outcome, pyramid-progress:is([state=failed], [state=cancelled])')
        if outcome and answer.json.get('status') not in ('pending', 'running'):
            return page
        assert time.monotonic() < deadline, f'{url} did not end'
        time.sleep(0.02)


def rows_of(page, files):
    """Return the path of the database of an import, of its page."""
    return files / f'{page.request.path.rpartition("/")[2]}.sqlite'


def sentence(response):
    """Return the text of the only error on a page."""
    (error,) = response.html.select('.error')
    return ' '.join(error.get_text().split())


def test_index_offers_both_jobs(visitor):
    page = visitor.get('/')
    assert page.headers['Content-Security-Policy'] == "default-src 'self'"
    assert [page.forms[n].action for n in range(3)] == ['/import', '/import-sample', '/census']
    assert 'None yet.' in page


def test_import(visitor, files):
    text = 'name;legs;born\n"cat\nwith a line end";4;2020-01-31\n\nhen;2;\ntuna;;1999-12-01\n'
    page = ended(visitor, upload(visitor, text.encode('utf-8-sig')))
    assert 'Rows: 3' in page
    columns = [
        [' '.join(cell.get_text().split()) for cell in row.select('th, td')]
        for row in page.html.select('.outcome tbody tr')
    ]
    assert columns == [
        ['name', 'text', '3', '3', 'cat with a line end \N{MULTIPLICATION SIGN} 1'],
        ['legs', 'whole number', '2', '2', '4 \N{MULTIPLICATION SIGN} 1'],
        ['born', 'date', '2', '2', '2020-01-31 \N{MULTIPLICATION SIGN} 1'],
    ]
    with closing(sqlite3.connect(rows_of(page, files))) as db:
        assert db.execute('SELECT line, c1, c2 FROM row').fetchall() == [
            (2, 'cat\nwith a line end', '4'),
            (5, 'hen', '2'),
            (6, 'tuna', ''),
        ]
    assert not list(files.glob('*.csv'))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'a,b\n1,2\n3\n', 'Line 3 has 1 cell; line 1 names 2 columns.'),
        (b'a,b\n1,2,3\n', 'Line 2 has 3 cells; line 1 names 2 columns.'),
        (b'a,b\n"1\n1",2\nx\n', 'Line 4 has 1 cell'),
        ('a,b\n1,é\n'.encode('latin-1'), 'Line 2 is not UTF-8 text (its byte 3 fits no character)'),
        ('a,b\n1,2\n'.encode('utf-16'), 'Line 1 is not UTF-8 text'),
        (b'a,b\n1,2\n"3,4\n5,6\n', 'Line 3: a quote is opened here and never closed.'),
        (b'a,b\n"3' + b'4\n' * 70_000, 'Line 2: a cell is longer than 131,072 characters'),
        (b'a,b\n"3"x,4\n', 'Line 2: more text follows a closing quote'),
        (b'a,b\r1,2\r', 'Line 1: a carriage return stands alone'),
        (b'\x00' * 100_001, 'Line 1 is longer than 100,000 bytes'),
        (b',' * 200, 'Line 1 has 201 cells; at most 200 are allowed.'),
        (b'\n\n', 'The file is empty: line 1 should name the columns.'),
        (b'a,b\n', 'The file has no rows: after line 1 there is nothing.'),
    ],
)
def test_a_malformed_file_fails_and_leaves_nothing(visitor, files, content, message):
    before = set(files.iterdir())
    page = ended(visitor, upload(visitor, content))
    assert message in page.html.select_one('.pp-message').get_text()
    assert set(files.iterdir()) == before


def test_finished_task_links_to_its_page(visitor):
    page = ended(visitor, upload(visitor, b'a,b\n1,2\n'))
    task_id = page.request.path.rpartition('/')[2]
    status = visitor.get('/progress_status', {'progress_id': task_id}).json
    assert status['result'] == {'url': page.request.path, 'text': 'Look at the rows'}
    assert (status['message'], status['tags']) == ('Rows: 1', ['demo', 'import'])
    assert visitor.get('/').html.select('a[href="/progress_tasks"]')


def test_cancelled_import_leaves_nothing(visitor, wsgi_app, tmp_path):
    path = tmp_path / 'large.csv'
    path.write_bytes(b'a,b\n' + b'1,2\n' * 2_000_000)
    token = visitor.get('/').forms[0]['csrf_token'].value
    with prepare(registry=wsgi_app.registry):
        task = start_task('Import')
    visitor.post('/progress_cancel', {'csrf_token': token, 'progress_id': task.id}, status=303)
    with pytest.raises(TaskCancelled), task:
        import_csv(task, path, tmp_path / 'rows.sqlite')
    assert list(tmp_path.iterdir()) == [path]
    assert visitor.get('/progress_status', {'progress_id': task.id}).json['status'] == 'cancelled'


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({}, 'Please choose a CSV file first.'),
        ({'file': ''}, 'Please choose a CSV file first.'),
        ({'file': 'a,b'}, 'Please choose a CSV file first.'),
        ({'file': Upload('none.csv', b'')}, 'The file none.csv is empty.'),
        (
            {'file': Upload('huge.csv', b'a' * 1_000_001)},
            'The file huge.csv has 1,000,001 bytes, more than 1,000,000.',
        ),
    ],
)
def test_bad_upload_is_answered_on_the_page(visitor, fields, message):
    token = visitor.get('/').forms[0]['csrf_token'].value
    page = visitor.post(
        '/import', {'csrf_token': token, **fields}, upload_files=None, content_type='multipart/form-data', status=400
    )
    assert sentence(page) == message
    assert 'None yet.' in page


@pytest.mark.parametrize('name', ['', 'os', '../../etc', '/', HOSTILE, None])
def test_a_census_of_an_unknown_package_is_refused(visitor, name):
    token = visitor.get('/').forms[2]['csrf_token'].value
    fields = {'csrf_token': token} | ({} if name is None else {'package': name})
    page = visitor.post('/census', fields, status=400)
    assert sentence(page) == 'Please choose one of the packages on the list.'


def test_census(visitor):
    form = visitor.get('/').forms[2]
    form['package'] = 'plaster'
    page = ended(visitor, form.submit(status=303))
    rows = page.html.select('.outcome tbody tr')
    assert 'loaders.py' in [row.th.get_text() for row in rows]
    files = sum(int(row.td.get_text()) for row in rows)
    assert f'Files: {files}' in page


def test_a_census_counts_files_that_do_not_parse(demo_settings, tmp_path):
    configure(demo_settings)
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'good.py').write_text('class A:\n    async def f(self):\n        def g(): ...\n')
    (tmp_path / 'folder' / 'old.py').write_text('print "no"\n')
    (tmp_path / 'latin.py').write_bytes('# coding: latin-1\ndef é(): ...\n'.encode('latin-1'))
    (tmp_path / 'nul.py').write_bytes(b'\0')
    (tmp_path / 'deep.py').write_text('(' * 10_000)
    (tmp_path / 'broken.py').symlink_to('nowhere')
    (tmp_path / 'directory.py').mkdir()
    with start_task('Census') as task:
        result = take_census(task, tmp_path)
        assert (task.current, task.length) == (5, 5)
    assert {key: result[key] for key in result if key != 'parts'} == {
        'files': 5,
        'lines': 8,
        'functions': 3,
        'classes': 1,
        'unparsed': 3,
    }
    assert result['parts'][0] == {
        'name': 'folder',
        'files': 2,
        'lines': 4,
        'functions': 2,
        'classes': 1,
        'unparsed': 1,
    }


def test_hostile_text_is_shown_as_text(visitor):
    content = f'{HOSTILE},b\n{HOSTILE},1\n'.encode()
    page = ended(visitor, upload(visitor, content, name=f'C:\\files/{HOSTILE}\x1b{"x" * 200}.csv'))
    for response in (page, visitor.get('/')):
        assert not response.html.select('main img')
        assert HOSTILE in response.html.get_text()
    assert page.html.h1.get_text() == f'Import of {HOSTILE} {"x" * (99 - len(HOSTILE))}'


def test_find_rows(visitor):
    page = ended(visitor, upload(visitor, b'name,legs\nblack cat,4\nblackbird,2\n"a ""wren""",2\n'))
    form = next(form for form in page.forms.values() if 'words' in form.fields)
    for words, lines in [
        ('black', ['2', '3']),
        ('cat BLACK', ['2']),
        ('"wren', ['4']),
        ('nothing', []),
        ('" OR 1=1 --', []),
        ('_', []),
        ('\0 wren', ['4']),
        ('wren ' * 5000, ['4']),
        ('*', ['2', '3', '4']),
        (' ', ['2', '3', '4']),
    ]:
        form['words'] = words
        found = form.submit().html.select('section tbody tr')
        assert [row.th.get_text() for row in found] == lines, words


def test_long_cells_are_cut(visitor):
    word = 'x' * 50_000
    page = ended(visitor, upload(visitor, f'{word},b\n{word},1\n'.encode()))
    assert len(page.text) < 10_000
    assert [cell.get_text() for cell in page.html.select('section td')] == ['x' * 200 + '…', '1']


def test_work_goes_on_if_the_store_is_down(demo_settings):
    down = {'cache.type': 'ext:database', 'cache.url': 'sqlite:////nowhere/at/all'}
    visitor = open_browser(main({}, **demo_settings | down))
    form = visitor.get('/').forms[2]
    form['package'] = 'plaster'
    page = ended(visitor, form.submit(status=303))
    assert 'Files:' in page
    assert visitor.get('/progress_status', {'progress_id': 'a'}, status=503).headers['Retry-After']


def test_the_index_reads_the_statuses_of_all_bars_at_once(visitor, wsgi_app, files, demo_settings, monkeypatch):
    ended(visitor, upload(visitor, b'a,b\n1,2\n'))
    store = Store(demo_settings['demo.data_dir'])
    with closing(sqlite3.connect(store.data_dir / 'tasks.sqlite')) as db:
        (owner,) = db.execute('SELECT owner FROM task ORDER BY started DESC').fetchone()
    with prepare(registry=wsgi_app.registry):
        for name in ('x', 'y', 'z'):
            store.add(name, owner, 'import', f'Import of {name}')
            init_progress_status(name, owner, f'Import of {name}', length=10, current=3)
        storage = current_store().storage
    reads = []
    read = storage.get_many_serialized
    monkeypatch.setattr(storage, 'get_many_serialized', lambda ids: reads.append(sorted(ids)) or read(ids))
    bars = bars_of(visitor.get('/'))
    assert reads == [['x', 'y', 'z']]
    assert [bars[name]['state'] for name in 'xyz'] == ['running'] * 3


@pytest.mark.parametrize('path', ['/import', '/import-sample', '/census'])
@pytest.mark.parametrize('fields', [{}, {'csrf_token': 'wrong'}])
def test_csrf_token_is_needed(visitor, path, fields):
    visitor.get('/')
    page = visitor.post(path, {'package': 'plaster', **fields}, status=400)
    assert page.html.h1.get_text() == 'This form is out of date'
    assert 'None yet.' in visitor.get('/')


def test_another_visitor_sees_nothing(visitor, wsgi_app):
    page = ended(visitor, upload(visitor, b'secret\n1\n', name='secret.csv'))
    url = page.request.path
    task_id = url.rpartition('/')[2]
    other = TestApp(wsgi_app)
    assert 'secret' not in other.get('/')
    assert other.get(url, status=404).html.h1.get_text() == 'There is no such page'
    assert other.get('/progress_status', {'progress_id': task_id}).json == {'status': 'unknown'}
    assert visitor.get('/progress_status', {'progress_id': task_id}).json['status'] == 'finished'


def test_result_outlives_the_status(visitor, demo_settings):
    page = ended(visitor, upload(visitor, b'a,b\n1,2\n'))
    # An application with the same results, and none of the statuses.
    other = main({}, **demo_settings | {'progress.namespace': 'another'})
    visitor = open_browser(other, cookiejar=visitor.cookiejar)
    progress_id = page.request.path.rpartition('/')[2]
    assert visitor.get('/progress_status', {'progress_id': progress_id}).json == {'status': 'unknown'}
    assert 'Rows: 1' in visitor.get(page.request.path)
    assert 'Rows: 1' in visitor.get('/')


def test_expired_tasks_are_deleted(visitor, demo_settings, files):
    old = ended(visitor, upload(visitor, b'a,b\n1,2\n', name='old.csv'))
    (files / 'left-behind.csv').touch()
    with closing(sqlite3.connect(Path(demo_settings['demo.data_dir'], 'tasks.sqlite'))) as db, db:
        db.execute('UPDATE task SET started = started - 86400')
    for path in files.iterdir():
        os.utime(path, (0, 0))
    new = ended(visitor, upload(visitor, b'a,b\n1,2\n', name='new.csv'))
    titles = [title.get_text() for title in visitor.get('/').html.select('article h3')]
    assert titles == ['Import of new.csv']
    visitor.get(old.request.path, status=404)
    assert list(files.iterdir()) == [rows_of(new, files)]


def test_sample(visitor):
    response = visitor.get('/sample.csv')
    assert response.content_disposition == f'attachment; filename="{FILE_NAME}"'
    rows = list(csv.reader(io.StringIO(response.text)))
    assert len(rows) > 130_000
    assert rows[0][:3] == ['code point', 'name', 'category']
    assert ['U+00BD', 'VULGAR FRACTION ONE HALF', 'No', 'ON', '0', 'A', '0', '', '0.5'] in [row[:9] for row in rows]


@pytest.mark.parametrize(
    ('path', 'status'),
    [
        ('/nothing', 404),
        ('/tasks/unknown', 404),
        ('/import', 404),
        ('/%ff', 400),
        ('/tasks/x%ff', 400),
        ('/?x=%ff', 400),
    ],
)
def test_an_invalid_url_gives_a_client_error(visitor, path, status):
    visitor.get(path, status=status)


@pytest.mark.parametrize(
    ('content_type', 'body'),
    [
        ('application/x-www-form-urlencoded', b'csrf_token=%ff'),
        ('multipart/form-data', b'--x\r\n'),
        ('multipart/form-data; boundary=x', b''),
        ('multipart/form-data; boundary=x', b'--x\r\n\r\n'),
        ('multipart/form-data; boundary=\xff', b'--x\r\n\r\n'),
        (
            'multipart/form-data; boundary=x',
            b'--x\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n\xff\r\n--x--\r\n',
        ),
        ('application/json', b'{}'),
        ('', b'x'),
    ],
)
def test_an_invalid_form_gives_a_client_error(visitor, content_type, body):
    visitor.get('/')
    visitor.request('/import', method='POST', content_type=content_type, body=body, status=400)


def bars_of(page):
    return {bar['progress-id']: bar for bar in page.html.select('pyramid-progress')}


def test_every_state_is_on_a_page(visitor):
    page = visitor.get('/').click(href='/states')
    bars = bars_of(page)
    assert [example.title for example in STATES] == list(BAR)[: len(STATES)], 'all states of the widget'
    assert list(bars) == [example.id for example in (*STATES, *CONTENTS)]
    # These states come from answers to polls; before the first poll the state is another one.
    later = dict.fromkeys(['lost', 'trouble', 'signed-out', 'forbidden'], 'running') | {'unknown': 'waiting'}
    assert {name: bars[name]['state'] for name in BAR if name in bars} == {
        example.title: later.get(example.title, example.title) for example in STATES
    }


@pytest.mark.parametrize(
    ('query', 'direction', 'theme'),
    [
        ('', None, None),
        ('?dir=rtl&theme=dark', 'rtl', ['dark']),
        ('?theme=light', None, ['light']),
        ('?dir=ltr&theme=%22%3E', None, None),
    ],
)
def test_page_of_states_in_other_looks(visitor, query, direction, theme):
    root = visitor.get(f'/states{query}').html.html
    assert (root.get('dir'), root.get('class')) == (direction, theme)


def test_servers_of_the_page_of_states(visitor):
    page = visitor.get('/states')
    bars = bars_of(page)

    def ask(*progress_ids, status=200):
        (src,) = {bars[progress_id]['src'] for progress_id in progress_ids}
        return visitor.get(src, [('progress_id', progress_id) for progress_id in progress_ids], status=status)

    assert ask('failed').json == json.loads(bars['failed']['status'])
    assert ask('running', 'stalled').json == {
        progress_id: json.loads(bars[progress_id]['status']) for progress_id in ('running', 'stalled')
    }
    assert ask('lost', 'unknown').json == {'lost': {'status': 'unknown'}, 'unknown': {'status': 'unknown'}}
    assert ask('trouble', status=503).headers['Retry-After'] == '30'
    ask('signed-out', status=401)
    ask('forbidden', status=403)
    visitor.get(bars['failed']['src'], status=400)
    visitor.get('/progress_status/none', {'progress_id': 'failed'}, status=404)
