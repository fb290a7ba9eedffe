"""The connection to one client."""

import asyncio
import logging
from time import monotonic
from types import TracebackType

from starlette.types import Receive, Send

log = logging.getLogger(__name__)

#: Seconds after which a client that does not read is not sent anything any more.
SEND_TIMEOUT = 30.0


class Connection:
    """Sends to a client, and notes when it has gone. It is used as a context manager.

    :param receive: the function of ASGI
    :param send: the function of ASGI
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[None] | None = None
        self._sending_since: float | None = None
        self._is_stuck = False
        #: Whether the client has gone.
        self.is_gone = False

    async def __aenter__(self) -> 'Connection':
        self._sender = asyncio.current_task()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not self._is_stuck:
            self._listener.cancel()
            return False
        # The connection counts against the limits until the client disconnects: the server keeps it open until then.
        log.info('An event stream ends, because its client has not read anything for %g seconds', SEND_TIMEOUT)
        await self._listener
        return isinstance(error, asyncio.CancelledError)

    async def _listen(self) -> None:
        while (await self._receive())['type'] != 'http.disconnect':
            pass
        self.is_gone = True
        self.wake()

    def wake(self) -> None:
        """End a :meth:`wait`, now or the next one."""
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Wait for :meth:`wake`; it may also end earlier.

        A timer that ends earlier is kept: :meth:`wake` ends most waits, and a timer for each of them is expensive.

        :param seconds: how long at most
        """
        due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire)
        await self._woken.wait()
        self._woken.clear()

    def _expire(self) -> None:
        self._timer = None
        self._woken.set()

    async def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin the response."""
        await self._send({'type': 'http.response.start', 'status': 200, 'headers': headers})

    async def send(self, data: bytes, *, is_last: bool = False) -> None:
        """Send a part of the body."""
        self._sending_since = monotonic()
        await self._send({'type': 'http.response.body', 'body': data, 'more_body': not is_last})
        self._sending_since = None

    def check(self, now: float) -> None:
        """Stop sending if the client has not read anything for long.

        :param now: the time by :func:`time.monotonic`
        """
        since = self._sending_since
        if since is not None and since < now - SEND_TIMEOUT and self._sender is not None and not self._is_stuck:
            self._is_stuck = True
            self._sender.cancel()
