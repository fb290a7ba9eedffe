"""The locks under which the Beaker backend ``sqlite`` has missing values made."""

import fcntl
import hashlib
import os
import time
from pathlib import Path
from threading import Lock, get_ident

#: The file under a region's ``lock_dir`` or ``data_dir``.
FILE_NAME = 'container_sqlite.lock'

#: Seconds between two tries; they grow from the first to the last.
_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02


class CreationLock:
    """A lock among the threads and processes of a machine, with the methods that Beaker calls.

    The thread that holds it may acquire it again. When a process dies, the kernel releases what it holds.

    There are as many locks as there are names, in one file that stays empty: each is a record lock on a byte far beyond
    its end, where the hash of the name points. A fixed number of lock files would not do. Who makes a value may need
    another one for that, and two who come upon each other's files would wait for ever.

    :param path: the file, which is made when a lock is acquired
    :param name: what the lock is for
    """

    def __init__(self, path: Path, name: str) -> None:
        # No two that are the same process's: it would lose all its locks with the first that is closed.
        self._file = _files.get(path) or _files.setdefault(path, _File(path))
        digest = hashlib.blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8).digest()
        self._offset = int.from_bytes(digest, 'big') >> 2

    def acquire(self, wait: bool = True) -> bool:
        """Acquire the lock; tell whether it was acquired. Who does not *wait* may get False."""
        pause = _FIRST_PAUSE
        while not self._file.lock(self._offset):
            if not wait:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return True

    def release(self) -> None:
        """Release the lock, once for every time that this thread has acquired it."""
        self._file.unlock(self._offset)


class _File:
    """A file with locks on its bytes. To the kernel, all threads of a process are one, so they are told apart here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.renew()

    def renew(self) -> None:
        """Begin with locks that nobody holds. A forked child inherits none."""
        self._mutex = Lock()
        self._held: dict[int, tuple[int, int]] = {}  # by offset: which thread, and how many times

    def lock(self, offset: int) -> bool:
        """Lock a byte for this thread; return False where another has it."""
        me = get_ident()
        with self._mutex:
            thread, times = self._held.get(offset, (me, 0))
            if thread != me or (times == 0 and not self._lock(offset)):
                return False
            self._held[offset] = me, times + 1
            return True

    def unlock(self, offset: int) -> None:
        """Take back one locking of this thread's."""
        me = get_ident()
        with self._mutex:
            thread, times = self._held.get(offset, (0, 0))
            if thread != me:  # but that of the process that forked this one in the meantime
                return
            if times > 1:
                self._held[offset] = me, times - 1
            else:
                del self._held[offset]
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, offset)  # type: ignore[arg-type]

    def _lock(self, offset: int) -> bool:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except BlockingIOError:
            return False
        return True


_files: dict[Path, _File] = {}


def _after_fork() -> None:
    for file in _files.values():
        file.renew()


os.register_at_fork(after_in_child=_after_fork)
