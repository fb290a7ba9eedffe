"""Locks of a fixed number, among threads and, through files, among the processes of one machine."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from weakref import WeakSet

from .interface import StorageError

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


class Locks:
    """Numbered locks.

    A thread lock serves the threads of a process and ``flock`` the processes: the kernel releases it when its
    holder dies, however that happens. A fork waits until no other thread holds one: what a thread that the child
    does not have was in the middle of (a mutex of Beaker's, a connection of SQLAlchemy's) would be so for ever.

    Who holds a lock may take only one of a higher number as well.

    :param count: how many locks there are
    :param directory: where the lock files are, made where it is missing
    :param timeout: seconds to wait for a lock before :class:`StorageError`
    :raises OSError: where the directory cannot be made
    """

    def __init__(self, count: int, directory: Path, timeout: float) -> None:
        self._count = count
        self._directory = directory
        self._timeout = timeout
        _make(directory)
        self.renew()
        _every.add(self)

    def renew(self) -> None:
        """Begin with locks that nobody holds."""
        self._threads = [Lock() for _ in range(self._count)]

    def hold_all(self, held: list[Lock]) -> None:
        """Keep other threads out of all locks, as far as that can be had within the timeout; *held* gets them."""
        deadline = time.monotonic() + self._timeout
        for lock in self._threads:
            if lock.acquire(timeout=max(0, deadline - time.monotonic())):
                held.append(lock)

    @contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Hold the lock of that *number*."""
        deadline = time.monotonic() + self._timeout
        thread = self._threads[number]
        if not thread.acquire(timeout=self._timeout):
            raise StorageError(f'another thread kept lock {number} for {self._timeout:g} s')
        try:
            with self._hold_file(self._directory / f'{number:02x}.lock', deadline):
                yield
        finally:
            thread.release()

    @contextmanager
    def _hold_file(self, path: Path, deadline: float) -> Iterator[None]:
        try:
            descriptor = os.open(path, _FLAGS, 0o666)
        except FileNotFoundError:  # somebody has tidied up
            _make(path.parent)
            descriptor = os.open(path, _FLAGS, 0o666)
        try:
            self._flock(descriptor, path, deadline)
            yield
        finally:
            # Closing alone would leave the lock with a program that another thread is just starting.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _flock(self, descriptor: int, path: Path, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StorageError(f'another process kept {path} locked for {self._timeout:g} s') from None
                # Who waits longer between two tries hardly ever finds it free, where a busy process takes it again
                # at once.
                time.sleep(0.0005)
            else:
                return


def _make(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


_every: WeakSet[Locks] = WeakSet()
_forking = threading.local()


def _before_fork() -> None:
    _forking.held = []
    try:
        for locks in list(_every):
            locks.hold_all(_forking.held)
    except BaseException:  # Ctrl-C: Python reports it, and forks nevertheless
        _after_fork_in_parent()
        raise


def _after_fork_in_parent() -> None:
    while _forking.held:
        _forking.held.pop().release()


def _after_fork_in_child() -> None:
    for locks in _every:
        locks.renew()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
