"""The nodes of a cluster, and which of them serves which keys."""

import math
import random
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from .cluster_location import Address, ClusterLocation, Connection

#: How many nodes one refresh asks at most, each for its share of the time.
_ASKED = 2


class Node:
    """A node, with the connections to it that no thread uses.

    :param location: of its cluster
    :param address: its own
    :param timeout: seconds to connect, and for each step of the handshake
    :param on_break: is called if the node closed a connection
    """

    def __init__(
        self, location: ClusterLocation, address: Address, timeout: float, on_break: Callable[[], None]
    ) -> None:
        self.address = address
        self._location = location
        self._timeout = timeout
        self._on_break = on_break
        self._idle: list[Connection] = []

    def take(self) -> Connection:
        """Return a connection for this thread alone.

        :raises redis.RedisError, OSError: if there is none in time
        """
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                break
            if not _is_spoiled(connection):
                return connection
            connection.disconnect()
            self._on_break()
        return self._location.connect(self.address, self._timeout, self._timeout)

    def put(self, connection: Connection) -> None:
        """Give a connection back that may be used again."""
        self._idle.append(connection)

    def close(self) -> None:
        """Close the connections that no thread uses."""
        while self._idle:
            try:
                self._idle.pop().disconnect()
            except IndexError:
                return


def _is_spoiled(connection: Connection) -> bool:
    """Return whether a connection was closed by the other side, or holds an answer of another call."""
    try:
        return bool(connection.can_read(0))
    except (redis.RedisError, OSError):
        return True


class Topology:
    """The nodes of a cluster, as the cluster last described itself.

    :param location: of the cluster
    :param timeout: seconds that a refresh takes at most, and that a connection to a node takes at most
    """

    def __init__(self, location: ClusterLocation, timeout: float) -> None:
        self._location = location
        self._timeout = timeout
        self._nodes: dict[Address, Node] = {}
        self._slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._lock = threading.Lock()
        #: When each node last failed.
        self._failures: dict[Address, float] = {}
        #: How often it was refreshed.
        self.version = 0
        #: When a node last failed, closed a connection, or was not the primary, by :func:`time.monotonic`.
        self.broke_at = -math.inf
        #: Why a node did not describe the cluster.
        self.error: Exception = redis.ConnectionError('no node is known that serves the key')
        #: Whether a refresh may lead to other nodes.
        self.is_stale = True

    def find(self, slot: int) -> Node | None:
        """Return the node that serves a slot; None if that is not known."""
        return self._slots[slot]

    def node(self, address: Address) -> Node:
        """Return the node at an address."""
        node = self._nodes.get(address)
        return node or self._nodes.setdefault(address, Node(self._location, address, self._timeout, self.note_break))

    def note_break(self) -> None:
        """Note that a node may have lost writes that it accepted."""
        self.broke_at = monotonic()

    def move(self, slot: int, address: Address) -> None:
        """Note that another node serves a slot."""
        self._slots[slot] = self.node(address)
        self.is_stale = True

    def fail(self, node: Node) -> None:
        """Note that a node failed: its connections are closed, and others are asked before it."""
        self.note_break()
        self._failures[node.address] = monotonic()
        self.is_stale = True
        node.close()

    def refresh(self, version: int) -> None:
        """Ask the cluster for its description, unless that was done since a *version*.

        Without an answer, the old description stays.
        """
        # If there is a description, no thread waits for another that refreshes it.
        if not self._lock.acquire(timeout=0 if self.version else self._timeout):
            return
        try:
            if self.version == version:
                self._ask()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connections that no thread uses."""
        for node in list(self._nodes.values()):
            node.close()

    def _ask(self) -> None:
        deadline = monotonic() + self._timeout
        share = self._timeout / _ASKED
        addresses = [*{*self._nodes, *self._location.nodes}]
        random.shuffle(addresses)
        addresses.sort(key=lambda address: self._failures.get(address, 0.0))
        for address in addresses:
            if monotonic() >= deadline - share / 2:
                return
            try:
                connection = self._location.connect(address, share, share)
                try:
                    connection.send_command('CLUSTER', 'SLOTS')
                    ranges: Any = connection.read_response()
                finally:
                    connection.disconnect()
            except (redis.RedisError, OSError) as error:
                self._failures[address], self.error = monotonic(), error
                continue
            self._set(address, ranges)
            return

    def _set(self, asked: Address, ranges: Any) -> None:
        """Set what a node answered.

        :param asked: its address, which an answer without a host stands for
        :param ranges: for each range of slots, the first, the last, and the nodes, of which the first is the primary
        """
        slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        addresses = set()
        for first, last, *nodes in ranges:
            listed = [(host.decode() if host else asked[0], int(port)) for host, port, *_ in nodes]
            addresses.update(listed)
            slots[first : last + 1] = [self.node(listed[0])] * (last + 1 - first)
        for address in set(self._nodes) - addresses:
            self._nodes.pop(address).close()
        self._slots = slots
        self.version += 1
        self.is_stale = False
