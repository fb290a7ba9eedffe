"""Locks of a fixed number, among threads and, through files, among the processes of one machine."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from weakref import WeakSet

from .interface import StorageError


class Locks:
    """Numbered locks.

    A thread lock serves the threads of a process and ``flock`` the processes: the kernel releases it when its
    holder dies, however that happens. A child that is forked while another thread holds one inherits the open
    file, and with it the lock; it closes it at once.

    :param count: how many locks there are
    :param directory: where the lock files are; None for a store that only this process sees
    :param timeout: seconds to wait for a lock before :class:`StorageError`
    """

    def __init__(self, count: int, directory: Path | None, timeout: float) -> None:
        self._count = count
        self._directory = directory
        self._timeout = timeout
        self._reset()
        _every.add(self)

    def _reset(self) -> None:
        self._threads = [Lock() for _ in range(self._count)]
        self._held: set[int] = set()

    def after_fork(self) -> None:
        """Let go, in a forked child, of what its parent's threads hold."""
        for descriptor in self._held:
            os.close(descriptor)
        self._reset()

    @contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Hold the lock of that *number*."""
        deadline = time.monotonic() + self._timeout
        thread = self._threads[number]
        if not thread.acquire(timeout=self._timeout):
            raise StorageError(f'another thread kept lock {number} for {self._timeout:g} s')
        try:
            if self._directory is None:
                yield
            else:
                with self._hold_file(self._directory / f'{number:02x}.lock', deadline):
                    yield
        finally:
            thread.release()

    @contextmanager
    def _hold_file(self, path: Path, deadline: float) -> Iterator[None]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._held.add(descriptor)
        try:
            self._flock(descriptor, path, deadline)
            try:
                yield
            finally:
                # Closing alone would leave the lock with a child forked in the meantime.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            self._held.discard(descriptor)
            os.close(descriptor)

    def _flock(self, descriptor: int, path: Path, deadline: float) -> None:
        pause = 0.0002
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StorageError(f'another process kept {path} locked for {self._timeout:g} s') from None
                time.sleep(pause)
                pause = min(pause * 1.5, 0.01)
            else:
                return


_every: WeakSet[Locks] = WeakSet()


def _after_fork() -> None:
    for locks in _every:
        locks.after_fork()


os.register_at_fork(after_in_child=_after_fork)
