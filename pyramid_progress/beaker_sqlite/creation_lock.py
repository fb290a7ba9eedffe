"""The locks under which the Beaker backend ``sqlite`` has missing values created."""

import hashlib
import time
from pathlib import Path
from threading import Lock, get_ident

from ..system import process
from ..system.file_lock import ByteLocks

#: The file under a region's ``lock_dir`` or ``data_dir``.
FILE_NAME = 'container_sqlite.lock'

#: Seconds between two attempts; they grow from the first to the last.
_FIRST_PAUSE = 0.0005
_MAX_PAUSE = 0.02

#: Seconds after which a value is created although another thread or process is still creating it, or hangs.
TIMEOUT = 60.0


class CreationLock:
    """A lock among the threads and processes of a machine, with the methods that Beaker calls.

    The thread that holds it may acquire it again. When a process dies, the kernel releases what it holds. On Windows,
    the lock is one among threads, as are Beaker's own.

    There are as many locks as there are names, in one file that stays empty: each is a lock on a byte far beyond its
    end, at an offset that is the hash of the name. A fixed number of lock files could cause deadlocks: the creation of
    a value may need another value, whose lock may be in a file that another process holds.

    :param path: the file, which is created when a lock is acquired
    :param name: what the lock is for
    """

    def __init__(self, path: Path, name: str) -> None:
        # One object for each file: see ByteLocks.
        self._file = _files.get(path) or _files.setdefault(path, _File(path))
        digest = hashlib.blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8).digest()
        self._offset = int.from_bytes(digest, 'big') >> 2

    def acquire(self, wait: bool = True) -> bool:
        """Acquire the lock.

        :param wait: whether to wait for it, up to a minute
        :return: whether it was acquired; Beaker ignores that after it waited, and creates the value
        """
        deadline = time.monotonic() + (TIMEOUT if wait else 0)
        pause = _FIRST_PAUSE
        while not self._file.lock(self._offset):
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, _MAX_PAUSE)
        return True

    def release(self) -> None:
        """Release the lock, once for every time that this thread acquired it. Other threads do not release it."""
        self._file.unlock(self._offset)


class _File(process.Participant):
    """A file with locks on its bytes. The kernel does not distinguish the threads of a process; this class does."""

    def __init__(self, path: Path) -> None:
        self._locks = ByteLocks(path)
        self._reset()
        process.register(self)

    def after_fork_in_child(self) -> None:
        self._reset()  # a forked child inherits no locks on bytes

    def _reset(self) -> None:
        self._mutex = Lock()
        self._held: dict[int, tuple[int, int]] = {}  # by offset: which thread, and how many times

    def lock(self, offset: int) -> bool:
        """Lock a byte for this thread; return False if another thread or process holds it."""
        me = get_ident()
        with self._mutex:
            thread, times = self._held.get(offset, (me, 0))
            if thread != me or (times == 0 and not self._locks.try_acquire(offset)):
                return False
            self._held[offset] = me, times + 1
            return True

    def unlock(self, offset: int) -> None:
        """Undo one call of :meth:`lock` by this thread."""
        me = get_ident()
        with self._mutex:
            thread, times = self._held.get(offset, (0, 0))
            if thread != me:  # the parent process locked it before the fork, or the lock was not acquired in time
                return
            if times > 1:
                self._held[offset] = me, times - 1
            else:
                del self._held[offset]
                self._locks.release(offset)


_files: dict[Path, _File] = {}
