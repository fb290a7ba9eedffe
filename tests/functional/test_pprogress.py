"""``pprogress`` in processes of its own, with real ini files, stores and terminals."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pyramid.paster import get_appsettings
from support.servers import RedisServer, free_port
from support.terminal import CTRL_C, Terminal

from pyramid_progress import (
    TaskCancelled,
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
    start_task,
)
from pyramid_progress.model.record import HEARTBEAT, RUN, new_run
from pyramid_progress.queries import MAX_RECORDS
from pyramid_progress.runtime import current_store
from pyramid_progress.scripts.listing import listing
from pyramid_progress.scripts.pprogress import main
from pyramid_progress.scripts.summary import Summary

POLLER = Path(__file__).parents[2] / 'static/poller.js'

PPROGRESS = (sys.executable, '-m', 'pyramid_progress.scripts.pprogress')

INI = """\
[app:main]
paste.app_factory = office:main
cache.regions = default, persistent
{cache}

[app:wrong]
paste.app_factory = office:main
progress.timeout = soon

[app:variable]
paste.app_factory = office:main
progress.timeout = %(seconds)s
"""

STORES = {
    'sqlite': 'cache.type = sqlite\ncache.data_dir = %(here)s/data',
    'ext:redis': 'cache.type = ext:redis\ncache.url = {url}',
    'memory': 'cache.type = memory',
}


@pytest.fixture
def redis(program, tmp_path):
    """A Redis server."""
    server = RedisServer(program('redis-server'), tmp_path)
    yield server
    server.stop()


@pytest.fixture
def environment(tmp_path):
    """An environment with the module of the application, whose functions are not called."""
    tmp_path.joinpath('office.py').write_text('def main(global_config, **settings):\n    raise SystemExit("called")\n')
    return os.environ | {'PYTHONPATH': str(tmp_path), 'PYTHONIOENCODING': 'utf-8', 'TERM': 'xterm'}


@pytest.fixture
def make_ini(tmp_path, environment, monkeypatch):
    """Return a function that writes an ini file with a store of a kind, and configures this process with it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(kind, **values):
        path = tmp_path / 'office.ini'
        path.write_text(INI.replace('{cache}', STORES[kind].format(**values)))
        configure(get_appsettings(str(path)))
        return path

    return make


@pytest.fixture
def ini(make_ini):
    return make_ini('sqlite')


@pytest.fixture
def pprogress(environment):
    """Return a function that runs the command to its end."""

    def run(*arguments, **options):
        return subprocess.run(
            [*PPROGRESS, *map(str, arguments)],
            timeout=60,
            encoding='utf-8',
            **{'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'env': environment} | options,
        )

    return run


def cells(output):
    """Return the lines of a table, as lists of cells."""
    return [re.split('  +', line) for line in output.splitlines()]


def start(progress_id, *, seconds_ago=0, **values):
    """Start a task some seconds ago, and change it."""
    fixed = {name: values.pop(name) for name in ('owner', 'label', 'tags') if name in values}
    init_progress_status(progress_id, **{'owner': None, 'label': 'Task', 'tags': None} | fixed)
    started = datetime.now(timezone.utc) - timedelta(seconds=seconds_ago)
    storage, expire, _ = current_store()
    record = storage.get_many([progress_id])[progress_id]
    times = {'started': f'"{started.isoformat()}"', RUN: new_run(started.timestamp())}
    assert storage.start(progress_id, record | times, expire)
    if values:
        set_progress_status(progress_id, **values)


@pytest.mark.parametrize('kind', ['sqlite', 'ext:redis'])
def test_it_lists_the_tasks_of_another_process(kind, make_ini, pprogress, request):
    values = {'url': request.getfixturevalue('redis').url} if kind == 'ext:redis' else {}
    path = make_ini(kind, **values)
    start('customers', label='Importing customers', owner='mary', length=1000, current=450, message='Row 450')
    done = pprogress(path)
    assert (done.returncode, done.stderr) == (0, '')
    assert [row[:5] + row[6:] for row in cells(done.stdout)] == [
        ['ID', 'LABEL', 'OWNER', 'STATUS', 'PROGRESS', 'MESSAGE'],
        ['customers', 'Importing customers', 'mary', 'running', '45% 450/1,000', 'Row 450'],
    ]


HOSTILE = '\x1b]0;owned\x07\x1b[31m\x9b2J[bold red]x[/]\n\u202etxet\u2028\ud800'
HARMLESS = '\ufffd]0;owned\ufffd\ufffd[31m\ufffd2J[bold red]x[/] \ufffdtxet \ufffd'
PERSIAN = '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645'  # with a joiner that Persian needs


def test_the_columns(ini, pprogress):
    start('b' * 32, seconds_ago=1, label='Bytes', length=2.5e6, current=1234567.5, message='x')
    start('c' * 32, seconds_ago=62, label='Counting', current=12345, message='x')
    start('d' * 32, seconds_ago=3700, label='Nothing to do', length=0, message='x')
    start('e' * 32, seconds_ago=2 * 86400 + 3 * 3600, label='Too much', length=29, current=30, message='x')
    start('import-customers', seconds_ago=10**6, label={'de': 'Größe'}, length=100, current=29, message=['x', 1])
    start('import-countries', seconds_ago=2 * 10**6, status='my own', length=3, message=PERSIAN)
    start('f', seconds_ago=3 * 10**6, label=HOSTILE, current=0, message=HOSTILE)
    output = pprogress(ini).stdout
    assert not re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]', output)
    rows = cells(output)[1:]
    # The newest first; no owner.
    assert [row[0] for row in rows] == [
        *(letter * 32 for letter in 'bcde'),
        'import-customers',
        'import-countries',
        'f',
    ]
    assert [row[1:4] + row[5:] for row in rows] == [
        ['Bytes', 'running', '49% 1,234,567.5/2,500,000', 'x'],
        ['Counting', 'running', '12,345', 'x'],
        ['Nothing to do', 'running', '100% 0/0', 'x'],
        ['Too much', 'running', '100% 30/29', 'x'],
        ['{"de": "Größe"}', 'running', '29% 29/100', '["x", 1]'],
        ['Task', 'my own', '0% 0/3', PERSIAN],
        [HARMLESS, 'running', '0', HARMLESS],
    ]
    ages = [row[4] for row in rows]
    assert re.fullmatch(r'\d+s', ages[0])
    assert re.fullmatch(r'1m\d\ds', ages[1])
    assert ages[2:] == ['1h01m', '2d03h', '11d13h', '23d03h', '34d17h']


def test_numbers_and_values_of_any_size(ini, pprogress):
    start('a' * 8, seconds_ago=1, current=10**400, length=10**401)
    start('b' * 8, seconds_ago=2, current=-(10**400), length=1e308)
    start('c' * 8, seconds_ago=3, current=10**15 - 1, length=10**400)
    start('d' * 8, seconds_ago=4, current=1e308, message=[[[10**400]] * 2], tags={'a': 10**400})
    start('e' * 8, seconds_ago=5, current=5, length=-1, label='x' * 10**5, message='y' * 10**6)
    start('f' * 8, seconds_ago=-(10**6), current=0.05, length=-0.0)
    done = pprogress(ini)
    assert (done.returncode, done.stderr) == (0, '')
    rows = {row[0][0]: row for row in cells(done.stdout)[1:]}
    assert {letter: row[3] for letter, row in rows.items()} == {
        'a': '100% 1.00e+400/1.00e+401',
        'b': '0% -1.00e+400/1.00e+308',
        'c': '0% 999,999,999,999,999/1.00e+400',
        'd': '1.00e+308',
        'e': '5/-1',
        'f': '100% 0.1/-0',
    }
    assert (rows['e'][1], rows['f'][4]) == ('x' * 39 + '…', '0s')
    statuses = json.loads(pprogress(ini, '--json', '--tag', 'a').stdout)
    assert statuses[0]['message'] == [[[10**400]] * 2]


#: Status, current and length, and the percentage that a bar shows, by the server, the widget and this command.
PERCENTAGES = [
    ('running', 4, 10, 40),
    ('running', 999, 1000, 99),
    ('running', 0, 0, 100),
    ('running', 0, 10, 0),
    ('running', None, 10, 0),
    ('running', 12, 10, 100),
    ('running', -3, 10, 0),
    ('running', 2.5, 10.0, 25),
    ('running', 4, None, None),
    ('running', None, None, None),
    ('running', 4, -1, None),
    ('finished', 4, 10, 100),
    ('finished', None, None, 100),
    ('finished', 4, -1, 100),
    ('my own', 4, 10, 40),
    ('pending', None, 10, 0),
]


def test_the_percentage_is_the_one_that_the_widget_shows(ini, pprogress, program):
    for number, (status, current, length, _) in enumerate(PERCENTAGES):
        start(f'{number:08}', seconds_ago=number, status=status, current=current, length=length)
    rows = cells(pprogress(ini).stdout)[1:]
    shown = [re.search(r'(\d+)%', ' '.join(row)) for row in rows]
    assert [match and int(match[1]) for match in shown] == [expected for *_, expected in PERCENTAGES]
    script = f"""
        import {{ percentage }} from {json.dumps(POLLER.as_uri())};
        const floor = (percent) => (percent === undefined ? null : Math.floor(percent));
        console.log(JSON.stringify({json.dumps(PERCENTAGES)}.map(
            ([status, current, length]) => floor(percentage({{ status, current, length }})))));
    """
    node = [program('node', 'nodejs'), '--input-type=module', '--eval', script]
    widget = subprocess.run(node, check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(widget.stdout) == [expected for *_, expected in PERCENTAGES]


@pytest.mark.parametrize(
    ('label', 'columns'),
    [
        ('Reports', 7),
        ('報告書', 6),
        ('Zoe\u0308', 3),
        (PERSIAN, 7),
        ('x' * 40, 40),
        ('x' * 41, 40),
        ('報' * 20, 40),
        ('x' + '報' * 20, 40),
        ('報' * 30, 39),
    ],
)
def test_columns_are_as_wide_as_a_terminal_shows_them(label, columns):
    task = Summary('id', label, 'owner', 'running', None, '', '', '')
    head, line, _ = listing([task, task._replace(label='x' * 40)])
    cell = line[head.index('LABEL') : line.index('owner')].rstrip()
    assert line.index('owner') - head.index('OWNER') == len(cell) - columns


def test_it_does_not_acknowledge_an_end(ini, pprogress):
    start('finished', status='finished', message='Done')
    start('failed', status='failed')
    start('cancelled', status='cancelled')
    assert [row[2] for row in cells(pprogress(ini).stdout)[1:]] == ['finished']
    assert get_running_tasks() == {'finished'}
    assert get_progress_status('finished')['message'] == 'Done'
    done = pprogress(ini)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', 'There are no tasks.\n')


def test_json_output(ini, pprogress):
    start('first', seconds_ago=2, owner='mary', label='\x1b[31m報', tags=['import', 'daily'], length=2.5, current=1)
    start('second', seconds_ago=1, tags='import', message={'a': [None]})
    storage, expire, _ = current_store()
    storage.update_active({'second': {HEARTBEAT: repr(storage.now() - 100)}}, expire)
    statuses = json.loads(pprogress(ini, '--json').stdout)
    assert statuses == [{'id': name} | get_progress_status(name) for name in ('second', 'first')]
    assert statuses[0]['status'] == 'stalled'
    assert json.loads(pprogress(ini, '--json', '--tag', 'daily').stdout) == statuses[1:]


def listed(done):
    """Return the ids in the JSON output of a command that has succeeded."""
    assert (done.returncode, done.stderr) == (0, '')
    return [task['id'] for task in json.loads(done.stdout)]


@pytest.fixture
def some(ini):
    """Start tasks of two owners, and end most of them."""
    start('failed', seconds_ago=6, owner='mary', tags=['nightly'], status='failed', message='The disk is full')
    start('cancelled', seconds_ago=5, owner='john', status='cancelled')
    start('finished', seconds_ago=4, owner='mary', tags='nightly', status='finished')
    start('acknowledged', seconds_ago=3, owner='mary', status='finished')
    get_progress_status('acknowledged')
    start('stalled', seconds_ago=2, owner='mary', tags=['nightly'])
    storage, expire, _ = current_store()
    storage.update_active({'stalled': {HEARTBEAT: repr(storage.now() - 100)}}, expire)
    start('running', seconds_ago=1, owner='john', tags=['nightly'])


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ([], ['running', 'stalled', 'finished']),
        (['--all'], ['running', 'stalled', 'acknowledged', 'finished', 'cancelled', 'failed']),
        (['--status', 'failed'], ['failed']),
        (['--status', 'finished'], ['acknowledged', 'finished']),
        (['--status', 'stalled'], ['stalled']),
        (['--status', 'running'], ['running']),
        (['--status', 'paused'], []),
        (['--owner', 'mary'], ['stalled', 'finished']),
        (['--owner', 'john', '--all'], ['running', 'cancelled']),
        (['--owner', 'mary', '--tag', 'nightly', '--all'], ['stalled', 'finished', 'failed']),
        (['--tag', 'nightly'], ['running', 'stalled', 'finished']),
        (['--tag', 'nightly', '--status', 'failed', '--owner', 'mary'], ['failed']),
    ],
)
def test_options_choose_the_tasks(options, expected, ini, some, capsys):
    assert main([str(ini), '--json', *options]) == 0
    output, errors = capsys.readouterr()
    assert ([task['id'] for task in json.loads(output)], errors) == (expected, '')


def test_what_failed_and_why_is_one_line(ini, some, pprogress):
    (row,) = cells(pprogress(ini, '--status', 'failed').stdout)[1:]
    assert (row[0], row[2], row[3], row[-1]) == ('failed', 'mary', 'failed', 'The disk is full')


def test_all_lists_more_tasks_than_one_query_reads(ini, pprogress):
    ids = [f'{number}' for number in range(MAX_RECORDS + 30)]
    for progress_id in ids:
        init_progress_status(progress_id, None, 'Task', ['first' if progress_id == '0' else 'other'])
    assert sorted(listed(pprogress(ini, '--json', '--all'))) == sorted(ids)
    assert listed(pprogress(ini, '--json', '--all', '--tag', 'first')) == ['0']


def test_cancel_asks_a_task_of_another_process_to_stop(ini, pprogress):
    with pytest.raises(TaskCancelled), start_task('Import', progress_id='import') as task:
        done = pprogress(ini, '--cancel', 'import')
        assert (done.returncode, done.stdout, done.stderr) == (0, 'Task import was asked to stop.\n', '')
        for _ in task.track(range(1000)):
            time.sleep(0.01)
    assert get_progress_status('import')['status'] == 'cancelled'
    done = pprogress(ini, '--cancel', 'import')
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr == "pprogress: task 'import' cannot be asked to stop\n"


def test_forget_removes_a_task(ini, pprogress):
    start('import', status='failed')
    done = pprogress(ini, '--forget', 'import')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'Task import was removed.\n', '')
    assert get_progress_status('import') == {'status': 'unknown'}
    assert listed(pprogress(ini, '--json', '--all')) == []
    done = pprogress(ini, '--forget', 'import')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', "pprogress: task 'import' does not exist\n")


@pytest.mark.parametrize('option', ['--cancel', '--forget'])
def test_an_invalid_id_gives_the_reason(option, ini, pprogress):
    done = pprogress(ini, option, 'a\tb')
    assert (done.returncode, done.stdout) == (2, '')
    assert re.fullmatch(r'pprogress: progress_id .*\n', done.stderr)


def test_the_help_names_every_option(pprogress):
    done = pprogress('--help')
    assert (done.returncode, done.stderr) == (0, '')
    for option in ('--watch', '--json', '--all', '--status', '--owner', '--tag', '--cancel ID', '--forget ID'):
        assert option in done.stdout


def test_characters_that_the_terminal_lacks_are_replaced(ini, pprogress, environment):
    start('a', label='Zoë', message='報')
    done = pprogress(ini, env=environment | {'PYTHONIOENCODING': 'ascii'})
    assert (done.returncode, done.stderr) == (0, '')
    assert 'Zo?' in done.stdout


def test_a_region_in_memory_gives_a_warning(make_ini, pprogress):
    done = pprogress(make_ini('memory'))
    assert (done.returncode, done.stdout) == (0, '')
    assert '(default, persistent)' in done.stderr
    assert 'tasks of other processes are not shown' in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['nosuch.ini'], 'cannot use nosuch.ini: .*No such file'),
        (['office.ini#nosuch'], "No section 'nosuch'"),
        (['office.ini#wrong'], "progress.timeout = 'soon': must be a number"),
        (['office.ini#variable'], 'seconds'),
        (['office.ini#variable', 'seconds=later'], "progress.timeout = 'later'"),
        (['office.ini', 'seconds'], 'seconds'),
        (['office.py'], 'cannot use office.py: '),
        (['logging.ini'], "cannot use logging.ini: KeyError.'formatters'"),
        (['office.ini', '--watch'], '--watch needs a terminal'),
    ],
)
def test_an_invalid_argument_or_file_gives_the_reason(arguments, reason, ini, monkeypatch, capsys):
    monkeypatch.chdir(ini.parent)
    ini.with_name('logging.ini').write_text('[loggers]\nkeys = root\n')
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ''
    assert re.search(reason, errors)


def test_a_store_that_is_down_gives_an_error(make_ini, pprogress):
    done = pprogress(make_ini('ext:redis', url=f'redis://127.0.0.1:{free_port()}/0'))
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.startswith('pprogress: cannot read the tasks: ')
    assert 'Traceback' not in done.stderr


def test_a_closed_pipe_is_no_error(ini, pprogress):
    for number in range(20):
        start(f'task {number}', message='x' * 10000)
    reader, writer = os.pipe()
    os.close(reader)
    done = pprogress(ini, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, '')


@pytest.fixture
def watch(environment):
    """Return a function that runs ``pprogress --watch`` in a terminal."""
    terminals = []

    def run(*arguments, **options):
        terminals.append(Terminal([*PPROGRESS, *map(str, arguments), '--watch'], environment, **options))
        return terminals[-1]

    yield run
    for terminal in terminals:
        terminal.close()


def test_watch_shows_changes(ini, watch):
    start('a', label='Importing customers', length=100, current=40)
    terminal = watch(ini, size=(24, 250))
    terminal.shows('40% 40/100')
    set_progress_status('a', current=80, message='Row 80')
    terminal.shows('80% 80/100')
    assert 'Row 80' in terminal.output
    start('b', label=HOSTILE)
    terminal.shows(HARMLESS)
    assert not re.search('\x1b]|\x07|\x9b|\u202e', terminal.output)
    set_progress_status('a', 'failed')
    set_progress_status('b', 'cancelled')
    terminal.shows('There are no tasks.')
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    assert terminal.output.rindex('\x1b[?25h') > terminal.output.rindex('\x1b[?25l')  # the cursor is visible again
    assert 'Traceback' not in terminal.output


def test_watch_cuts_the_list_to_the_height_of_the_terminal(ini, watch):
    for number in range(30):
        start(f'{number}', label=f'Task {number}', seconds_ago=number)
    terminal = watch(ini, size=(10, 80))
    terminal.shows('and 23 more')
    assert 'Task 6' in terminal.output
    assert 'Task 7' not in terminal.output


def test_watch_goes_on_if_the_store_comes_back(make_ini, watch, redis):
    path = make_ini('ext:redis', url=redis.url)
    start('a', label='Importing customers')
    terminal = watch(path)
    terminal.shows('Importing customers')
    redis.stop()
    terminal.shows('Cannot read the tasks')
    redis.start()
    terminal.shows('There are no tasks.')
    terminal.press(CTRL_C)
    assert terminal.end() == 130


def test_watch_shows_ended_tasks_too(ini, some, watch):
    terminal = watch(ini, '--all', size=(24, 200))
    for text in ('cancelled', 'The disk is full'):
        terminal.shows(text)
    start('new', label='The newest one', status='failed')
    terminal.shows('The newest one')
    terminal.press(CTRL_C)
    assert terminal.end() == 130


def test_watch_reads_a_limited_number_of_tasks(ini, watch):
    for number in range(201):
        init_progress_status(f'{number}', None, 'Task', None)
    terminal = watch(ini, size=(10, 80))
    terminal.shows('and more than 193 more')


NO_RICH = """
import sys

class Finder:
    def find_spec(name, path, target=None):
        if name == 'rich':
            raise ModuleNotFoundError("No module named 'rich'", name='rich')

sys.meta_path.insert(0, Finder)
"""


def test_without_rich_only_watch_fails(ini, pprogress, watch):
    ini.with_name('sitecustomize.py').write_text(NO_RICH)
    start('a', label='Importing customers')
    assert 'Importing customers' in pprogress(ini).stdout
    terminal = watch(ini)
    assert terminal.end() == 2
    assert "pip install 'pyramid_progress[terminal]'" in terminal.output
    assert 'Traceback' not in terminal.output
