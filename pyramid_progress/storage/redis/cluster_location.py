"""Where the nodes of a Redis Cluster are, and how redis-py connects to them."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import redis

from .location import parse_connection

#: The host and the port of a node.
Address = tuple[str, int]

#: A :class:`redis.Connection`, whose methods have no types.
Connection = Any

_SCHEMES = ('redis://', 'rediss://')

#: Options of a region that Beaker gives to every connection. All others are its own, or redis-py's ``RedisCluster``'s.
_KEYWORDS = frozenset({'username', 'password', 'client_name', 'max_connections', 'socket_keepalive'})
_TLS_PREFIX = 'ssl_'
_BOOLEANS = {'true': True, 'True': True, 'false': False, 'False': False}

_SUBJECT = 'the urls of a region of type ext:rediscluster'


class ClusterLocation(NamedTuple):
    """The location of a cluster: some of its nodes, which know the others.

    :param connection_class: redis-py's, for TCP or TLS
    :param options: of its connections, without address and time limits
    :param max_connections: how many connections to each node a process may open
    :param nodes: the addresses of some nodes
    """

    connection_class: type[redis.Connection]
    options: Mapping[str, Any]
    max_connections: int
    nodes: tuple[Address, ...]

    @classmethod
    def parse(cls, region: Mapping[str, Any]) -> 'ClusterLocation':
        """Return the location that the options of a region describe.

        :param region: ``urls`` (``redis://host:port`` or ``rediss://host:port``, separated by commas), and the keyword
            options of a connection that redis-py has: ``username``, ``password``, ``ssl``, ``ssl_ca_certs``, …
        :raises ValueError: if an option is missing or invalid. The message does not repeat the urls, which may have a
            password.
        """
        urls = region.get('urls')
        if not isinstance(urls, str) or not urls.strip():
            raise ValueError(
                'a region of type ext:rediscluster needs the option urls; valid: redis://host:port, redis://host:port'
            )
        keywords = {
            name: value
            for name, value in region.items()
            if value is not None and (name in _KEYWORDS or name.startswith(_TLS_PREFIX))
        }
        is_tls = str(region.get('ssl')).lower() in ('true', '1', 'yes', 'on')
        options: dict[str, Any] = {}
        nodes = []
        for url in (part.strip() for part in urls.split(',')):
            if not url.startswith(_SCHEMES):
                raise ValueError(f'{_SUBJECT} do not all begin with redis:// or rediss://')
            if is_tls:
                url = 'rediss://' + url.partition('://')[2]
            url += ('&' if '?' in url else '?') + urlencode(keywords)
            connection_class, its_options, max_connections = parse_connection(url, f'one of {_SUBJECT}')
            if its_options.pop('db', 0) != 0:
                raise ValueError(f'one of {_SUBJECT} names a database; a cluster has the database 0 only')
            nodes.append((its_options.pop('host', 'localhost'), its_options.pop('port', 6379)))
            options |= its_options
        # redis-py leaves options that it has no parser for as they stand in a url.
        options |= {name: _BOOLEANS[value] for name, value in options.items() if value in _BOOLEANS}
        return cls(connection_class, options, max_connections, tuple(nodes))

    @property
    def name(self) -> str:
        """The location as error messages show it, without credentials."""
        return ', '.join(f'{host}:{port}' for host, port in self.nodes)

    def connect(self, address: Address, connect_timeout: float, answer_timeout: float) -> Connection:
        """Return a connection to a node.

        :param connect_timeout: seconds for the connection
        :param answer_timeout: seconds for each step of the handshake, and between two parts of an answer
        :raises redis.RedisError, OSError: if there is none in time
        """
        host, port = address
        times = {'socket_connect_timeout': connect_timeout, 'socket_timeout': answer_timeout}
        connection: Connection = self.connection_class(**{**self.options, **times, 'host': host, 'port': port})
        connection.connect()
        return connection
