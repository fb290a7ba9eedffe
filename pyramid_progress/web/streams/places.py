"""The streams of an application's own server: a bounded number, and the thread of their hub."""

import threading
import time

from ...runtime import Runtime
from ...system import process
from .decisions import Decisions
from .hub import Hub
from .stream import Stream


class Places(process.Participant):
    """The places for streams in this process. Each holds a server thread.

    :param runtime: the application's storage
    :param number: how many there are
    """

    def __init__(self, runtime: Runtime, number: int) -> None:
        self._runtime = runtime
        self.number = number
        self._reset()
        process.register(self)

    def _reset(self) -> None:
        self.hub = Hub(self._runtime.store)
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    def after_fork_in_child(self) -> None:
        # The streams are the parent's.
        self._reset()

    @property
    def are_taken(self) -> bool:
        """Whether there is no free place."""
        return self._is_stopped or len(self._streams) >= self.number

    def take(self, stream: Stream, decisions: Decisions) -> bool:
        """Give a stream a place and feed it; return False if there is none.

        :param stream: the stream; :meth:`leave` frees its place
        :param decisions: what its user may do
        """
        process.check_threads()
        with self._lock:
            if self.are_taken:
                return False
            self._streams.add(stream)
            try:
                self.hub.add(stream, decisions)
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._feed, name='progress-hub', daemon=True)
                    self._thread.start()
            except BaseException:
                self._streams.discard(stream)
                self.hub.remove(stream)
                raise
            if self._is_stopped:  # since the check
                stream.close()
        return True

    def leave(self, stream: Stream) -> None:
        """Free the place of a stream, which need not have one."""
        with self._lock:
            self._streams.discard(stream)
            self.hub.remove(stream)

    def stop(self) -> None:
        self.end_responses()

    def end_responses(self) -> None:
        self._is_stopped = True
        for stream in list(self._streams):
            stream.close()

    def _feed(self) -> None:
        hub = self.hub
        while True:
            for stream in hub.tick():
                stream.wake()
            if process.is_server_stopping():
                self.end_responses()
            with self._lock:
                if not self._streams:
                    self._thread = None
                    return
            time.sleep(hub.pause)
