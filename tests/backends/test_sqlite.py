"""What is special about the region type `sqlite`; what all region types have in common is tested elsewhere."""

import multiprocessing
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread, Timer
from types import SimpleNamespace

import pytest
from beaker.cache import cache_regions
from pyramid.exceptions import ConfigurationError

from pyramid_progress import (
    StorageError,
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
)
from pyramid_progress.beaker_sqlite import database
from pyramid_progress.beaker_sqlite.database import FILE_NAME, Database, Schema
from pyramid_progress.model import record as rules
from pyramid_progress.storage import sqlite
from pyramid_progress.storage.sqlite import SqliteStorage
from pyramid_progress.storage.sqlite_schema import SCHEMA

RUNNING = {'status': '"running"', 'owner': '"ann"', 'started': '"now"'}

RUN = '"1000000000000-00000000"'

#: The record of a task with eight parts.
TASK = RUNNING | {'message': 'null', 'length': '8', 'current': '0', rules.RUN: RUN, '_parts': '8', '_ended': '0'}


@pytest.fixture
def file(directory):
    return directory / 'data' / FILE_NAME


@pytest.fixture
def use(file):
    """Return a function that puts both regions into the file."""

    def use(**settings):
        for name in ('default', 'persistent'):
            cache_regions[name] = {'type': 'sqlite', 'data_dir': str(file.parent), 'expire': 999999}
        configure({f'progress.{name}': str(value) for name, value in settings.items()})

    return use


@pytest.fixture
def open_storage(file):
    """Return a function that opens the file as another process would."""
    storages = []

    def open_storage(namespace='test', timeout=1.0):
        storages.append(SqliteStorage({'data_dir': str(file.parent)}, namespace, timeout))
        return storages[-1]

    yield open_storage
    for storage in storages:
        storage.close()


@pytest.fixture
def trace(monkeypatch):
    """Return a function that passes every statement of the connections that are opened from now on to another one."""
    connect = sqlite3.connect

    def trace(function):
        def traced(*args, **options):
            connection = connect(*args, **options)
            connection.set_trace_callback(function)
            return connection

        monkeypatch.setattr(sqlite3, 'connect', traced)

    return trace


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock of the driver: ``clock.now`` is what it shows."""
    clock = SimpleNamespace(now=1e9)
    monkeypatch.setattr(sqlite, 'time', SimpleNamespace(time=lambda: clock.now))
    return clock


def ask(file, question, *parameters):
    """Return the rows that a question to the file returns through another connection."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(question, parameters).fetchall()


def count(file):
    return ask(file, 'SELECT count(*) FROM progress')[0][0]


def open_files():
    """Return what the descriptors of this process are of."""
    return [path.readlink() for path in Path('/proc/self/fd').iterdir() if path.is_symlink()]


class TestTwoWriters:
    """Two processes that write to the same task: none trusts what it remembers of it."""

    @pytest.fixture(autouse=True)
    def _writers(self, open_storage, clock):
        self.one, self.other = open_storage(), open_storage()
        assert self.one.start('job', RUNNING, 60)

    def test_a_change_of_one_does_not_lose_the_other_s(self):
        self.one.update('job', {'status': '"running"', 'current': '1'}, 60)
        self.other.update('job', {'status': '"running"', 'length': '9'}, 60)
        self.one.update('job', {'status': '"running"', 'message': '"a"'}, 60)
        changes = {'status': '"running"', 'current': '1', 'length': '9', 'message': '"a"'}
        assert self.other.get_many(['job']) == {'job': RUNNING | changes}

    def test_what_the_other_has_taken_stays_as_it_is(self):
        self.one.update('job', {'status': '"finished"'}, 60)
        assert self.other.acknowledge('job', 60)
        self.one.update('job', {'status': '"running"'}, 60)
        assert self.other.get_many(['job'])['job'] == RUNNING | {
            'status': '"finished"',
            'message': 'null',
            rules.ACKNOWLEDGED: 'true',
        }
        assert not self.one.acknowledge('job', 60)

    def test_what_the_other_has_started_anew_changes_again(self):
        self.one.update('job', {'status': '"finished"'}, 60)
        assert self.one.acknowledge('job', 60)
        assert self.other.start('job', RUNNING, 60)
        self.one.update('job', {'status': '"running"', 'current': '1'}, 60)
        assert self.other.get_many(['job'])['job']['current'] == '1'
        assert self.other.running_ids() == {'job'}

    def test_what_the_other_has_removed_is_begun_with_the_changes_alone(self):
        self.other.delete('job')
        self.one.update('job', {'status': '"running"'}, 60)
        assert 'owner' not in self.other.get_many(['job'])['job']

    def test_what_the_other_keeps_alive_is_not_forgotten(self, clock):
        """Its text is the same as before, so that only the expiry of the row differs."""
        self.one.update('job', {'status': '"running"'}, 10)
        self.other.update('job', {'status': '"running"'}, 60)
        clock.now += 11
        self.one.update('job', {'status': '"running"'}, 60)
        assert self.other.get_many(['job'])['job']['owner'] == '"ann"'

    def test_what_the_other_lets_end_is_begun_anew(self, clock):
        self.one.update('job', {'status': '"running"'}, 60)
        self.other.update('job', {'status': '"running"'}, 10)
        clock.now += 11
        self.one.update('job', {'status': '"running"'}, 60)
        assert 'owner' not in self.other.get_many(['job'])['job']

    def test_what_the_caller_does_to_a_record_afterwards_does_not_matter(self):
        record = RUNNING | {'label': '"a"'}
        self.one.start('other', record, 60)
        record['label'] = '"b"'
        self.one.update('other', {'status': '"running"'}, 60)
        assert self.one.get_many(['other'])['other']['label'] == '"a"'
        self.one.get_many(['other'])['other']['label'] = '"c"'
        self.one.update('other', {'status': '"running"'}, 60)
        assert self.one.get_many(['other'])['other']['label'] == '"a"'


def test_many_ids_are_read_in_portions(open_storage):
    storage = open_storage()
    ids = [f'job {number}' for number in range(1500)]  # more than the 999 parameters of an old SQLite
    for progress_id in ids[::500]:
        storage.start(progress_id, RUNNING, 60)
    assert set(storage.get_many(ids)) == set(ids[::500])


def test_applications_that_share_a_file_do_not_meet(open_storage):
    mine, theirs = open_storage('mine'), open_storage('theirs')
    mine.start('job', RUNNING, 60)
    assert theirs.start('job', RUNNING | {'owner': '"bob"'}, 60)
    theirs.delete('job')
    assert mine.running_ids() == {'job'}
    assert theirs.running_ids() == set()


def test_two_regions_in_one_file(file, directory):
    """They differ in something, so that they count as two places."""
    configure({})
    for name in ('default', 'persistent'):
        cache_regions[name] = {'type': 'sqlite', 'data_dir': str(file.parent), 'lock_dir': str(directory / name)}
    init_progress_status('job', 'ann', 'Import')
    assert get_running_tasks() == {'job'}
    set_progress_status('job', 'finished')
    assert get_progress_status('job')['status'] == 'finished'
    assert get_running_tasks() == set()


class TestExpiry:
    def test_a_start_deletes_what_has_ended(self, open_storage, file, clock):
        storage = open_storage()
        for number in range(2500):
            storage.start(f'short {number}', RUNNING, 60)
        storage.start('long', RUNNING, 9999)
        clock.now += 61
        storage.start('new', RUNNING, 60)
        assert count(file) == 1502
        storage.start('newer', RUNNING, 60)
        storage.start('newest', RUNNING, 60)
        assert count(file) == 4

    def test_a_task_whose_expiry_was_postponed_is_checked_once(self, open_storage, file, clock):
        """The time of the next check is not postponed with the expiry, but when it has come."""
        storage = open_storage()
        storage.start('job', RUNNING, 10)
        storage.update('job', {'status': '"running"'}, 60)
        assert ask(file, 'SELECT due - ? FROM progress', clock.now) == [(10,)]
        clock.now += 11
        storage.start('other', RUNNING, 60)
        assert ask(file, "SELECT due - ? FROM progress WHERE key = 'job'", clock.now) == [(49,)]

    def test_a_taken_task_goes_when_it_no_longer_lingers(self, open_storage, file):
        storage = open_storage()
        storage.start('job', RUNNING, 60)
        storage.update('job', {'status': '"finished"'}, 60)
        storage.acknowledge('job', 0)
        storage.start('other', RUNNING, 60)
        assert count(file) == 1

    def test_a_clock_that_was_put_back(self, open_storage, file, clock):
        storage = open_storage()
        storage.start('job', RUNNING, 60)
        clock.now -= 1e6
        storage.start('other', RUNNING, 60)
        assert ask(file, 'SELECT expires - ?, due - ? FROM progress', clock.now, clock.now) == [(60, 60)] * 2

    def test_rows_whose_ids_change(self, open_storage, file):
        """As VACUUM may change them. A row id that the driver remembers is then that of another task."""
        storage = open_storage()
        for name in 'bc':
            storage.start(name, RUNNING | {'current': '0'}, 60)
        (before,) = ask(file, "SELECT rowid FROM progress WHERE key = 'c'")[0]
        with closing(sqlite3.connect(file)) as connection, connection:
            for name, rowid in (('c', 100), ('b', before)):
                connection.execute('UPDATE progress SET rowid = ? WHERE key = ?', (rowid, name))
        storage.update('c', {'status': '"running"', 'current': '1'}, 60)
        assert {name: record['current'] for name, record in storage.get_many('bc').items()} == {'b': '0', 'c': '1'}
        storage.update_active({'b': {'current': '2'}}, 60)
        assert {name: record['current'] for name, record in storage.get_many('bc').items()} == {'b': '2', 'c': '1'}

    def test_a_task_that_starts_again_after_it_expired(self, open_storage, file, clock):
        """Its row is used again, and SQLite returns the id of the row that was inserted before."""
        storage = open_storage()
        storage.start('a', RUNNING | {'message': '"a"'}, 1)
        storage.start('b', RUNNING | {'message': '"b"'}, 60)
        clock.now += 1  # not long enough for a search for expired rows
        storage._swept = clock.now
        storage.start('a', RUNNING | {'message': '"again"'}, 60)
        storage.update('a', {'status': '"running"', 'current': '1'}, 60)
        storage.update('b', {'status': '"running"', 'current': '2'}, 60)
        messages = {name: (its['message'], its['current']) for name, its in storage.get_many('ab').items()}
        assert messages == {'a': ('"again"', '1'), 'b': ('"b"', '2')}
        assert count(file) == 2

    def test_no_statement_searches_the_whole_table(self, open_storage, file, clock, trace):
        storage = open_storage()
        statements = set()
        trace(statements.add)
        storage.start('old', RUNNING, 0)
        clock.now += 2  # so that it is time to look for expired rows again
        storage.start('job', TASK, 60)
        storage.start('job', TASK, 5)
        storage.update('job', {'status': '"failed"'}, 60)
        storage.update('job', {'status': '"running"'}, 60)
        storage.update_active({'job': {'current': '1'}}, 60)
        storage.start_part('job', 0, task_run=RUN, part_run='"1"', heartbeat='0', expire=60)
        storage.update_part('job', 0, {'current': '2'}, task_run=RUN, part_run='"1"', expire=60)
        storage.get_many(['job', 'other'])
        storage.running_ids()
        storage.list_entries(rules.ALL_KEYS, 10)
        storage.list_entries(['owner:ann'], 10)
        storage.update('job', {'status': '"finished"'}, 60)
        storage.acknowledge('job', 60)
        storage.update('other', {'status': '"finished"'}, 60)
        storage.acknowledge('other', 0)
        storage.delete('job')
        statements = {text for text in statements if text.split()[0] in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')}
        assert len(statements) > 20
        indexes = set()
        for text in statements:
            for *_, step in ask(file, f'EXPLAIN QUERY PLAN {text}'):
                assert not re.match('SCAN (TABLE )?progress', step), text
                indexes.update(re.findall(r'INDEX (\w+)', step))
        assert indexes >= {'progress_due', 'progress_owner', 'progress_ended', 'progress_listed'}

    def test_an_update_that_moves_a_task_in_no_index_touches_none(self, open_storage, file, trace):
        """Nor does that of a part."""
        storage = open_storage()
        statements = []
        trace(statements.append)

        def updated_indexes(change, *args, **options):
            statements.clear()
            change('job', *args, expire=60, **options)
            (statement,) = [text for text in statements if text.startswith('UPDATE progress ')]
            # The cursors that the bytecode writes through, apart from the table's.
            root = {page: name for name, page in ask(file, 'SELECT name, rootpage FROM sqlite_master')}
            steps = ask(file, f'EXPLAIN {statement}')
            cursors = {step[2]: root.get(step[3]) for step in steps if step[1] == 'OpenWrite'}
            return {cursors[step[2]] for step in steps if step[1] == 'IdxInsert'}

        storage.start('job', TASK, 60)
        part = {'task_run': RUN, 'part_run': '"1"'}
        assert updated_indexes(storage.update, {'current': '1'}) == set()
        assert updated_indexes(storage.start_part, 0, heartbeat='0', **part) == set()
        assert updated_indexes(storage.update_part, 0, {'current': '1'}, **part) == set()
        assert updated_indexes(storage.update, {'status': '"failed"'}) == {
            'progress_due', 'progress_owner', 'progress_ended', 'progress_listed',
        }  # fmt: skip


class TestParts:
    @pytest.fixture
    def storage(self, open_storage):
        storage = open_storage(timeout=5)
        assert storage.start('job', TASK, 60)
        assert storage.start_part('job', 0, task_run=RUN, part_run='"1"', heartbeat='0', expire=60) == 0
        return storage

    @staticmethod
    def parts(file):
        return ask(file, 'SELECT key, number FROM progress_parts')

    def test_they_are_deleted_with_their_task(self, storage, file):
        assert self.parts(file) == [('job', 0)]
        assert storage.delete('job')
        assert self.parts(file) == []

    def test_they_are_deleted_when_it_starts_anew(self, storage, file):
        assert storage.start('job', TASK, 60)
        assert self.parts(file) == []

    def test_they_are_deleted_when_it_starts_anew_after_it_expired(self, storage, file, clock):
        clock.now = time.time() + 61
        assert storage.start('job', TASK, 60)
        assert self.parts(file) == []

    def test_they_are_deleted_when_it_expires(self, storage, file, clock):
        clock.now = time.time() + 61
        storage.start('other', RUNNING, 60)
        assert self.parts(file) == []

    def test_they_stay_when_it_ends(self, storage, file):
        storage.update('job', {'status': '"finished"'}, 60)
        assert storage.acknowledge('job', 60)
        assert self.parts(file) == [('job', 0)]

    def test_eight_processes_add_up_to_one_record(self, storage, forked):
        """Each moves a part of its own 200 times, starts it again in between, and ends it."""

        def work(number):
            for run in ('"1"', '"2"'):
                storage.start_part('job', number, task_run=RUN, part_run=run, heartbeat='0', expire=60)
                for current in range(1, 201):
                    changes = {'current': str(current)}
                    assert storage.update_part('job', number, changes, task_run=RUN, part_run=run, expire=60) == 0
            storage.update_part('job', number, {'status': '"finished"'}, task_run=RUN, part_run='"2"', expire=60)

        with ExitStack() as stack:
            processes = [stack.enter_context(forked(partial(work, number))) for number in range(8)]
            assert [process.exit_status(30) for process in processes] == [0] * 8
        record = storage.get_many(['job'])['job']
        assert (record['status'], record['current'], record['_ended']) == ('"finished"', '1600', '8')

    def test_a_killed_worker_has_changed_the_part_and_its_task_or_neither(self, storage, forked, file, wait_until):
        def work():
            for number in range(10**6):
                storage.update_part('job', 0, {'current': str(number)}, task_run=RUN, part_run='"1"', expire=60)

        def current():
            [(task, part)] = ask(
                file,
                'SELECT progress.record, part.record FROM progress JOIN progress_parts AS part USING (namespace, key)',
            )
            task_current, part_current = rules.load(task)['current'], rules.load(part)['current']
            assert task_current == part_current
            return int(task_current)

        for kill in range(12):
            storage.update_part('job', 0, {'current': '0'}, task_run=RUN, part_run='"1"', expire=60)
            with forked(work) as child:
                wait_until(lambda: current() > 1, 5, 'the child does nothing')
                time.sleep(kill / 10000)
                child.kill()
                assert child.exit_status() == -signal.SIGKILL
            assert current() > 1
        assert ask(file, 'PRAGMA integrity_check') == [('ok',)]


class TestReaders:
    def test_a_poll_does_not_wait_for_a_list(self, open_storage, trace):
        storage = open_storage()
        inside, go_on = Event(), Event()

        def hold_up_a_list(statement):
            if 'ORDER BY start' in statement and not inside.is_set():
                inside.set()
                go_on.wait(10)

        trace(hold_up_a_list)
        storage.start('job', TASK, 60)
        thread = Thread(target=storage.list_entries, args=(['running'], 9))
        thread.start()
        try:
            assert inside.wait(5)
            start = time.monotonic()
            assert set(storage.get_many(['job'])) == {'job'}
            assert storage.running_ids() == {'job'}
            assert [entry.progress_id for entry in storage.list_entries(['running'], 9)] == ['job']
            assert time.monotonic() - start < 0.5
        finally:
            go_on.set()
            thread.join(10)

    def test_more_threads_than_connections_read_at_the_same_time(self, open_storage):
        storage = open_storage()
        for number in range(300):
            storage.start(f'job {number}', TASK, 60)
        results = []

        def read():
            for _turn in range(20):
                entries = storage.list_entries(rules.ALL_KEYS, 200)
                results.append((len(storage.running_ids()), len(entries), *storage.get_many(['job 7'])))

        threads = [Thread(target=read) for _number in range(3 * sqlite.READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [(300, 200, 'job 7')] * 60 * sqlite.READERS


class TestConnections:
    def test_threads_leave_no_more_than_there_are_readers(self, use, file):
        use()

        def work():
            init_progress_status('job', None, 'Work')
            get_progress_status('job')

        threads = [Thread(target=work) for _number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 2 <= open_files().count(file) <= 1 + sqlite.READERS

    def test_closing_leaves_the_database_and_its_lock_file(self, open_storage, file):
        storage = open_storage()
        storage.start('job', RUNNING, 60)
        assert storage.running_ids() == {'job'}
        own = {FILE_NAME, f'{FILE_NAME}.lock'}
        names = {path.name for path in file.parent.iterdir()}
        assert names == own | {f'{FILE_NAME}-wal', f'{FILE_NAME}-shm'}
        storage.close()
        storage.close()
        assert {path.name for path in file.parent.iterdir()} == own

    def test_a_storage_that_is_dropped_closes_its_files(self, open_storage, file):
        storage = SqliteStorage({'data_dir': str(file.parent)}, 'test', 1)
        storage.start('job', RUNNING, 60)
        assert file in open_files()
        del storage
        assert file not in open_files()

    @pytest.mark.skipif(sys.version_info < (3, 13), reason='earlier Pythons say nothing')
    def test_none_is_left_open_at_the_end(self, file):
        program = (
            'from pyramid_progress.storage.sqlite import SqliteStorage\n'
            f'storage = SqliteStorage({{"data_dir": {str(file.parent)!r}}}, "test", 1)\n'
            f'storage.start("job", {RUNNING!r}, 60)\n'
            'storage.running_ids()\n'
        )
        command = [sys.executable, '-W', 'always::ResourceWarning', '-c', program]
        assert 'unclosed' not in subprocess.run(command, check=True, capture_output=True, text=True).stderr

    def test_processes_that_make_the_file_at_the_same_time(self, directory):
        context = multiprocessing.get_context('fork')
        for number in range(5):
            barrier = context.Barrier(6)
            path = directory / str(number)
            processes = [context.Process(target=_open_and_start, args=(barrier, path, each)) for each in range(6)]
            for process in processes:
                process.start()
            for process in processes:
                process.join(20)
                assert process.exitcode == 0
            assert count(path / FILE_NAME) == 6


def _open_and_start(barrier, path, number):
    barrier.wait(10)
    storage = SqliteStorage({'data_dir': str(path)}, 'test', 5)
    storage.start(f'job {number}', RUNNING, 60)
    storage.close()


class TestForks:
    def test_the_parent_s_end_takes_nothing_from_the_child(self, open_storage, forked, file):
        """Closing its last connection, a process removes the log: the child's must be known to be another's."""
        storage = open_storage()
        storage.start('parent', RUNNING, 60)
        reader, writer = os.pipe()
        child_s_reader, child_s_writer = os.pipe()

        def child():
            storage.start('before', RUNNING, 60)
            os.write(child_s_writer, b'.')
            os.read(reader, 1)
            storage.start('after', RUNNING, 60)

        with forked(child) as process:
            os.read(child_s_reader, 1)
            storage.close()
            os.write(writer, b'.')
            assert process.exit_status() == 0
        for descriptor in (reader, writer, child_s_reader, child_s_writer):
            os.close(descriptor)
        assert storage.running_ids() == {'parent', 'before', 'after'}
        assert ask(file, 'PRAGMA integrity_check') == [('ok',)]

    def test_the_child_has_no_file_of_the_parent_s_open(self, open_storage, forked, file):
        storage = open_storage()
        storage.start('job', RUNNING, 60)
        storage.running_ids()

        def child():
            assert not [path for path in open_files() if path.is_relative_to(file.parent)]
            assert storage.running_ids() == {'job'}

        with forked(child) as process:
            assert process.exit_status() == 0

    def test_threads_that_fork_at_the_same_time(self, open_storage, forked):
        storage = open_storage()
        statuses = []

        def fork():
            for _fork in range(5):
                with forked(storage.running_ids) as process:
                    statuses.append(process.exit_status())
                storage.start('job', RUNNING, 60)

        threads = [Thread(target=fork, daemon=True) for _number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert statuses == [0] * 15


def test_a_killed_writer_has_changed_all_or_nothing(open_storage, forked, file, wait_until):
    ids = [f'job {number}' for number in range(20)]
    storage = open_storage()
    for progress_id in ids:
        storage.start(progress_id, RUNNING, 60)

    def amend():
        number = 0
        while True:
            number += 1
            storage.update_active({progress_id: {'current': str(number)} for progress_id in ids}, 60)

    def current():
        """Return what they all say."""
        [current] = {record.get('current') for record in storage.get_many(ids).values()}
        return current

    for kill in range(12):
        storage.update_active({progress_id: {'current': '0'} for progress_id in ids}, 60)
        with forked(amend) as child:
            wait_until(lambda: current() != '0', 5, 'the child does nothing')
            time.sleep(kill / 10000)
            child.kill()
            assert child.exit_status() == -signal.SIGKILL
        start = time.monotonic()
        assert current() != '0'
        storage.update(ids[0], {'status': '"running"'}, 60)
        assert time.monotonic() - start < 1
    assert ask(file, 'PRAGMA integrity_check') == [('ok',)]


def test_eight_processes_that_keep_writing_all_get_their_turn(use, forked):
    """None is passed over for as long as the timeout."""
    use()

    def child(number):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            set_progress_status(f'job {number}', message=str(end))

    with ExitStack() as stack:
        processes = [stack.enter_context(forked(partial(child, number))) for number in range(8)]
        assert [process.exit_status() for process in processes] == [0] * 8


class TestLocked:
    """Another program has begun to write, and does not end."""

    @pytest.fixture
    def lock(self, file):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute('BEGIN IMMEDIATE')
            yield connection

    def test_writers_wait_until_the_timeout_and_readers_not_at_all(self, use, file, request):
        use(timeout=0.4)
        init_progress_status('job', 'ann', 'Import')
        lock = request.getfixturevalue('lock')
        errors = []

        def write():
            start = time.monotonic()
            try:
                set_progress_status('job')
            except StorageError as error:
                errors.append((error, time.monotonic() - start))

        writer = Thread(target=write)
        writer.start()
        reads = 0
        while writer.is_alive():
            assert get_progress_status('job')['status'] == 'running'
            assert get_running_tasks() == {'job'}
            reads += 1
        assert reads > 10
        [(error, took)] = errors
        assert str(error) == f'{file}: database is locked'
        assert isinstance(error.__cause__, sqlite3.OperationalError)
        assert 0.4 <= took < 0.9
        lock.execute('COMMIT')
        set_progress_status('job', message='later')
        assert get_progress_status('job')['message'] == 'later'

    def test_threads_do_not_wait_longer_one_after_the_other(self, use, request):
        use(timeout=0.3)
        request.getfixturevalue('lock')
        took = []

        def write():
            start = time.monotonic()
            with pytest.raises(StorageError):
                set_progress_status('job')
            took.append(time.monotonic() - start)

        threads = [Thread(target=write) for _number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(took) == 5
        assert max(took) < 0.9

    def test_an_application_may_start(self, use, file):
        use()
        init_progress_status('job', 'ann', 'Import')
        configure({})
        with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as connection:
            connection.execute('PRAGMA journal_mode = DELETE')
            connection.execute('BEGIN EXCLUSIVE')
            use(timeout=0.1)
            with pytest.raises(StorageError, match='locked'):
                get_running_tasks()
            use(timeout=5)
            timer = Timer(0.2, connection.execute, ['COMMIT'])
            timer.start()
            assert get_running_tasks() == {'job'}
            timer.join()


class TestInvalidFiles:
    """What can be known at the start is said at the start, with the name of the file."""

    @pytest.mark.parametrize(
        'damage',
        [
            lambda file: file.write_bytes(b'garbage' * 1000),
            lambda file: os.truncate(file, file.stat().st_size // 2),
            lambda file: os.truncate(file, 50),
            lambda file: (file.unlink(), file.mkdir()),
            lambda file: (shutil.rmtree(file.parent), file.parent.write_text('in the way')),
        ],
        ids=['garbage', 'half', 'less than a header', 'a directory', 'no directory'],
    )
    def test_at_the_start(self, use, file, damage):
        use()
        init_progress_status('job', 'ann', 'Import')
        cache_regions['persistent'] = cache_regions['default'] = {'type': 'memory'}
        configure({})  # and everything is closed
        damage(file)
        with pytest.raises(ConfigurationError, match=str(file)):
            use()

    def test_one_that_is_overwritten_later(self, use, file, wait_until):
        use()
        init_progress_status('job', 'ann', 'Import')
        garbage = file.with_name('garbage')
        garbage.write_bytes(b'garbage' * 1000)
        garbage.rename(file)

        def fails():
            try:
                get_progress_status('job')
            except StorageError as error:
                return isinstance(error.__cause__, sqlite3.DatabaseError) and str(file) in str(error)

        wait_until(fails, 5, 'it is not noticed')
        file.unlink()
        wait_until(lambda: get_running_tasks() == set(), 5, 'it does not come again')

    @pytest.mark.parametrize(('file_mode', 'directory_mode'), [(0o444, 0o777), (0o666, 0o555), (None, 0o555)])
    def test_one_that_belongs_to_another_user(self, use, file, directory, forked, file_mode, directory_mode):
        use()
        if file_mode is None:
            file.unlink()
        else:
            file.chmod(file_mode)
        directory.chmod(0o755)
        file.parent.chmod(directory_mode)

        def child():
            if os.getuid() == 0:
                os.setuid(65534)
            with pytest.raises(ConfigurationError, match=str(file.parent)):
                use()

        with forked(child) as process:
            assert process.exit_status() == 0
        file.parent.chmod(0o755)

    def test_no_data_dir(self):
        cache_regions['default'] = cache_regions['persistent'] = {'type': 'sqlite', 'data_dir': None}
        with pytest.raises(ConfigurationError, match='data_dir'):
            configure({})


class TestFullDisk:
    """A process that may write no longer files is as badly off as one on a full disk."""

    @staticmethod
    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def test_at_the_start(self, use, file, forked):
        def child():
            self.limit(100)
            with pytest.raises(ConfigurationError, match=str(file)):
                use()

        with forked(child) as process:
            assert process.exit_status() == 0

    def test_later(self, use, forked):
        def child():
            use()
            init_progress_status('job', 'ann', 'Import')
            self.limit(100_000)
            with pytest.raises(StorageError, match=FILE_NAME):
                for number in range(1000):
                    init_progress_status(f'job {number}', 'ann', 'Import', tags=['x' * 1000])
            assert 'job' in get_running_tasks()
            assert get_progress_status('job')['label'] == 'Import'
            with pytest.raises(StorageError, match=FILE_NAME):
                init_progress_status('large', 'ann', 'Import', tags=['x' * 100_000])
            self.limit(resource.RLIM_INFINITY)
            set_progress_status('job', message='there is room again')
            assert get_progress_status('job')['message'] == 'there is room again'

        with forked(child) as process:
            assert process.exit_status() == 0


class TestReadOnly:
    """File systems that cannot be written, in mount namespaces of child processes."""

    @pytest.fixture
    def in_mount(self, program, directory):
        """Return a function that runs a program in a new mount namespace after a mount command."""
        if os.getuid() != 0:
            pytest.skip('only root can mount file systems')
        unshare = program('unshare')
        if subprocess.run([unshare, '-m', 'true'], check=False, capture_output=True).returncode:
            pytest.skip('this system permits no mount namespaces')

        def in_mount(commands, source):
            script = f'set -e; {commands}; exec "$0" -c "$1"'
            command = [unshare, '-m', 'sh', '-c', script, sys.executable, textwrap.dedent(source)]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

        return in_mount

    #: Reads all there is to read, and fails to write.
    READ = """
        from pyramid_progress.storage import StorageError
        from pyramid_progress.storage.sqlite import SqliteStorage

        def read():
            assert set(storage.get_many(['job', 'other'])) == {'job', 'other'}
            assert storage.running_ids() == {'job', 'other'}
            assert len(storage.list_entries(['running', 'finished'], 9)) == 2
            assert storage.update_active({'job': {}}, 60) == {'job': 0}

        def cannot_write():
            try:
                storage.update('job', {'status': '"running"', 'message': '"%s"' % ('x' * 100_000)}, 60)
            except StorageError as error:
                print(error)
            else:
                raise AssertionError('it can be written')
    """

    @pytest.mark.parametrize('is_closed', [True, False], ids=['closed', 'open'])
    def test_a_read_only_file_system(self, open_storage, file, in_mount, is_closed):
        storage = open_storage()
        storage.start('job', TASK, 600)
        storage.start('other', TASK, 600)
        if is_closed:
            storage.close()
        mount = f'mount --bind {file.parent} {file.parent}; mount -o remount,ro,bind {file.parent}'
        source = f"""{self.READ}
        storage = SqliteStorage({{'data_dir': {str(file.parent)!r}}}, 'test', 1)
        for turn in range(3):
            read()
            cannot_write()
        """
        result = in_mount(mount, source)
        assert (result.returncode, result.stderr) == (0, '')
        assert 'readonly database' in result.stdout

    @pytest.mark.parametrize('is_closed', [True, False], ids=['closed', 'open'])
    def test_a_full_disk(self, directory, in_mount, is_closed):
        """A new process reads everything; when there is room again, it writes."""
        source = f"""{self.READ}
        import time
        from pathlib import Path
        path = Path({str(directory)!r})
        other = SqliteStorage({{'data_dir': str(path)}}, 'test', 1)
        for name in ('job', 'other'):
            other.start(name, {TASK!r}, 600)
        if {is_closed}:
            other.close()
        with (path / 'filler').open('wb', 0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
        storage = SqliteStorage({{'data_dir': str(path)}}, 'test', 1)
        for turn in range(3):
            read()
            cannot_write()
        (path / 'filler').unlink()
        storage.update('job', {{'status': '"running"', 'message': '"room"'}}, 60)
        assert storage.get_many(['job'])['job']['message'] == '"room"'
        other.update('job', {{'status': '"running"', 'message': '"more"'}}, 60)
        assert storage.get_many(['job'])['job']['message'] == '"more"'
        """
        result = in_mount(f'mount -t tmpfs -o size=1m tmpfs {directory}', source)
        assert (result.returncode, result.stderr) == (0, '')


@pytest.mark.parametrize('remove', [os.unlink, lambda file: shutil.rmtree(file.parent)], ids=['file', 'directory'])
def test_a_file_that_is_deleted_comes_again(use, file, remove, forked, wait_until):
    """And all meet in the new one, though another process has the old one open still."""
    use()
    init_progress_status('job', 'ann', 'Import')
    reader, writer = os.pipe()

    def child():
        set_progress_status('job', message='from the child')
        os.write(writer, b'.')
        wait_until(lambda: get_running_tasks() == {'new'}, 4, 'the child does not notice it')

    with forked(child) as process:
        os.read(reader, 1)
        assert get_running_tasks() == {'job'}
        remove(file)
        wait_until(lambda: set_progress_status('other') or file.exists(), 5, 'it is not made again')
        init_progress_status('new', 'ann', 'Import')
        wait_until(lambda: get_running_tasks() == {'new'}, 5, 'the reader does not notice it')
        assert process.exit_status() == 0
    assert ask(file, 'PRAGMA integrity_check') == [('ok',)]
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize('remove', [os.unlink, lambda file: shutil.rmtree(file.parent)], ids=['file', 'directory'])
def test_a_file_that_is_replaced_while_it_is_opened(open_storage, file, remove, monkeypatch):
    """A connection to the old one would show its contents for ever."""
    first, second = open_storage(), open_storage()
    first.start('old', RUNNING, 60)
    connect = database._connect

    def replace_afterwards(path):
        connection = connect(path)
        connection.execute('SELECT count(*) FROM sqlite_master')
        monkeypatch.undo()
        first.close()
        remove(file)
        first.start('new', RUNNING, 60)
        return connection

    monkeypatch.setattr(database, '_connect', replace_afterwards)
    assert second.running_ids() == {'new'}


class TestDamage:
    """Files that are removed, emptied or replaced while two processes use them."""

    @pytest.fixture
    def echo(self, open_storage, forked):
        """Start a process that repeats what it reads; return a function that waits until it repeats a new text.

        The function returns whether that process knows the task ``old``, and how many seconds it took.
        """
        storage = open_storage()
        storage.start('old', RUNNING, 60)

        def repeat():
            while True:
                with suppress(StorageError):
                    records = storage.get_many(['question', 'old'])
                    message = records.get('question', {}).get('message', 'null')
                    changes = {'status': '"running"', 'message': message, 'current': str(int('old' in records))}
                    storage.update('answer', changes, 60)
                time.sleep(0.02)

        def ask(timeout=2):
            start = time.monotonic()
            text = f'"{start}"'
            while time.monotonic() < start + timeout:
                with suppress(StorageError):
                    storage.update('question', {'status': '"running"', 'message': text}, 60)
                    answer = storage.get_many(['answer']).get('answer', {})
                    if answer.get('message') == text:
                        return answer['current'] == '1', time.monotonic() - start
                time.sleep(0.02)
            raise AssertionError('the processes do not see the same')

        with forked(repeat):
            assert ask(5)[0]
            yield ask

    @pytest.mark.parametrize('ends', [['-wal'], ['-shm'], ['-wal', '-shm']], ids=' '.join)
    def test_a_log_that_is_removed_loses_nothing(self, echo, file, open_storage, ends):
        for end in ends:
            file.with_name(file.name + end).unlink()
        inode = file.stat().st_ino
        time.sleep(1.2)
        assert echo() == (True, pytest.approx(0, abs=2))
        assert file.stat().st_ino != inode
        assert 'old' in open_storage().get_many(['old'])
        assert ask(file, 'PRAGMA integrity_check') == [('ok',)]

    def test_a_process_that_starts_after_the_log_was_removed(self, echo, file, open_storage):
        for end in ('-wal', '-shm'):
            file.with_name(file.name + end).unlink()
        with closing(sqlite3.connect(file)) as connection:
            connection.execute('CREATE TABLE other (key)')
        echo(3)
        assert ask(file, 'PRAGMA integrity_check') == [('ok',)]

    def test_a_file_that_is_emptied_is_created_again(self, echo, file):
        os.truncate(file, 0)
        time.sleep(1.2)
        known, _ = echo()
        assert not known
        assert ask(file, 'PRAGMA integrity_check') == [('ok',)]

    def test_a_file_that_is_replaced_by_a_copy(self, echo, file):
        """The log of the file that was replaced is not applied to the copy."""
        copy = file.with_name('copy')
        with closing(sqlite3.connect(file)) as connection:
            connection.execute('VACUUM INTO ?', (str(copy),))
        with closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute("DELETE FROM progress WHERE key = 'old'")
        copy.replace(file)
        time.sleep(1.2)
        known, _ = echo()
        assert not known
        assert ask(file, 'PRAGMA integrity_check') == [('ok',)]

    def test_a_copy_that_is_written_over_the_file(self, open_storage, file):
        """A connection that has pages of the file in memory reads the copy, as every other one does."""
        storage = open_storage()
        storage.start('job', RUNNING, 60)

        def message():
            return storage.get_many(['job'])['job']['message']

        for text in ('"early"', '"late"'):
            storage.update('job', {'status': '"running"', 'message': text}, 60)
            assert ask(file, 'PRAGMA wal_checkpoint(TRUNCATE)') == [(0, 0, 0)]
            if text == '"early"':
                copy = file.read_bytes()
        assert message() == '"late"'
        file.write_bytes(copy)
        time.sleep(1.2)
        assert message() == '"early"'

    def test_files_are_checked_once_a_second(self, open_storage, monkeypatch):
        storage = open_storage()
        storage.start('job', RUNNING, 60)
        checks = []
        stat = Path.stat

        def noted_stat(path, **options):
            if path.name == f'{FILE_NAME}-wal':
                checks.append(path)
            return stat(path, **options)

        monkeypatch.setattr(Path, 'stat', noted_stat)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            storage.get_many(['job'])
        assert 2 <= len(checks) <= 5


class TestVersions:
    @pytest.mark.parametrize('has_versions', [False, True])
    def test_a_file_of_the_first_version_is_upgraded_and_keeps_its_tasks(self, open_storage, file, has_versions):
        file.parent.mkdir(parents=True)
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            for statement in SCHEMA.versions[0]:
                connection.execute(statement)
            if has_versions:
                connection.execute('CREATE TABLE schema_version (name TEXT PRIMARY KEY, version INTEGER NOT NULL)')
                connection.execute("INSERT INTO schema_version VALUES ('progress', 1)")
            expires = time.time() + 60
            for key, record in {
                'job': RUNNING | {'_beat': '5'},
                'number': RUNNING | {'owner': '7', rules.RUN: RUN},
                'end': RUNNING | {'status': '"finished"', '_taken': 'true'},
                'bare': {'status': '"running"'},
            }.items():
                values = 'test', key, rules.dump(record), '_taken' not in record, expires, 60, expires
                connection.execute('INSERT INTO progress VALUES (?, ?, ?, ?, ?, ?, ?)', values)
        storage = open_storage()
        assert storage.get_many(['job', 'number', 'end', 'bare']) == {
            'job': RUNNING | {'_heartbeat': '5'},
            'number': RUNNING | {'owner': '7', rules.RUN: RUN},
            'end': RUNNING | {'status': '"finished"', '_acknowledged': 'true'},
            'bare': {'status': '"running"'},
        }
        assert storage.running_ids() == {'job', 'number'}
        assert storage.list_entries(rules.ALL_KEYS, 9) == [(10**12, 'number'), (0, 'job'), (0, 'end')]
        assert storage.list_entries(['owner:ann'], 9) == [(0, 'job'), (0, 'end')]
        assert storage.list_entries(['owner:7'], 9) == [(10**12, 'number')]
        assert ask(file, 'SELECT name, version FROM schema_version') == [('progress', 2)]
        assert ask(file, "SELECT name FROM sqlite_master WHERE name = 'progress_1'") == []

    def test_later_versions_are_applied_once_by_many_processes(self, file, forked):
        newer = Schema(
            'things', (('CREATE TABLE things (a)',), ('ALTER TABLE things ADD b', 'INSERT INTO things VALUES (1, 2)'))
        )
        with Database(file, Schema('things', newer.versions[:1]), 1) as execute:
            execute('SELECT * FROM things')

        def upgrade():
            with Database(file, newer, 5) as execute:
                assert execute('SELECT a, b FROM things').fetchall() == [(1, 2)]

        with ExitStack() as stack:
            processes = [stack.enter_context(forked(upgrade)) for _number in range(4)]
            assert [process.exit_status() for process in processes] == [0] * 4

    def test_a_file_of_a_newer_version_is_refused(self, use, open_storage, file):
        open_storage().close()
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute('UPDATE schema_version SET version = 7')
        with pytest.raises(ConfigurationError, match=r'progress tables have version 7, but .* up to 2: update'):
            use()


class TestLockedByAnotherProgram:
    """A backup or a stopped process keeps a lock on one of our files."""

    @pytest.fixture
    def flock(self, program):
        """Return a context manager that keeps a file or directory locked."""

        @contextmanager
        def flock(path):
            command = [program('flock'), str(path), 'sh', '-c', 'echo locked; exec sleep 30']
            with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as holder:
                assert holder.stdout.readline() == b'locked\n'
                try:
                    yield
                finally:
                    os.killpg(holder.pid, signal.SIGKILL)

        return flock

    def test_a_database_that_exists_needs_no_lock(self, use, file, flock):
        use(timeout=0.3)
        for path in (file.parent, file, file.with_name(f'{FILE_NAME}.lock')):
            with flock(path):
                init_progress_status('job', 'ann', 'Import')
                configure({'progress.timeout': '0.3'})
                assert get_progress_status('job')['status'] == 'running'

    def test_one_that_is_missing_is_a_storage_error_after_the_timeout(self, use, file, flock, wait_until):
        use(timeout=0.3)
        file.unlink()
        with flock(file.with_name(f'{FILE_NAME}.lock')):
            use(timeout=0.4)
            start = time.monotonic()
            with pytest.raises(StorageError, match=rf'another process kept {file}\.lock locked for 0\.4 s'):
                init_progress_status('job', 'ann', 'Import')
            assert 0.4 <= time.monotonic() - start < 0.9
        init_progress_status('job', 'ann', 'Import')
        assert get_running_tasks() == {'job'}
