"""A client of event streams, on a real connection."""

import contextlib
import json
import zlib
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen


class RefusedError(Exception):
    """The answer was not a stream.

    :param error: the answer, as urllib raises it
    """

    def __init__(self, error):
        with error:
            super().__init__(error.code, error.read().decode())
        self.status = error.code
        self.headers = error.headers
        self.text = self.args[1]


class EventClient:
    """Reads a stream. Used as a context manager, it closes the connection at the end of the block.

    :param url: the URL of the streams
    :param progress_ids: the ids of the tasks
    :param headers: more headers of the request
    :param timeout: seconds to wait for each read
    :raises RefusedError: if the answer is not a stream
    """

    def __init__(self, url, *progress_ids, headers=None, timeout=10, method='GET'):
        query = '&'.join('progress_id=' + quote(progress_id) for progress_id in progress_ids)
        headers = {'Accept': 'text/event-stream', **(headers or {})}
        try:
            request = Request(f'{url}?{query}', headers=headers, method=method)  # noqa: S310
            self.response = urlopen(request, timeout=timeout)  # noqa: S310
        except HTTPError as error:
            raise RefusedError(error) from None
        is_compressed = self.response.headers['Content-Encoding'] == 'gzip'
        self._lines = _decompressed(self.response) if is_compressed else self.response

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.response.close()

    def next(self):
        """Return the data of the next event, with its name as ``event`` if it has one; None at the end."""
        event = {}
        for line in self._lines:
            field, _, value = line.decode().rstrip('\n').partition(': ')
            if not field and event:
                return event
            if field == 'data':
                event |= json.loads(value)
            elif field == 'event':
                event['event'] = value
        return None

    def until(self, **values):
        """Return the first event with these values."""
        seen = []
        while (event := self.next()) is not None:
            seen.append(event)
            if values.items() <= event.items():
                return event
        raise AssertionError(f'the stream ended without {values}: {seen}')

    def wait_for_end(self):
        """Read the rest; a server that is killed breaks the connection."""
        with contextlib.suppress(OSError):
            while self.next() is not None:
                pass


def _decompressed(response):
    """Yield the lines of a compressed response as they arrive."""
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    rest = b''
    while chunk := response.read1():
        *lines, rest = (rest + decompressor.decompress(chunk)).split(b'\n')
        yield from (line + b'\n' for line in lines)
