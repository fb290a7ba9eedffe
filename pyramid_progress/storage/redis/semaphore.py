"""A semaphore that serves threads in the order in which they came."""

import threading
from collections import deque


class FairSemaphore:
    """Admits a limited number of threads at a time, first come, first served.

    :class:`threading.Semaphore` and :class:`queue.Queue` are not fair: a thread that releases and acquires again is
    served before those that wait, so that some wait without bound.

    :param value: how many threads are admitted at a time
    """

    def __init__(self, value: int) -> None:
        self._free = value
        self._waiting: deque[threading.Lock] = deque()
        self._lock = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """Wait for admission. Return False if there was none within *timeout* seconds."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            # Looked up in its module now: a gevent application may have replaced it after this module was imported.
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            return turn.acquire(timeout=timeout) or not self._withdraw(turn)
        except BaseException:  # such as that of a signal handler
            if not self._withdraw(turn):
                self.release()
            raise

    def _withdraw(self, turn: threading.Lock) -> bool:
        """Stop waiting. Return False if the thread was admitted in the meantime."""
        with self._lock:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True

    def release(self) -> None:
        """Admit the next thread."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()  # The admission passes to that thread.
            else:
                self._free += 1
