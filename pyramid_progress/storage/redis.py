"""Statuses in Redis, driven natively: every operation is one step in the server, and one round trip.

A record is a string key with the text of :func:`.record.dump`, which the server lets expire. The task list is a sorted
set; one of more than some hundred tasks comes in parts, not to keep the server from everybody else. ``redis.lua`` has
the rules of :mod:`.record` in the server's language. All keys share a hash tag, so that a proxy that spreads keys over
servers keeps them together.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.resources import files
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet

from .interface import Storage, StorageError
from .record import Record, dump, load

try:
    import redis
except ImportError as error:
    raise ImportError('a region of type ext:redis needs redis-py: install pyramid_progress[redis]') from error

#: How many connections a process opens at most; a thread that needs one more waits for it.
CONNECTIONS = 32

#: How many keys are read at a time.
_PART = 500

#: Seconds for which the difference between the server's clock and ours is taken for granted.
CLOCK_GOOD_FOR = 60

#: Options of a connection that this file counts on, whatever a url says.
_OPTIONS = {'decode_responses': False, 'retry_on_timeout': False}

_SCRIPT = files(__package__).joinpath('redis.lua').read_text('utf-8')
_SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RedisStorage(Storage):
    """A region of type ``ext:redis``: a Redis server from version 6.2 on, or Valkey.

    :param region: the region's options, with a ``url`` as Beaker has it: ``redis://``, ``rediss://`` or ``unix://``
    :param namespace: the prefix of all keys
    :param timeout: seconds to wait for the server, all in all
    :raises ValueError: where the options will not do, saying why
    """

    def __init__(self, region: Mapping[str, Any], namespace: str, timeout: float) -> None:
        if region['type'] != 'ext:redis':
            raise ValueError(f'Redis Cluster ({region["type"]}) is not supported, only one server (ext:redis)')
        self._server = _Server(region.get('url'), timeout)
        self._list = f'{{{namespace}}}:tasks'
        self._clock = (0.0, -math.inf)

    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        return self._change('start', {progress_id: record}, expire) == [1]

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._change('update', {progress_id: changes}, expire)

    def amend(self, changes: Mapping[str, Record], expire: float) -> dict[str, Record]:
        texts = _texts(changes, self._change('amend', changes, expire))
        return {progress_id: load(text) for progress_id, text in texts.items()}

    def texts(self, progress_ids: Sequence[str]) -> dict[str, str]:
        texts: dict[str, str] = {}
        # A part at a time: many keys must not keep the server from everybody else.
        for start in range(0, len(progress_ids), _PART):
            part = progress_ids[start : start + _PART]
            texts |= _texts(part, self._server.ask('MGET', *map(self._key, part)))
        return texts

    def take(self, progress_id: str, linger: float) -> bool:
        return self._change('take', {progress_id: {}}, linger) == [1]

    def discard(self, progress_id: str) -> None:
        self._change('discard', {progress_id: {}}, 0)

    def tasks(self) -> set[str]:
        ids: set[str] = set()
        cursor = b'0'
        while True:
            cursor, part = self._run([], 'tasks', cursor.decode())
            ids.update(progress_id.decode() for progress_id in part)
            if cursor == b'0':
                return ids

    def now(self) -> float:
        difference, good_until = self._clock
        asked = monotonic()
        if asked >= good_until:
            seconds, microseconds = self._server.ask('TIME')
            answered = monotonic()
            difference = int(seconds) + int(microseconds) / 1e6 - (asked + answered) / 2
            self._clock = (difference, answered + CLOCK_GOOD_FOR)
        return monotonic() + difference

    def close(self) -> None:
        self._server.close()

    def _key(self, progress_id: str) -> str:
        return f'{self._list}:{progress_id}'

    def _change(self, action: str, changes: Mapping[str, Record], lifetime: float) -> list[Any]:
        keys = [self._key(progress_id) for progress_id in changes]
        answer: list[Any] = self._run(keys, action, str(math.ceil(lifetime * 1000)), *map(dump, changes.values()))
        return answer

    def _run(self, keys: list[str], *arguments: str) -> Any:
        """Run the script: by its name, which a server that was started anew does not know."""
        call = (str(len(keys) + 1), self._list, *keys, *arguments)
        try:
            return self._server.ask('EVALSHA', _SCRIPT_SHA, *call)
        except redis.exceptions.NoScriptError:
            return self._server.ask('EVAL', _SCRIPT, *call)


def _texts(progress_ids: Iterable[str], texts: Iterable[bytes | None]) -> dict[str, str]:
    return {
        progress_id: text.decode() for progress_id, text in zip(progress_ids, texts, strict=True) if text is not None
    }


class _Server:
    """Connections to one server, each for one thread at a time.

    The connections are redis-py's, without its client, which takes more time than the server does, and has a timeout
    for each step of a call, but none for the whole.

    :param url: where the server is
    :param timeout: seconds for an answer, counting the wait for a connection and its making
    :raises ValueError: for a url that will not do; the message does not repeat it, since it may hold a password
    """

    def __init__(self, url: Any, timeout: float) -> None:
        if not isinstance(url, str) or not url.startswith(('redis://', 'rediss://', 'unix://')):
            raise ValueError('a region of type ext:redis needs a url that begins with redis://, rediss:// or unix://')
        try:
            pool = redis.ConnectionPool.from_url(url, protocol=2)
            options = pool.connection_kwargs | _OPTIONS
            self._make = partial(pool.connection_class, **options)
            self._open()
        except ValueError:
            raise ValueError('the url of a region of type ext:redis cannot be understood') from None
        except (TypeError, redis.RedisError) as error:
            raise ValueError(f'the url of a region of type ext:redis will not do: {error}') from None
        self._name = options.get('path') or f'{options.get("host", "localhost")}:{options.get("port", 6379)}'
        self._timeout = timeout
        _every.add(self)

    def _open(self) -> None:
        self._connections = [self._make() for _ in range(CONNECTIONS)]  # They connect when they are used.
        # Last in, first out, so that no more are connected than there are threads at work at once. To pop and to append
        # is atomic, and needs no lock that a forked child might find held.
        self._free = list(self._connections)

    def after_fork(self) -> None:
        """Let go, in a forked child, of the connections, which are its parent's."""
        for connection in self._connections:
            connection.disconnect()
        self._open()

    def close(self) -> None:
        """Close the connections, except those in use: they close when nobody has them any more."""
        free = []
        with suppress(IndexError):
            while True:
                free.append(self._free.pop())
        for connection in free:
            connection.disconnect()
        self._free.extend(free)

    def ask(self, *words: str) -> Any:
        """Return the server's answer to a command.

        The command is given once more, on a new connection, where the connection broke: that is what becomes of the
        old ones when a server is started anew. It may then be done twice, which does no harm: only that of a finished
        task whose end was taken just when the connection broke, the end is not told.

        :raises redis.exceptions.NoScriptError: where the server does not know the script
        :raises StorageError: for all else
        """
        deadline = monotonic() + self._timeout
        command = _packed(words)
        connection = self._take(deadline)
        try:
            try:
                return _exchange(connection, command, deadline)
            except redis.ConnectionError:
                return _exchange(connection, command, deadline)
        except redis.exceptions.NoScriptError:
            raise
        except (redis.RedisError, OSError) as error:
            raise StorageError(f'Redis at {self._name} failed: {error}') from error
        finally:
            self._free.append(connection)

    def _take(self, deadline: float) -> Any:
        while True:
            try:
                return self._free.pop()
            except IndexError:
                if monotonic() >= deadline:
                    raise StorageError(f'all {CONNECTIONS} connections to Redis at {self._name} are in use') from None
                sleep(0.001)


def _packed(words: Sequence[str]) -> bytes:
    """Return a command as the server reads it (RESP, arrays of bulk strings): redis-py takes four times as long."""
    encoded = [word.encode() for word in words]
    return b'*%d\r\n' % len(encoded) + b''.join([b'$%d\r\n%b\r\n' % (len(word), word) for word in encoded])


def _exchange(connection: Any, command: bytes, deadline: float) -> Any:
    try:
        if connection._sock is None:
            connection.socket_connect_timeout = connection.socket_timeout = _left(deadline)
            connection.connect()
        # There is no public way to give a command a timeout of its own.
        connection._sock.settimeout(_left(deadline))
        connection.send_packed_command([command])
        return connection.read_response()
    except redis.exceptions.NoScriptError:
        raise
    except BaseException:
        # Whatever it was, the next command must not read what was meant for this one; and after an error that the
        # server told of, such as being no master any more, a new connection may lead to a better one.
        connection.disconnect()
        raise


def _left(deadline: float) -> float:
    return max(deadline - monotonic(), 0.001)


_every: WeakSet[_Server] = WeakSet()


def _after_fork() -> None:
    for server in _every:
        server.after_fork()


os.register_at_fork(after_in_child=_after_fork)
