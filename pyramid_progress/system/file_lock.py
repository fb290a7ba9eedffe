"""Locks on files, among the processes of one machine. The system releases them when their holder dies.

All code that locks files uses this module. It uses ``fcntl``, or on Windows, which does not have that module, the file
locks of SQLite. Locks are released explicitly, and not by closing the file, since gevent defers :func:`os.close`.
"""

import os
import sqlite3
import time
from io import FileIO
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

#: Seconds between two attempts. With longer pauses, a process would hardly ever find a lock free that a busy process
#: acquires again at once.
_PAUSE = 0.0005

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0)


class FileLock:
    """An exclusive lock on a file, which stays empty. It is not reentrant, and does not lock out threads.

    :param path: the file, created if it is missing; its directory must exist
    :raises OSError: if the file cannot be opened
    """

    def __init__(self, path: Path) -> None:
        self._lock = _SqliteLock(path) if fcntl is None else _Flock(path)

    def acquire(self, deadline: float) -> bool:
        """Acquire the lock.

        :param deadline: when to give up, by :func:`time.monotonic`; at least one attempt is made
        :return: False if another process held the lock until then
        :raises OSError: if the file cannot be locked
        """
        while not self._lock.try_acquire():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE)
        return True

    def close(self) -> None:
        """Release the lock, if it was acquired, and close the file."""
        self._lock.close()


class _Flock:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()

    def _open(self) -> FileIO:
        return FileIO(os.open(self._path, _FLAGS, 0o666), 'rb')

    def try_acquire(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if self._is_at_path():
            return True
        # The file was removed after it was opened: other processes lock a new one.
        new = self._open()
        self.close()
        self._file = new
        return False

    def _is_at_path(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        # Closing alone would leave the lock to a program that another thread is just starting.
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()


class _SqliteLock:
    """An exclusive transaction on an empty database that is never written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise OSError(f'{path}: {error}') from error

    def try_acquire(self) -> bool:
        try:
            self._connection.execute('BEGIN EXCLUSIVE')
        except sqlite3.Error as error:
            if 'locked' in str(error):
                return False
            raise OSError(f'{self._path}: {error}') from error
        return True

    def close(self) -> None:
        self._connection.close()


class ByteLocks:
    """Exclusive locks on the bytes of a file, which stays empty. A process may acquire a lock that it holds again.

    Where there is no ``fcntl``, every lock is free: there they do not lock out other processes.

    At most one object of a process may use a file: a process loses all its locks on the bytes of a file when it closes
    any descriptor of that file. The file therefore stays open.

    :param path: the file, which is created at the first lock, with its directory
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_acquire(self, offset: int) -> bool:
        """Acquire the lock on the byte at an *offset*; return False if another process holds it."""
        if fcntl is None:
            return True
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, _FLAGS, 0o666)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except BlockingIOError:
            return False
        return True

    def release(self, offset: int) -> None:
        """Release the lock on the byte at an *offset*."""
        if self._descriptor is not None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, offset)
