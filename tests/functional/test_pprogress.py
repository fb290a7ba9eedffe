"""``pprogress`` in processes of its own, with the ini files, the stores and the terminals that people have."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from datetime import datetime, timedelta, timezone

import pytest
from pyramid.paster import get_appsettings

from pyramid_progress import (
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
)
from pyramid_progress.regions import store
from pyramid_progress.scripts.listing import listing
from pyramid_progress.scripts.pprogress import main
from pyramid_progress.scripts.summary import Summary
from pyramid_progress.storage.record import BEAT

PPROGRESS = (sys.executable, '-m', 'pyramid_progress.scripts.pprogress')

INI = """\
[app:main]
paste.app_factory = shop:main
cache.regions = default, persistent
{cache}

[app:wrong]
paste.app_factory = shop:main
progress.timeout = soon

[app:variable]
paste.app_factory = shop:main
progress.timeout = %(seconds)s
"""

STORES = {
    'sqlite': 'cache.type = sqlite\ncache.data_dir = %(here)s/data',
    'ext:redis': 'cache.type = ext:redis\ncache.url = {url}',
    'memory': 'cache.type = memory',
}


def wait_until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, 'it did not happen in time'
        time.sleep(0.02)
    return result


@pytest.fixture
def start_redis(program, tmp_path):
    """Return a function that starts a Redis server on a port, and returns its process."""
    servers = []

    def start(port):
        command = [program('redis-server'), '--port', str(port), '--bind', '127.0.0.1', '--save', '']
        servers.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL))

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(('127.0.0.1', port)) == 0

        wait_until(listens)
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
        server.wait()


@pytest.fixture
def environment(tmp_path):
    """An environment in which there is the application's module. Nothing calls what is in it."""
    tmp_path.joinpath('shop.py').write_text('def main(global_config, **settings):\n    raise SystemExit("called")\n')
    return os.environ | {'PYTHONPATH': str(tmp_path), 'PYTHONIOENCODING': 'utf-8', 'TERM': 'xterm'}


@pytest.fixture
def make_ini(tmp_path, environment, monkeypatch):
    """Return a function that writes an ini file with such a store, and lets this process use it, as a web server."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(kind, **values):
        path = tmp_path / 'shop.ini'
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
    """Start a task a while ago, and change it."""
    fixed = {name: values.pop(name) for name in ('owner', 'label', 'tags') if name in values}
    init_progress_status(progress_id, **{'owner': None, 'label': 'Task', 'tags': None} | fixed)
    started = datetime.now(timezone.utc) - timedelta(seconds=seconds_ago)
    storage, expire, _ = store()
    storage.amend({progress_id: {'started': f'"{started.isoformat()}"'}}, expire)
    if values:
        set_progress_status(progress_id, **values)


@pytest.mark.parametrize('kind', ['sqlite', 'ext:redis'])
def test_sees_the_tasks_of_another_process(kind, make_ini, pprogress, request, free_port):
    values = {}
    if kind == 'ext:redis':
        port = free_port()
        request.getfixturevalue('start_redis')(port)
        values['url'] = f'redis://127.0.0.1:{port}/0'
    path = make_ini(kind, **values)
    start('customers', label='Importing customers', owner='mary', length=1000, current=450, message='Row 450')
    done = pprogress(path)
    assert (done.returncode, done.stderr) == (0, '')
    assert [row[:5] + row[6:] for row in cells(done.stdout)] == [
        ['ID', 'LABEL', 'OWNER', 'STATUS', 'PROGRESS', 'MESSAGE'],
        ['customer', 'Importing customers', 'mary', 'running', '45% 450/1,000', 'Row 450'],
    ]


HOSTILE = '\x1b]0;owned\x07\x1b[31m\x9b2J[bold red]x[/]\n\u202etxet\u2028\ud800'
HARMLESS = '\ufffd]0;owned\ufffd\ufffd[31m\ufffd2J[bold red]x[/] \ufffdtxet \ufffd'
PERSIAN = '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645'  # the joiner in it belongs there


def test_columns(ini, pprogress):
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
    # The newest first; the ids as far as it takes to tell them apart; no owner.
    assert [row[0] for row in rows] == [*(letter * 9 for letter in 'bcde'), 'import-cu', 'import-co', 'f']
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


def test_only_looks(ini, pprogress):
    start('finished', status='finished', message='Done')
    start('failed', status='failed')
    start('cancelled', status='cancelled')
    assert [row[2] for row in cells(pprogress(ini).stdout)[1:]] == ['finished']
    assert get_running_tasks() == {'finished'}
    assert get_progress_status('finished')['message'] == 'Done'
    done = pprogress(ini)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', 'There are no tasks.\n')


def test_json(ini, pprogress):
    start('first', seconds_ago=2, owner='mary', label='\x1b[31m報', tags=['import', 'daily'], length=2.5, current=1)
    start('second', seconds_ago=1, tags='import', message={'a': [None]})
    storage, expire, _ = store()
    storage.amend({'second': {BEAT: repr(storage.now() - 100)}}, expire)
    statuses = json.loads(pprogress(ini, '--json').stdout)
    assert statuses == [{'id': name} | get_progress_status(name) for name in ('second', 'first')]
    assert statuses[0]['status'] == 'stalled'
    assert json.loads(pprogress(ini, '--json', '--tag', 'daily').stdout) == statuses[1:]


def test_a_terminal_without_such_characters(ini, pprogress, environment):
    start('a', label='Zoë', message='報')
    done = pprogress(ini, env=environment | {'PYTHONIOENCODING': 'ascii'})
    assert (done.returncode, done.stderr) == (0, '')
    assert 'Zo?' in done.stdout


def test_a_region_in_memory(make_ini, pprogress):
    done = pprogress(make_ini('memory'))
    assert (done.returncode, done.stdout) == (0, '')
    assert '(default, persistent)' in done.stderr
    assert 'cannot be seen' in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['nosuch.ini'], 'nosuch.ini will not do: .*No such file'),
        (['shop.ini#nosuch'], "No section 'nosuch'"),
        (['shop.ini#wrong'], "progress.timeout = 'soon': this must be a number"),
        (['shop.ini#variable'], 'seconds'),
        (['shop.ini#variable', 'seconds=later'], "progress.timeout = 'later'"),
        (['shop.ini', 'seconds'], 'seconds'),
        (['shop.py'], 'shop.py will not do'),
        (['logging.ini'], "logging.ini will not do: KeyError.'formatters'"),
        (['shop.ini', '--watch'], '--watch needs a terminal'),
    ],
)
def test_what_will_not_do(arguments, reason, ini, monkeypatch, capsys):
    monkeypatch.chdir(ini.parent)
    ini.with_name('logging.ini').write_text('[loggers]\nkeys = root\n')
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ''
    assert re.search(reason, errors)


def test_a_store_that_does_not_answer(make_ini, pprogress, free_port):
    done = pprogress(make_ini('ext:redis', url=f'redis://127.0.0.1:{free_port()}/0'))
    assert (done.returncode, done.stdout) == (1, '')
    assert 'does not answer' in done.stderr
    assert 'Traceback' not in done.stderr


def test_nobody_reads_on(ini, pprogress):
    for number in range(20):
        start(f'task {number}', message='x' * 10000)
    reader, writer = os.pipe()
    os.close(reader)
    done = pprogress(ini, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, '')


class Terminal:
    """A pseudo-terminal with a program in it."""

    #: Makes the terminal the one that Ctrl-C comes from.
    CONTROL = """if True:
        import fcntl, os, sys, termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.execv(sys.argv[1], sys.argv[1:])
    """

    def __init__(self, command, env, size=(24, 120)):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', *size, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, '-c', self.CONTROL, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )
        os.close(slave)
        self.output = ''

    def press(self, keys):
        os.write(self._master, keys)

    def shows(self, text):
        """Wait until it prints a text from now on."""
        since = len(self.output)
        wait_until(lambda: self._read() and text in self.output[since:], seconds=30)

    def end(self):
        """Wait until the program ends, and return its exit code."""
        while self._read():
            pass
        return self.process.wait(timeout=15)

    def _read(self):
        """Read what there is; return False when the program has ended."""
        if not select.select([self._master], [], [], 0.1)[0]:
            return True
        try:
            self.output += os.read(self._master, 65536).decode(errors='replace')
        except OSError:  # that is how Linux tells of the end
            return False
        return True

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._master)


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


CTRL_C = b'\x03'


def test_watch(ini, watch):
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
    assert terminal.output.rindex('\x1b[?25h') > terminal.output.rindex('\x1b[?25l')  # the cursor is there again
    assert 'Traceback' not in terminal.output


def test_watch_more_than_there_is_room_for(ini, watch):
    for number in range(30):
        start(f'{number}', label=f'Task {number}', seconds_ago=number)
    terminal = watch(ini, size=(10, 80))
    terminal.shows('and 23 more')
    assert 'Task 6' in terminal.output
    assert 'Task 7' not in terminal.output


def test_watch_a_store_that_comes_back(make_ini, watch, start_redis, free_port):
    port = free_port()
    server = start_redis(port)
    path = make_ini('ext:redis', url=f'redis://127.0.0.1:{port}/0')
    start('a', label='Importing customers')
    terminal = watch(path)
    terminal.shows('Importing customers')
    server.kill()
    server.wait()
    terminal.shows('does not answer')
    start_redis(port)
    terminal.shows('There are no tasks.')
    terminal.press(CTRL_C)
    assert terminal.end() == 130


NO_RICH = """
import sys

class Finder:
    def find_spec(name, path, target=None):
        if name == 'rich':
            raise ModuleNotFoundError("No module named 'rich'", name='rich')

sys.meta_path.insert(0, Finder)
"""


def test_without_rich(ini, pprogress, watch):
    ini.with_name('sitecustomize.py').write_text(NO_RICH)
    start('a', label='Importing customers')
    assert 'Importing customers' in pprogress(ini).stdout
    terminal = watch(ini)
    assert terminal.end() == 2
    assert "pip install 'pyramid_progress[terminal]'" in terminal.output
    assert 'Traceback' not in terminal.output
