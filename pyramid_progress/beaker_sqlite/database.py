"""A SQLite file that the threads and processes of one machine share."""

import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from ..system import process
from ..system.file_lock import FileLock

log = logging.getLogger(__name__)

#: The file under a region's ``data_dir``.
FILE_NAME = 'container_sqlite.db'

#: Seconds between two checks of whether the file or its log was removed or replaced.
_CHECK_INTERVAL = 1.0

#: How many times a statement is tried before each pause. Another process usually writes for some 10 µs.
_TRIES = 8

#: The shortest and the longest pause, in seconds.
_PAUSES = (0.01, 0.02)

#: Not the generator of the application, which may have seeded it to get the same numbers each time.
_random = random.SystemRandom()


class DatabaseError(Exception):
    """The file cannot be used; SQLite's or the system's error is chained."""


class Execute(Protocol):
    """Execute a statement with its parameters, and return its rows, which are valid until the next call."""

    def __call__(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor: ...


#: What upgrades tables: a statement, or a function that executes some.
Step = str | Callable[[Execute], None]


class Schema(NamedTuple):
    """Tables of one kind in a file, which may have tables of several kinds."""

    #: The name of the kind.
    name: str
    #: For each version of the tables, the steps that make it from the version before. Those of the first version may
    #: find its tables in a file that has no versions yet.
    versions: tuple[tuple[Step, ...], ...]


#: The device and the inode of a file.
_Identity = tuple[int, int]


class Database(process.Participant):
    """A connection to a SQLite file in WAL mode, for one thread at a time.

    It is opened when it is used, and opened again after an error, after a fork, and if the file was replaced::

        with database as execute:
            execute('DELETE FROM …')

    Every statement is a transaction, unless one is begun. If the block raises, what it has not committed is rolled
    back. A file that cannot be written, because it is read-only or the disk is full, can be read all the same.

    :param path: the file, which is created if it is missing or empty
    :param schema: the tables, which are created or upgraded if necessary
    :param timeout: seconds that a block, with all its statements, waits for other threads and processes
    :param error: the class of the exception that is raised if the file cannot be used
    """

    def __init__(self, path: Path, schema: Schema, timeout: float, error: type[Exception] = DatabaseError) -> None:
        self._error = error
        self._path = path.absolute()
        self._schema = schema
        self._timeout = timeout
        self._deadline = 0.0
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._files: tuple[_Identity | None, ...] = ()
        self._modified = 0
        self._is_immutable = False
        self._next_check = 0.0
        self.lock = Lock()
        self._forking = False
        _databases.add(self)
        process.register(self)

    def check(self) -> None:
        """Check that the file can be used, and leave it closed: a server may fork before it is used.

        A file that is locked, on a full disk or on a read-only file system may be used later.

        :raises OSError: if the file cannot be used
        """
        timeout, self._timeout = self._timeout, 0.0
        try:
            with self:
                self.drop()
        except self._error as error:
            if not isinstance(error.__cause__, TimeoutError) and not _is_locked(error.__cause__):
                raise OSError(str(error)) from error
        finally:
            self._timeout = timeout
        for path in (self._path.parent, self._path):
            if path.exists() and not os.access(path, os.W_OK) and not _is_on_read_only_file_system(path):
                raise PermissionError(f'{path} cannot be written to')

    def __enter__(self) -> Execute:
        """Return the function that executes statements in the block.

        The block raises the *error* class if the file cannot be used, or others keep it locked until the timeout.
        """
        now = time.monotonic()
        if not self.lock.acquire(True, self._timeout):
            raise self._error(f'{self._path}: another thread kept it for {self._timeout:g} s')
        self._deadline = now + self._timeout
        if now >= self._next_check:
            try:
                self._check_files()
            except BaseException as error:
                self.__exit__(type(error), error, error.__traceback__)
                raise
            self._next_check = 0.0 if self._is_immutable else now + _CHECK_INTERVAL
        return self._execute

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.lock.release()
            return
        try:
            if isinstance(error, sqlite3.DatabaseError) and self._has_changed():
                self._repair()
        except (sqlite3.Error, OSError) as second_error:
            log.warning('%s cannot be repaired: %s.', self._path, second_error)
        finally:
            self.drop()
            self.lock.release()
        if isinstance(error, (sqlite3.Error, OSError)):
            raise self._error(f'{self._path}: {error}') from error

    def before_fork(self) -> None:
        """Close the connection.

        SQLite keeps in the memory of the process which locks it holds. A child that inherits an open connection treats
        the parent's locks as its own, even in a connection that it opens itself: when the parent closes the file as
        its last user, the log is deleted, and with it what the child has written and will write.
        """
        self.lock.acquire()
        self._forking = True
        self.drop()

    def after_fork_in_parent(self) -> None:
        if self._forking:
            self._forking = False
            self.lock.release()

    def after_fork_in_child(self) -> None:
        self.after_fork_in_parent()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self.lock:
            self.drop()

    def __del__(self) -> None:
        # Not left to the connection, which is in a reference cycle with its cache of statements.
        self.drop()

    def drop(self) -> None:
        """Close the connection; the caller holds the lock."""
        self._next_check = 0.0
        self._files = ()
        self._is_immutable = False
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            connection.close()

    def _execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Execute a statement as soon as no other process has the file locked, until the deadline of the block.

        SQLite's own waiting is not used. Its pauses grow up to 100 ms, so that the process that has waited longest is
        the least likely to be next. With a timeout that ends the growth, most of many writers wake up too early, and
        take the processor from the one that writes. (Measured with two processors: with SQLite's whole timeout, one of
        8 writers waited for 0.5 s; with one of 33 ms, 16 writers did half of what 16 raw upserts do, and with these
        pauses 80 to 90 % of it, with a longest wait of 0.16 s.)
        """
        tries = 0
        while True:
            try:
                return self._cursor.execute(statement, parameters)  # type: ignore[union-attr]
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or time.monotonic() >= self._deadline:
                    raise
            tries += 1
            if tries % _TRIES == 0:
                time.sleep(_random.uniform(*_PAUSES))

    def _open(self) -> None:
        if self._has_changed():
            self._repair()
        while not self._try_to_open():
            if time.monotonic() >= self._deadline:
                raise TimeoutError(f'other processes replaced it again and again for {self._timeout:g} s')

    def _try_to_open(self) -> bool:
        """Open the file; return False if another process replaced or removed it in the meantime."""
        self.drop()
        if not self._exists():
            self._create()
        file = _identify(self._path)
        try:
            # Not created here: another process may replace the file at this moment.
            self._connect('mode=rw')
            self._set_wal_mode()
            # What is committed survives the process, and the file survives a power cut; the last changes may not.
            self._execute('PRAGMA synchronous = NORMAL')
            self._upgrade()
        except sqlite3.OperationalError as error:
            if _identify(self._path) != file:
                return False
            if _is_locked(error) or not self._is_complete():
                raise
            # SQLite may need to write even to read: it creates the index of the log. Without a log, it can read the
            # file as one that does not change. So that it may change after all, it is opened again at every use.
            self.drop()
            self._connect('mode=ro&immutable=1')
            self._is_immutable = True
            self._upgrade()
        else:
            files = self._identify()
            if files[0] != file:
                return False  # The connection is to the old one.
            self._files = files
            self._modified = self._modification_time()
        return True

    def _connect(self, options: str) -> None:
        self._connection = _connect(f'{self._path.as_uri()}?{options}')
        self._cursor = self._connection.cursor()

    def _set_wal_mode(self) -> None:
        (mode,) = self._execute('PRAGMA journal_mode = WAL').fetchone()
        if mode != 'wal':
            raise OSError(f'SQLite cannot keep a write-ahead log on this file system, only work in {mode} mode')

    def _upgrade(self) -> None:
        """Create the tables, or upgrade those of an older version."""
        self._execute(
            'CREATE TABLE IF NOT EXISTS schema_version (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID'
        )
        if not self._missing_versions():
            return
        self._execute('BEGIN IMMEDIATE')
        for steps in self._missing_versions():
            for step in steps:
                if isinstance(step, str):
                    self._execute(step)
                else:
                    step(self._execute)
        self._execute('REPLACE INTO schema_version VALUES (?, ?)', (self._schema.name, len(self._schema.versions)))
        self._execute('COMMIT')

    def _missing_versions(self) -> tuple[tuple[Step, ...], ...]:
        name, versions = self._schema
        row = self._execute('SELECT version FROM schema_version WHERE name = ?', (name,)).fetchone()
        version = row[0] if row else 0
        if version > len(versions):
            raise OSError(
                f'its {name} tables have version {version}, but this program supports versions up to {len(versions)}:'
                ' update the program, or delete the file'
            )
        return versions[version:]

    def _create(self) -> None:
        """Create the file, unless another process does it first."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not self._exists():
                self._replace(_make_empty)

    def _repair(self) -> None:
        """Make the file usable again after it or its log was removed or replaced while the connection was open.

        If the log was removed, this connection still has it. Its contents become a new file, which all processes
        notice, since they check for that. If the file was replaced, the log of the old one does not belong to it.
        """
        own_file, *own_logs = self._files
        with self._locked():
            file, *logs = self._identify()
            if file == own_file and logs != own_logs:
                log.warning('The write-ahead log of %s was removed or replaced: the file is made again.', self._path)
                try:
                    self._replace(self._move_contents)
                except sqlite3.Error as error:
                    log.warning('%s lost its contents with its write-ahead log: %s.', self._path, error)
                    self._replace(_make_empty)
            elif file != own_file and logs == own_logs:
                self.drop()
                _remove_logs(self._path)
        for database in list(_databases):
            if database._path == self._path:
                database._next_check = 0.0

    def _move_contents(self, new: Path) -> None:
        """Move all contents into a new file.

        A process that still uses the old one gets an error for its next statement, instead of losing changes.
        """
        self._connection.rollback()  # type: ignore[union-attr]
        self._execute('VACUUM INTO ?', (str(new),))
        with suppress(sqlite3.Error):
            for (table,) in self._execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                self._execute(f'DROP TABLE {table}')

    def _replace(self, make: Callable[[Path], None]) -> None:
        """Replace the file and its log by what a function makes; the caller holds the lock.

        The new file gets its name when it is complete. Until then there is none, so that other processes wait.
        """
        new = self._path.with_name(f'{self._path.name}.new')
        new.unlink(missing_ok=True)
        _remove_logs(new)
        new.touch()  # SQLite itself would not set the permissions that the umask allows
        make(new)
        with closing(_connect(new)) as connection:
            # SQLite cannot do this while another process opens the file.
            connection.execute('PRAGMA journal_mode = WAL')
        self.drop()
        self._path.unlink(missing_ok=True)
        _remove_logs(self._path)
        new.replace(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from creating or replacing the file.

        :raises TimeoutError: if another program keeps the lock until the deadline
        """
        path = self._path.with_name(f'{self._path.name}.lock')
        lock = FileLock(path)
        try:
            if not lock.acquire(self._deadline):
                raise TimeoutError(f'another process kept {path} locked for {self._timeout:g} s')
            yield
        finally:
            lock.close()

    def _check_files(self) -> None:
        """Open the file if it is not open, or not the same any more."""
        if self._connection is None or self._is_immutable or self._has_changed():
            self._open()
        elif self._modified != (modified := self._modification_time()):
            # Usually SQLite has written the log back. But a program may have written an older copy over the file: then
            # what this connection has in memory differs from what others read.
            self._execute('PRAGMA shrink_memory')
            self._modified = modified

    def _has_changed(self) -> bool:
        """Return whether the connection is open, and a file was removed or replaced since it was opened."""
        return bool(self._files) and self._files != self._identify()

    def _exists(self) -> bool:
        """Return whether the file exists and is not empty."""
        try:
            return self._path.stat().st_size > 0
        except FileNotFoundError:
            return False

    def _is_complete(self) -> bool:
        """Return whether the file exists, and has no log or an empty one."""
        wal, _ = _logs(self._path)
        return self._exists() and not (wal.exists() and wal.stat().st_size)

    def _identify(self) -> tuple[_Identity | None, ...]:
        """Return what identifies the file, its log, and the index of the log; None for each that is missing."""
        file = _identify(self._path) if self._exists() else None
        return file, *(_identify(path) for path in _logs(self._path))

    def _modification_time(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except FileNotFoundError:  # The next check finds that it was removed.
            return 0


_databases: WeakSet[Database] = WeakSet()


def _connect(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, uri=True)


def _make_empty(path: Path) -> None:
    with closing(_connect(path)) as connection:
        # A change writes whole pages: one of this size holds a few rows.
        connection.execute('PRAGMA page_size = 2048')
        connection.execute('VACUUM')


def _logs(path: Path) -> tuple[Path, Path]:
    return path.with_name(f'{path.name}-wal'), path.with_name(f'{path.name}-shm')


def _remove_logs(path: Path) -> None:
    for log_path in _logs(path):
        log_path.unlink(missing_ok=True)


def _identify(path: Path) -> _Identity | None:
    """Return what distinguishes a file from others of the same name; None if it is missing."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _is_on_read_only_file_system(path: Path) -> bool:
    return hasattr(os, 'statvfs') and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _is_locked(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and 'locked' in str(error)
