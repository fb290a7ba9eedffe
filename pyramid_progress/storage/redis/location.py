"""Where the server of a region is, and how redis-py connects to it."""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

#: How many connections a process opens at most, unless the url has a lower ``max_connections``.
MAX_CONNECTIONS = 32

_SCHEMES = ('redis://', 'rediss://', 'unix://')
_SENTINEL_PORT = 26379

#: Options of every connection, whatever the url says. RESP2 and bytes are what the drivers read. They repeat a call
#: themselves: redis-py would repeat each step of it, and not ask again where the server is.
_FIXED: Mapping[str, Any] = {
    'decode_responses': False,
    'encoding': 'utf-8',
    'health_check_interval': 0,
    'protocol': 2,
    'retry': Retry(NoBackoff(), 0),
}

#: Options of a connection that sentinels share with the server that they name.
_TLS_PREFIX = 'ssl_'


class Location(NamedTuple):
    """The location of a Redis server: an address, or a service whose primary server Redis Sentinel names.

    :param connection_class: redis-py's, for TCP, TLS or a Unix socket
    :param options: of its connections, without time limits
    :param max_connections: how many connections a process may open
    :param sentinels: hosts and ports of sentinels
    :param service: the name under which the sentinels know the server
    """

    connection_class: type[redis.Connection]
    options: Mapping[str, Any]
    max_connections: int
    sentinels: tuple[tuple[str, int], ...]
    service: str

    @classmethod
    def parse(cls, region: Mapping[str, Any]) -> 'Location':
        """Return the location that the options of a region describe.

        :param region: ``url`` (``redis://``, ``rediss://`` or ``unix://``, as redis-py's ``from_url`` has it); or
            ``sentinels`` (``host:port``, separated by commas) and ``service``, with a ``url`` that gives only the
            database, the credentials and TLS
        :raises ValueError: if an option is missing or invalid. The message does not repeat the url, which may have a
            password.
        """
        sentinels, service = _parse_sentinels(region.get('sentinels')), region.get('service') or ''
        if bool(sentinels) != bool(service):
            raise ValueError('the options sentinels and service of a region of type ext:redis need each other')
        url = region.get('url') or ('redis://' if sentinels else None)
        if not isinstance(url, str) or not url.startswith(_SCHEMES):
            raise ValueError('a region of type ext:redis needs a url that begins with redis://, rediss:// or unix://')
        if sentinels and url.startswith('unix://'):
            raise ValueError('the url of a region of type ext:redis with sentinels begins with redis:// or rediss://')
        return cls(*parse_connection(url, 'the url of a region of type ext:redis'), sentinels, service)

    @property
    def name(self) -> str:
        """The location as error messages show it, without credentials."""
        if self.sentinels:
            addresses = ', '.join(f'{host}:{port}' for host, port in self.sentinels)
            return f'{self.service} (sentinels {addresses})'
        return self.options.get('path') or f'{self.options.get("host", "localhost")}:{self.options.get("port", 6379)}'

    def connect(self, timeout: float, on_connect: Callable[[Any], None]) -> 'redis.Redis':
        """Return a new client with a pool of connections that are made when they are needed.

        :param timeout: seconds for an answer of the server; half of it for a connection to it, and for the answers of
            all sentinels together
        :param on_connect: is called with each connection to the server that was made, or made again, and calls its
            ``on_connect``
        """
        options = {
            **self.options,
            'redis_connect_func': on_connect,
            'max_connections': 2**31,  # The driver limits them. Some releases of redis-py miscount those of sentinels.
            'socket_timeout': timeout,
        }
        if 'path' not in options:
            options['socket_connect_timeout'] = timeout / 2
        if not self.sentinels:
            return redis.Redis(connection_pool=redis.ConnectionPool(self.connection_class, **options))
        share = timeout / 2 / len(self.sentinels)
        sentinel_options = {
            **_FIXED,
            **{name: value for name, value in options.items() if name.startswith(_TLS_PREFIX)},
            'socket_timeout': share,
            'socket_connect_timeout': share,
        }
        sentinels = _Sentinels(self.sentinels, self.connection_class, sentinel_options)
        options = {name: value for name, value in options.items() if name not in ('host', 'port')}
        is_tls = issubclass(self.connection_class, redis.SSLConnection)
        pool = SentinelConnectionPool(self.service, sentinels, ssl=is_tls, **options)  # type: ignore[no-untyped-call]
        return redis.Redis(connection_pool=pool)


def parse_connection(url: str, subject: str) -> tuple[type[redis.Connection], dict[str, Any], int]:
    """Return the class of a url's connections, their options, and how many connections a process may open.

    :param url: as redis-py's ``from_url`` has it
    :param subject: what it is, for error messages
    :raises ValueError: if it is invalid. The message does not repeat it, since it may have a password.
    """
    try:
        pool = redis.ConnectionPool.from_url(url)
        pool.make_connection()  # It does not connect yet, but its options are checked.
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        raise ValueError(f'{subject} cannot be parsed') from None
    except (TypeError, redis.RedisError) as error:
        raise ValueError(f'{subject} is invalid: {error}') from None
    for name in ('connection_class', 'max_connections'):
        options.pop(name, None)
    return pool.connection_class, {**options, **_FIXED}, min(pool.max_connections, MAX_CONNECTIONS)


class _Sentinels(Sentinel):
    def __init__(
        self,
        addresses: Iterable[tuple[str, int]],
        connection_class: type[redis.Connection],
        options: Mapping[str, Any],
    ) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        # Clients that redis-py makes itself use locks of their pools when they are garbage-collected, which in a forked
        # child another thread may hold.
        self.sentinels = [
            redis.Redis(connection_pool=redis.ConnectionPool(connection_class, host=host, port=port, **options))
            for host, port in addresses
        ]

    def discover_master(self, service_name: str) -> tuple[str, int]:
        # The inherited method moves the sentinel that answered to the front of its list, in steps among which other
        # threads may see, and keep, a list in which one is missing.
        call = copy(self)
        call.sentinels = list(self.sentinels)
        try:
            address: tuple[str, int] = Sentinel.discover_master(call, service_name)  # type: ignore[no-untyped-call]
        finally:
            for sentinel in call.sentinels:
                sentinel.connection_pool.disconnect(inuse_connections=False)
        self.sentinels = call.sentinels
        return address


def _parse_sentinels(value: Any) -> tuple[tuple[str, int], ...]:
    if not value:
        return ()
    if not isinstance(value, str):
        raise ValueError(f'sentinels of a region of type ext:redis: {value!r} is not a string of host:port, host:port')
    return tuple(_parse_address(address.strip()) for address in value.split(','))


def _parse_address(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(':')
    if not colon or ']' in port:  # without a port; an IPv6 address is in brackets
        host, port = address, str(_SENTINEL_PORT)
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(
            f'sentinels of a region of type ext:redis: {address!r} is not an address; valid: host:port, host:port'
        )
    return host.removeprefix('[').removesuffix(']'), int(port)
