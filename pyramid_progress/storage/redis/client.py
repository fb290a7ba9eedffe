"""Calls of a Redis server within a time limit, in threads and forked processes."""

import math
from collections.abc import Callable
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

import redis

from ...system import process
from ..interface import StorageError
from .location import Location
from .semaphore import FairSemaphore

P = ParamSpec('P')
T = TypeVar('T')

#: Codes of the errors of a server that is no longer, or not yet, the primary. If a script causes the error, Redis
#: before version 7 puts the code in the middle of the message, and redis-py raises a general error.
_NOT_PRIMARY = ('READONLY', 'MASTERDOWN', 'LOADING')


#: The share of the timeout for what comes before the last attempt.
_FIRST = 0.4


class Client(process.Participant):
    """Calls of one Redis server, or of the primary server that sentinels name.

    A call takes less than twice the timeout: 0.4 of it to wait for a connection, or for an attempt that fails; half of
    it for the sentinels or to connect; and all of it for the server's answer. A server that hangs is noticed after one
    timeout.

    :param location: where the server is
    :param timeout: seconds to wait for an answer
    """

    def __init__(self, location: Location, timeout: float) -> None:
        self.name = location.name
        self._location = location
        self._timeout = timeout
        #: When a connection last broke, by :func:`time.monotonic`.
        self.broke_at = -math.inf
        self._open()
        process.register(self)

    def _open(self) -> None:
        #: The connections that were made before: redis-py makes one again, without an error, if the server closed it.
        self._known: WeakSet[Any] = WeakSet()
        self._redis = self._location.connect(self._timeout, self._on_connect)
        self._connections = FairSemaphore(self._location.max_connections)

    def after_fork_in_child(self) -> None:
        # The parent uses its connections, and a thread of the parent may hold a lock of the pool.
        self._open()

    def _on_connect(self, connection: Any) -> None:
        if connection in self._known:
            self.broke_at = monotonic()
        self._known.add(connection)
        connection.on_connect()

    def close(self) -> None:
        """Close the connections that no thread uses. Others close with this object; a later call makes new ones."""
        _disconnect(self._redis)

    def call(self, command: Callable[Concatenate['redis.Redis', P], T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call *command* with redis-py's client and the arguments that follow, and return its result.

        If the connection breaks, or the server is not the primary, as after a restart or a failover, the command is
        repeated once on a new connection. It may then take effect twice. No command of the driver does harm by that;
        only the acknowledgement of a finished task returns False at its repetition.

        :raises StorageError: if the server does not answer, or refuses the command
        """
        began = monotonic()
        connections = self._connections
        if not connections.acquire(self._timeout * _FIRST):
            raise StorageError(f'all {self._location.max_connections} connections to Redis at {self.name} are in use')
        client = self._redis
        try:
            try:
                return command(client, *arguments, **options)
            except (redis.RedisError, OSError) as error:
                if not _is_of_connection(error):
                    raise
                self.broke_at = monotonic()  # also if another server answers next, on a connection that is new
                _disconnect(client)  # Connections made before the failure lead to the same server.
                if monotonic() - began >= self._timeout * _FIRST:
                    raise
            return command(client, *arguments, **options)
        except (redis.RedisError, OSError) as error:
            raise StorageError(f'Redis at {self.name} failed: {error}') from error
        finally:
            connections.release()


def _disconnect(client: 'redis.Redis') -> None:
    """Close the connections that no thread uses at the moment."""
    client.connection_pool.disconnect(inuse_connections=False)


def _is_of_connection(error: Exception) -> bool:
    """Return whether the command may succeed on another connection."""
    if not isinstance(error, redis.ResponseError):
        return True
    if isinstance(error, (redis.ReadOnlyError, redis.exceptions.MasterDownError)):
        return True
    return any(code in str(error) for code in _NOT_PRIMARY)
