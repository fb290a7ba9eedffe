"""What the guides say, and the examples that they contain."""

import configparser
import re
import subprocess
import sys

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from pyramid.config import Configurator
from support.environments import ROOT
from support.examples import EXAMPLES, GUIDES, load
from webtest import TestApp

from pyramid_progress import ProgressError, configure, get_progress_status, list_tasks, start_task, testing
from pyramid_progress.runtime import Runtime

PAGES = ROOT / 'docs' / 'guides'

#: User ids by the visitors in the table of access.md.
VISITORS = {'the owner of the task': 'mary', 'another user': 'john', 'any visitor': '', 'an operator': 'olga'}


def rows(page, head):
    """Return the cells of the table of a page whose first line begins with *head*."""
    (table,) = re.findall(rf'(?m)^\| {re.escape(head)}.*\n\| ?---.*\n((?:\|.*\n)+)', (PAGES / page).read_text())
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]


def ini_blocks():
    """Return the settings in the pages."""
    for path in sorted(PAGES.glob('*.md')):
        for number, block in enumerate(re.findall(r'(?m)^```ini\n(.*?)^```', path.read_text(), re.DOTALL)):
            if not block.startswith('['):
                yield pytest.param(block, id=f'{path.stem}-{number}')


@pytest.mark.parametrize('block', [*ini_blocks()])
def test_the_settings_are_valid(block, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'shop.access', load(GUIDES / 'access.py'))
    monkeypatch.setitem(sys.modules, 'shop', load(GUIDES / 'access.py'))
    parser = configparser.ConfigParser({'here': str(tmp_path)})
    parser.read_string(f'[app:main]\n{block}')
    settings = dict(parser['app:main'])
    assert settings.keys() - {'here'}
    Runtime.from_settings({'cache.regions': 'default, persistent', 'cache.type': 'memory'} | settings)


class TestAccess:
    """The table of who sees, lists, cancels and removes a task."""

    @staticmethod
    def cases():
        rule = None
        for cell, visitor, *answers in rows('access.md', '`progress.access`'):
            rule = cell.replace(' (default)', '').strip('`') or rule
            yield pytest.param(rule, visitor, [answer == 'yes' for answer in answers], id=f'{rule}-{visitor}')

    @pytest.mark.parametrize(('rule', 'visitor', 'expected'), [*cases()])
    def test_a_row(self, make_app, with_policy, rule, visitor, expected):
        access = {'a function': lambda *_: 'returns true' in visitor, 'any': 'auto'}.get(rule, rule)
        settings = {'progress.access': access, 'progress.operator_permission': 'operate'}
        app = make_app(with_policy, **settings)
        (kind,) = [kind for kind in VISITORS if visitor.startswith(kind)]
        user = VISITORS[kind]
        app.extra_environ['HTTP_X_USER'] = user
        app.extra_environ['HTTP_X_PERMISSIONS'] = 'operate' if kind == 'an operator' else ''
        app.extra_environ['HTTP_SEC_FETCH_SITE'] = 'same-origin'
        if not user:
            del app.extra_environ['HTTP_X_USER']
        task = start_task('Work', owner=None if 'no owner' in visitor else 'mary')

        def post(route):
            return app.post_json(f'/{route}', {'progress_id': task.id}, expect_errors=True).status_code == 200

        sees = app.get('/progress_status', {'progress_id': task.id}).json['status'] != 'unknown'
        lists = task.id in app.get('/progress_tasks', headers={'Accept': 'application/json'}).json['tasks']
        cancels = post('progress_cancel')
        task.finish()
        removes = post('progress_remove')
        assert cancels == removes
        assert [sees, lists, cancels] == expected

    @pytest.mark.parametrize(
        ('user', 'tags', 'sees'),
        [('mary', None, True), ('john', None, False), ('john', ['public'], True), (None, ['public'], False)],
    )
    def test_the_rule_of_the_example(self, make_app, with_policy, user, tags, sees):
        app = make_app(with_policy, **{'progress.access': load(GUIDES / 'access.py').may_see})
        task = start_task('Work', owner='mary', tags=tags)
        headers = {'X-User': user} if user else {}
        status = app.get('/progress_status', {'progress_id': task.id}, headers=headers).json['status']
        assert (status == 'running') is sees
        task.finish()


class TestTranslations:
    """Catalogues of an application."""

    @pytest.fixture
    def app(self, make_app, monkeypatch, tmp_path):
        for path in (GUIDES / 'locale').rglob('*.po'):
            compiled = tmp_path / path.relative_to(GUIDES / 'locale').with_suffix('.mo')
            compiled.parent.mkdir(parents=True, exist_ok=True)
            with path.open('rb') as source, compiled.open('wb') as target:
                write_mo(target, read_po(source))
        example = load(GUIDES / 'translated.py')
        monkeypatch.setattr(example, 'LOCALE', tmp_path)

        def configure(config):
            config.include(example)
            config.add_route('export', '/export')
            config.add_view(example.export_view, route_name='export', renderer='json')
            config.add_route('bar', '/bar/{progress_id}')
            config.add_view(
                lambda request: str(request.progress.bar(request.matchdict['progress_id'])),
                route_name='bar',
                renderer='string',
            )

        return make_app(configure, **{'progress.threads': '0'})

    @pytest.mark.parametrize(
        ('locale', 'label', 'message', 'word'),
        [
            ('en', 'Exporting customers', 'All customers are exported', 'Done'),
            ('nl', 'Klanten exporteren', 'Alle klanten zijn geëxporteerd', 'Klaar'),
            ('de', 'Exporting customers', 'All customers are exported', 'Fertig'),
        ],
    )
    def test_words(self, app, locale, label, message, word):
        headers = {'Accept-Language': f'{locale},fr;q=0.9'}
        progress_id = app.get('/export', headers=headers).json['progress_id']
        bar = app.get(f'/bar/{progress_id}', headers=headers).text
        for text in (label, message, word):
            assert f'>{text}<' in bar

    def test_numbers_and_words_that_the_catalogue_does_not_have(self, app):
        task = start_task('Work', length=1234)
        bar = app.get(f'/bar/{task.id}', headers={'Accept-Language': 'nl'}).text
        assert '0 van 1.234' in bar
        task.finish()
        with pytest.raises(ProgressError), start_task('Work') as task:
            raise ProgressError('The disk is full.')
        assert '>Failed<' in app.get(f'/bar/{task.id}', headers={'Accept-Language': 'nl'}).text


def run(path, *arguments, **options):
    """Run a script, and return its exit status and output, without warnings of Pyramid."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', path, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def ini_file(tmp_path):
    """An ini file with a region that processes share; its settings are those of this process as well."""
    path = tmp_path / 'shop.ini'
    path.write_text(
        '[app:main]\nuse = call:pyramid_progress.demo:main\n'
        'cache.regions = default, persistent\ncache.type = sqlite\ncache.data_dir = %(here)s/data\n'
    )
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': f'{tmp_path}/data'}
    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
    return path


class TestScripts:
    """Scripts that feed tasks of an application."""

    def test_processes_share_a_bar(self, ini_file):
        status, output = run(GUIDES / 'pool.py', ini_file)
        assert (status, output.splitlines()[-2:]) == (0, ['30 reports', '10 reports'])
        (task,) = list_tasks()
        assert (task['status'], task['length'], task['parts']) == ('finished', 40, {'ended': 2, 'total': 2})

    def test_a_nightly_job(self, ini_file):
        script = load(GUIDES / 'nightly.py')
        for _ in range(2):  # the second night
            assert run(GUIDES / 'nightly.py', ini_file)[0] == 0
            status = get_progress_status(script.PROGRESS_ID, acknowledge=False)
            assert (status['status'], status['current']) == ('finished', 100)
        with start_task('Reindexing', progress_id=script.PROGRESS_ID):
            status, output = run(GUIDES / 'nightly.py', ini_file)
        assert (status, output) == (1, 'The last run has not ended.\n')


class TestReports:
    """The example with permanent URLs."""

    @pytest.fixture
    def example(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        example = load(GUIDES / 'reports.py')
        monkeypatch.setattr(example.time, 'sleep', lambda seconds: None)
        return example

    def test_a_report(self, example):
        browser = TestApp(example.main())
        page = browser.get('/reports/2026')
        assert 'There is no report.' in page
        form = page.form
        assert form.submit(status=303).location == 'http://localhost/reports/2026'
        testing.wait_for('report:2026')
        assert 'The sales of 2026' in browser.get('/reports/2026')

    def test_work_that_runs_is_not_started_again(self, example):
        browser = TestApp(example.main())
        with start_task('Report', progress_id='report:2026'):
            page = browser.get('/reports/2026')
            assert 'progress-id="report:2026"' in page
            started = get_progress_status('report:2026')['started']
            # The bar has a form as well, for browsers without script.
            list(page.forms.values())[-1].submit(status=303)
            assert get_progress_status('report:2026')['started'] == started


def test_the_recorder():
    celery = pytest.importorskip('celery')
    from pyramid_progress.celery import ProgressTask

    recorder = load(GUIDES / 'recorder.py')
    configure({'cache.regions': 'default, persistent', 'cache.type': 'memory'})
    app = celery.Celery('shop', broker='memory://', set_as_current=False)
    app.conf.task_always_eager = True
    seen = []

    @app.task(base=ProgressTask, bind=True)
    def export(self):
        progress = recorder.ProgressRecorder(self)
        progress.set_progress(1, 4, 'one')
        progress.increment_progress()
        seen.append((self.progress.current, self.progress.length, self.progress.message))
        progress.increment_progress(2, 'all')
        seen.append((self.progress.current, self.progress.length, self.progress.message))

    result = export.apply_async()
    assert seen == [(2, 4, 'one'), (4, 4, 'all')]
    assert testing.wait_for(result.id)['current'] == 4


def test_every_example_is_in_a_page():
    """Files that no page includes, and that belong to no program, are left over."""
    pages = ''.join(path.read_text() for path in (ROOT / 'docs').rglob('*.md'))
    files = [path for path in GUIDES.rglob('*') if path.suffix in ('.py', '.css')]
    files += [EXAMPLES / 'tutorial' / 'app.py', EXAMPLES / 'form' / 'app.py', EXAMPLES / 'spa' / 'app.py']
    assert [path for path in files if str(path.relative_to(ROOT)) not in pages] == []


def test_no_page_has_code_that_is_not_run():
    """Code of Python is included from a file that a test runs, or is a session of Python that a test runs."""
    tested_elsewhere = {'api.md', 'drivers.md', 'migration-pyams.md'}
    for path in PAGES.glob('*.md'):
        if path.name not in tested_elsewhere:
            assert '```python\n' not in path.read_text(), path.name
