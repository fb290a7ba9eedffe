"""Visitors of a site, in a process of their own that holds thousands of connections."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from .sites import USER

#: Seconds between two polls of a page.
POLL_INTERVAL = 1.5

#: What a browser sends.
_HEADERS = f"""\
Host: localhost
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9
Referer: http://localhost/customers/import
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin
Cookie: user={USER}
"""


def _request(path: str, version: str, accept: str) -> bytes:
    return f'GET {path} {version}\n{_HEADERS}Accept: {accept}\n\n'.replace('\n', '\r\n').encode()


def _stream_request(progress_id: str) -> bytes:
    return _request(f'/progress_events?progress_id={progress_id}', 'HTTP/1.1', 'text/event-stream')


async def _ask(port: int, path: str) -> None:
    """Send a request as nginx does that passes it on: with HTTP/1.0, on a connection of its own."""
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(_request(path, 'HTTP/1.0', 'application/json'))
    answer = await reader.read()
    writer.close()
    if b' 200 ' not in answer[:13]:
        raise RuntimeError(f'{path}: {answer!r}')


class _Stream(asyncio.Protocol):
    """Counts the events of a stream."""

    def __init__(self, progress_id: str) -> None:
        self._progress_id = progress_id
        self.events = 0
        self.first = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.write(_stream_request(self._progress_id))

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b'data: ')
        if not self.first.done():
            if self.events:
                self.first.set_result(None)
            elif b' 200 ' not in data[:13]:
                self.first.set_exception(RuntimeError(f'no stream: {data!r}'))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.first.done():
            self.first.set_exception(RuntimeError('the server closed a stream'))


def hold_streams(port: int, progress_ids: Sequence[str], seconds: float, pipe: Connection) -> None:
    """Open streams, one for each id, and keep them; tell, when asked, how many events came since the last time.

    :param port: of the server
    :param progress_ids: the ids
    :param seconds: during which they are opened, evenly
    """
    streams: list[_Stream] = []

    async def start() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number, progress_id in enumerate(progress_ids):
            await asyncio.sleep(begin + seconds * number / len(progress_ids) - loop.time())
            _, stream = await loop.create_connection(lambda id=progress_id: _Stream(id), '127.0.0.1', port)
            streams.append(stream)
        await asyncio.gather(*(stream.first for stream in streams))

    def count() -> int:
        events = sum(stream.events for stream in streams)
        for stream in streams:
            stream.events = 0
        return events

    asyncio.run(_serve(pipe, start(), count))


def poll(port: int, progress_ids: Sequence[str], pipe: Connection) -> None:
    """Poll, one page for each id; tell, when asked, how many answers came since the last time."""
    answers = 0

    async def visit(number: int) -> None:
        nonlocal answers
        await asyncio.sleep(POLL_INTERVAL * number / len(progress_ids))
        async for _ in _intervals(POLL_INTERVAL):
            await _ask(port, f'/progress_status?progress_id={progress_ids[number]}')
            answers += 1

    async def start() -> None:
        _spawn(visit(number) for number in range(len(progress_ids)))

    def count() -> int:
        nonlocal answers
        counted, answers = answers, 0
        return counted

    asyncio.run(_serve(pipe, start(), count))


def watch(port: int, progress_ids: Sequence[str], pipe: Connection) -> None:
    """Follow tasks, one page for each id: by a stream if there is a place, and by polls.

    Tell, when asked, how many pages have a stream.
    """
    streaming: set[str] = set()

    async def stream(progress_id: str) -> float:
        """Follow a task by a stream until its end; return the seconds until the next attempt."""
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        writer.write(_stream_request(progress_id))
        head = (await reader.readuntil(b'\r\n\r\n')).decode()
        if ' 200 ' in head[:13]:
            streaming.add(progress_id)
            while await reader.readline():
                pass
            streaming.discard(progress_id)
        writer.close()
        headers = dict(line.lower().split(': ') for line in head.splitlines() if ': ' in line)
        return float(headers.get('retry-after', 'inf'))

    async def visit(progress_id: str) -> None:
        stream_at = 0.0
        async for now in _intervals(POLL_INTERVAL):
            if now >= stream_at:
                stream_at = now + await stream(progress_id)
            await _ask(port, f'/progress_status?progress_id={progress_id}')

    async def start() -> None:
        _spawn(map(visit, progress_ids))

    asyncio.run(_serve(pipe, start(), lambda: len(streaming)))


def open_pages(port: int, rate: float, pipe: Connection) -> None:
    """Receive pairs of a seed and a duration; for each, open pages at random times, and send the times they took in s.

    :param port: of the server
    :param rate: how many pages are opened in a second
    """

    async def visit(start: float) -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(start - loop.time())
        await _ask(port, '/page')
        return loop.time() - start

    async def turn(seed: int, seconds: float) -> list[float]:
        generator = random.Random(seed)  # noqa: S311
        visits = []
        begin = asyncio.get_running_loop().time()
        at = generator.expovariate(rate)
        while at < seconds:
            visits.append(visit(begin + at))
            at += generator.expovariate(rate)
        return await asyncio.gather(*visits)

    while True:
        pipe.send(asyncio.run(turn(*pipe.recv())))


async def _intervals(seconds: float) -> AsyncIterator[float]:
    """Yield the time at even intervals."""
    loop = asyncio.get_running_loop()
    at = loop.time()
    while True:
        yield loop.time()
        at = max(at + seconds, loop.time())
        await asyncio.sleep(at - loop.time())


_visits: set[asyncio.Task[None]] = set()


def _spawn(visits: Iterable[Coroutine[Any, Any, None]]) -> None:
    _visits.update(map(asyncio.create_task, visits))


async def _serve(pipe: Connection, start: Coroutine[Any, Any, None], answer: Callable[[], int]) -> None:
    """Tell when the start is over; then answer each time when asked.

    :raises RuntimeError: if the server gave one of the visitors another answer than expected
    """
    await start
    pipe.send(None)
    loop = asyncio.get_running_loop()
    while True:
        await loop.run_in_executor(None, pipe.recv)
        for visit in _visits:
            if visit.done():
                visit.result()  # raises what ended it
        pipe.send(answer())
