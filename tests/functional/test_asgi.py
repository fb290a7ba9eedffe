"""pyramid_progress.asgi, driven as an ASGI server drives it."""

import asyncio
import contextlib
import gc
import logging

import pytest

from pyramid_progress import init_progress_status, set_progress_status
from pyramid_progress.asgi import EventsApplication, connection
from pyramid_progress.web.streams import stream as stream_module
from pyramid_progress.web.streams.stream import Stream


class Client:
    """A client of the application, in the event loop of the application.

    :param reads: whether it reads what it is sent
    """

    def __init__(self, events, *progress_ids, reads=True):
        self.events = events
        self.query = '&'.join(f'progress_id={progress_id}' for progress_id in progress_ids)
        self.reads = reads
        self.sent = []
        self.is_gone = asyncio.Event()

    async def __aenter__(self):
        scope = {
            'type': 'http', 'method': 'GET', 'path': '/progress_events', 'headers': [], 'scheme': 'http',
            'query_string': self.query.encode(), 'client': ('192.0.2.1', 50000), 'server': ('localhost', 80),
        }  # fmt: skip
        self.answer = asyncio.create_task(self.events(scope, self.receive, self.send))
        await self.until(1)
        return self

    async def __aexit__(self, *error):
        self.is_gone.set()
        await asyncio.wait_for(self.answer, 5)

    async def receive(self):
        await self.is_gone.wait()
        return {'type': 'http.disconnect'}

    async def send(self, message):
        self.sent.append(message)
        if not self.reads and 'body' in message:
            await asyncio.Event().wait()

    @property
    def status(self):
        return self.sent[0]['status']

    @property
    def body(self):
        return b''.join(message.get('body', b'') for message in self.sent)

    async def until(self, count):
        """Wait until it was sent so many messages."""
        async with contextlib.AsyncExitStack():
            for _ in range(500):
                if len(self.sent) >= count:
                    return
                await asyncio.sleep(0.01)
        pytest.fail(f'only {self.sent} was sent')


@pytest.fixture
def run(make_app):
    """Return a function that runs a test in the event loop, with the application and more settings."""

    def run(test, **settings):
        async def main():
            events = EventsApplication(make_app(**settings).app)
            messages = asyncio.Queue()
            started, stopped = asyncio.Event(), asyncio.Event()

            async def note(message):
                (started if message['type'] == 'lifespan.startup.complete' else stopped).set()

            lifespan = asyncio.create_task(events({'type': 'lifespan', 'asgi': {'version': '3.0'}}, messages.get, note))
            await messages.put({'type': 'lifespan.startup'})
            await started.wait()
            try:
                await test(events)
            finally:
                await messages.put({'type': 'lifespan.shutdown'})
                await asyncio.wait_for(stopped.wait(), 10)
                await lifespan

        asyncio.run(main())

    return run


def test_a_client_that_does_not_read_keeps_its_place_until_it_has_gone(run, monkeypatch, caplog):
    monkeypatch.setattr(connection, 'SEND_TIMEOUT', 0.3)
    caplog.set_level(logging.INFO, 'pyramid_progress')

    async def test(events):
        init_progress_status('a', None, 'Import')
        async with Client(events, 'a', reads=False) as stuck:
            await stuck.until(2)
            for _ in range(300):
                if 'has not read anything' in caplog.text:
                    break
                await asyncio.sleep(0.01)
            for current in range(3):
                set_progress_status('a', current=current)
                await asyncio.sleep(0.25)
            assert len(stuck.sent) == 2, 'it is sent nothing any more'
            async with Client(events, 'a') as other:
                assert other.status == 503
        async with Client(events, 'a') as other:
            assert other.status == 200

    run(test, **{'progress.max_streams': '1'})
    assert 'has not read anything for 0.3 seconds' in caplog.text


def test_the_stream_is_not_silent_while_access_is_decided(run, monkeypatch):
    monkeypatch.setattr(stream_module, 'COMMENT_INTERVAL', 0.2)
    monkeypatch.setattr(stream_module, 'CHECK_INTERVAL', 0.5)
    is_slow = False

    def rule(request, progress_id, status):
        if is_slow:
            asyncio.run(asyncio.sleep(2))
        return True

    async def test(events):
        nonlocal is_slow
        init_progress_status('a', None, 'Import')
        async with Client(events, 'a') as client:
            is_slow = True
            await asyncio.sleep(2)
            assert client.body.count(b':\n\n') > 5
            set_progress_status('a', current=4)
            await asyncio.sleep(0.5)
            assert b'"current": 4' in client.body

    run(test, **{'progress.access': rule})


def test_nothing_stays_behind(run):
    async def test(events):
        init_progress_status('a', None, 'Import')
        for _ in range(20):
            async with Client(events, 'a', 'b') as client:
                await client.until(2)
        del client
        gc.collect()
        assert not [kept for kept in gc.get_objects() if isinstance(kept, Stream)]
        await asyncio.sleep(0.5)
        assert len(asyncio.all_tasks()) == 2, 'this one, and that of the lifespan'

    run(test)
