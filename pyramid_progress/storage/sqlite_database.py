"""A SQLite file as the threads and processes of one machine share it."""

import atexit
import fcntl
import os
import random
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Protocol
from weakref import WeakSet

from .interface import StorageError

#: The file under a region's ``data_dir``.
FILE_NAME = 'container_sqlite.db'

#: Seconds after which it is noticed that the file was deleted or replaced.
_LOOK = 1.0

#: How often a statement that finds the file locked is tried before each pause: what is in its way usually takes
#: hundredths of a millisecond. The pauses, in seconds, double, and many processes are asleep while few write: if all
#: kept trying, they would do little else.
_TRIES_AT_ONCE = 8
_PAUSE = 0.01
_LONGEST_PAUSE = 0.05


class Execute(Protocol):
    """Execute a statement with its parameters, whose rows are to be had until the next one is executed."""

    def __call__(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor: ...


class Database:
    """A connection to a SQLite file in WAL mode, for one thread at a time.

    It is opened when it is used, and opened anew after an error, after a fork, and when the file has gone::

        with database as execute:
            execute('DELETE FROM …')

    Every statement is a transaction of its own, unless one is begun. Where the block raises, what it has not committed
    is rolled back.

    :param path: the file, which is made if it is not there
    :param schema: statements that make the tables that are not there
    :param timeout: seconds that a block, with all its statements, waits for other threads and processes
    :raises OSError: where the file cannot be used
    """

    def __init__(self, path: Path, schema: Sequence[str], timeout: float) -> None:
        self._path = path.absolute()
        self._schema = schema
        self._timeout = 0.0  # for the check: a file that is locked is one that will do
        self._deadline = 0.0
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._file: tuple[int, int] | None = None
        self._next_look = 0.0
        self.lock = Lock()
        self._check()
        self._timeout = timeout
        with _forking:
            _every.add(self)

    def _check(self) -> None:
        """Find out whether the file will do, and leave it closed: a server may fork before it is used."""
        try:
            with self:
                self.drop()
        except StorageError as error:
            if not _is_locked(error.__cause__):
                raise OSError(str(error)) from error
        for path in (self._path.parent, self._path):
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(f'{path} cannot be written to')

    def __enter__(self) -> Execute:
        """Return what executes statements, in the block.

        :raises StorageError: there and in the block, where the file cannot be used or others do not let go of it
        """
        now = time.monotonic()
        if not self.lock.acquire(True, self._timeout):
            raise StorageError(f'{self._path}: another thread kept it for {self._timeout:g} s')
        self._deadline = now + self._timeout
        if now >= self._next_look:
            try:
                if self._connection is None or self._file != self._identity():
                    self._open()
            except BaseException as error:
                self.__exit__(type(error), error, error.__traceback__)
                raise
            self._next_look = now + _LOOK
        return self._execute

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.lock.release()
            return
        self.drop()
        self.lock.release()
        if isinstance(error, (sqlite3.Error, OSError)):
            raise StorageError(f'{self._path}: {error}') from error

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self.lock:
            self.drop()

    def drop(self) -> None:
        """Close the connection, the lock being held."""
        self._next_look = 0.0
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            connection.close()

    def _execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Execute a statement as soon as no other process is in the way.

        SQLite would wait by itself, but it passes one process among many over for seconds, and knows no end that
        several statements have in common.
        """
        tries, pause = 0, _PAUSE
        while True:
            try:
                return self._cursor.execute(statement, parameters)  # type: ignore[union-attr]
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or time.monotonic() >= self._deadline:
                    raise
            tries += 1
            if tries % _TRIES_AT_ONCE == 0:
                time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (chance, not a secret)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _open(self) -> None:
        self.drop()
        self._make()
        self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        self._cursor = self._connection.cursor()
        # A change writes whole pages: one of this size holds a few tasks. It counts for a file that is new.
        self._execute('PRAGMA page_size = 2048')
        (mode,) = self._execute('PRAGMA journal_mode = WAL').fetchone()
        if mode != 'wal':
            raise OSError(f'SQLite cannot keep a write-ahead log on this file system, only work in {mode} mode')
        # What is committed outlives the process; it may not outlive a power cut, but the file does.
        self._execute('PRAGMA synchronous = NORMAL')
        for statement in self._schema:
            self._execute(statement)
        self._file = self._identity()

    def _make(self) -> None:
        """Make the file where it is missing, and remove what somebody left of an earlier one when he deleted that."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            if not self._path.exists():
                for suffix in ('-wal', '-shm'):
                    Path(f'{self._path}{suffix}').unlink(missing_ok=True)
                self._path.touch()
        finally:
            os.close(directory)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino


def _is_locked(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and 'locked' in str(error)


_every: WeakSet[Database] = WeakSet()

_forking = Lock()
_held: list[Database] = []


def _before_fork() -> None:
    """Close every connection.

    SQLite keeps in the memory of the process what it has locked. A child with its parent's open connection takes the
    parent's locks for its own, even in a connection that it opens itself: when the parent closes the file as its last
    user, the log goes, and with it what the child has written and will write.
    """
    _forking.acquire()
    for database in _every:
        database.lock.acquire()
        _held.append(database)
        database.drop()


def _after_fork() -> None:
    while _held:
        _held.pop().lock.release()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    for database in list(_every):
        database.close()
