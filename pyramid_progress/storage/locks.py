"""A fixed number of locks, among threads and, through files, among the processes of one machine."""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from ..system import process
from ..system.file_lock import FileLock
from .interface import StorageError

#: The numbers of the errors of a file system that can be read but not written.
REFUSED_WRITES = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT})


class Locks(process.Participant):
    """Numbered locks.

    Each is a thread lock for the threads of a process, and a file lock for the processes. A fork waits until no other
    thread holds one: the child does not have that thread, so a mutex of Beaker's or a connection of SQLAlchemy's that
    it uses would stay in use for ever.

    A thread that holds a lock may acquire only one of a higher number as well.

    :param count: how many locks there are
    :param directory: where the lock files are, created if it is missing
    :param timeout: seconds to wait for a lock before :class:`StorageError`
    :raises OSError: if the directory cannot be created
    """

    def __init__(self, count: int, directory: Path, timeout: float) -> None:
        self._count = count
        self._directory = directory
        self._timeout = timeout
        _make(directory)
        self._held: list[Lock] = []
        self.after_fork_in_child()
        process.register(self)

    def before_fork(self) -> None:
        """Acquire all thread locks, as far as that is possible within the timeout."""
        deadline = time.monotonic() + self._timeout
        for lock in self._threads:
            if lock.acquire(timeout=max(0, deadline - time.monotonic())):
                self._held.append(lock)

    def after_fork_in_parent(self) -> None:
        while self._held:
            self._held.pop().release()

    def after_fork_in_child(self) -> None:
        self._held.clear()
        self._threads = [Lock() for _ in range(self._count)]

    @contextmanager
    def hold(self, number: int, *, for_reading: bool = False) -> Iterator[None]:
        """Hold the lock of that *number*.

        :param for_reading: if the file system refuses to open the lock's file for writing, do without it: then no
            process writes what the lock protects
        :raises StorageError: if another thread or process holds it for longer than the timeout
        :raises OSError: if its file cannot be locked
        """
        deadline = time.monotonic() + self._timeout
        thread = self._threads[number]
        if not thread.acquire(timeout=self._timeout):
            raise StorageError(f'another thread kept lock {number} for {self._timeout:g} s')
        try:
            path = self._directory / f'{number:02x}.lock'
            lock = _open(path, for_reading)
            try:
                if lock and not lock.acquire(deadline):
                    raise StorageError(f'another process kept {path} locked for {self._timeout:g} s')
                yield
            finally:
                if lock:
                    lock.close()
        finally:
            thread.release()


def _open(path: Path, for_reading: bool) -> FileLock | None:
    try:
        try:
            return FileLock(path)
        except OSError:
            if path.parent.exists():
                raise
        _make(path.parent)  # a program that deletes old temporary files may have removed it
        return FileLock(path)
    except OSError as error:
        if for_reading and error.errno in REFUSED_WRITES:
            return None
        raise


def _make(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
