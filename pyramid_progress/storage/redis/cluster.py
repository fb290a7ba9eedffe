"""Calls of a Redis Cluster within a time limit, in threads and forked processes.

redis-py's own client of a cluster has no limit for a whole call: it repeats each of its steps, and asks one node after
the other, each with the whole timeout. This one uses redis-py's connections.
"""

from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any

import redis
from redis.crc import key_slot

from ...system import process
from ..interface import StorageError
from .cluster_location import Address, ClusterLocation, Connection
from .script import Script
from .semaphore import FairSemaphore
from .topology import Node, Topology

#: Seconds between two attempts, while a slot moves or another node becomes the primary.
_PAUSE = 0.02

#: Error answers after which the command is repeated.
_RETRYABLE = (
    redis.exceptions.AskError,  # and MovedError
    redis.exceptions.ClusterDownError,  # and MasterDownError
    redis.exceptions.NoScriptError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
)

#: Their classes by the code in the message: redis-py 5 knows them in its client of clusters only.
_CODES: dict[str, Any] = {
    'ASK': redis.exceptions.AskError,
    'CLUSTERDOWN': redis.exceptions.ClusterDownError,
    'MASTERDOWN': redis.exceptions.MasterDownError,
    'MOVED': redis.exceptions.MovedError,
    'TRYAGAIN': redis.exceptions.TryAgainError,
}

#: The same errors, raised inside a script: redis-py then raises a general error with this text in its message. The last
#: one occurs if the slot of the script's keys moves.
_RETRYABLE_MESSAGES = ('CLUSTERDOWN', 'MASTERDOWN', 'READONLY', 'TRYAGAIN', 'non local key')


class Command:
    """A command to the node that serves a key.

    :param key: the key
    :param arguments: the command and its arguments, or those of the script: keys and arguments
    :param script: the script that it runs, if it does
    :param keys: how many of the arguments are keys of the script
    """

    def __init__(self, key: str, *arguments: str | bytes | int, script: Script | None = None, keys: int = 1) -> None:
        self.slot = key_slot(key.encode())
        self._arguments = arguments
        self._script = script
        self._keys = keys
        #: Whether the node needs the text of the script.
        self.needs_text = False
        #: The node that has the key while its slot moves.
        self.asking: Address | None = None
        #: The answer; an error reply is a :class:`redis.ResponseError`.
        self.answer: Any = None
        #: Why there is no answer.
        self.failure: Exception | None = redis.ConnectionError('it was not sent')

    def commands(self) -> list[tuple[str | bytes | int, ...]]:
        """Return what is sent."""
        if self._script is None:
            command = self._arguments
        elif self.needs_text:
            command = ('EVAL', self._script.text, self._keys, *self._arguments)
        else:
            command = ('EVALSHA', self._script.sha, self._keys, *self._arguments)
        return [('ASKING',), command] if self.asking else [command]


class Cluster(process.Participant):
    """Calls of the primary nodes of a cluster.

    A call takes less than twice the timeout. After 0.4 of it, of which waiting for connections in use may take 0.25, no
    attempt is repeated. An attempt takes at most 0.25 to learn where the nodes are, 0.5 to connect and for a handshake,
    and all of it for the answers. No answer is waited for after 1.65; its last part may come 0.25 later. A node that
    hangs is noticed after one timeout.

    :param location: where the cluster is
    :param timeout: seconds to wait for an answer
    """

    def __init__(self, location: ClusterLocation, timeout: float) -> None:
        self.name = location.name
        self._location = location
        self._timeout = timeout
        self._open()
        process.register(self)

    def _open(self) -> None:
        self._topology = Topology(self._location, self._timeout / 4)
        self._calls = FairSemaphore(self._location.max_connections)

    def after_fork_in_child(self) -> None:
        # The parent uses its connections, and a thread of the parent may hold a lock.
        self._open()

    @property
    def broke_at(self) -> float:
        """When a node last failed, closed a connection, or was not the primary, by :func:`time.monotonic`."""
        return self._topology.broke_at

    def close(self) -> None:
        """Close the connections that no thread uses. A later call makes new ones."""
        self._topology.close()

    def call(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands to their nodes, all at the same time, and return their answers; error replies are exceptions.

        A command is repeated if the connection breaks, if its slot moves, or if the node is not the primary, as after a
        failover. It may then take effect twice, as :meth:`.client.Client.call` says.

        :raises StorageError: if a node does not answer
        """
        if not commands:
            return []
        began = monotonic()
        calls = self._calls
        if not calls.acquire(self._timeout / 4):
            raise StorageError(
                f'all {self._location.max_connections} connections to the Redis Cluster at {self.name} are in use'
            )
        try:
            self._repeat(commands, began)
        finally:
            calls.release()
        return [command.answer for command in commands]

    def _repeat(self, commands: Sequence[Command], began: float) -> None:
        """Send the commands, and repeat those that failed, until each has an answer."""
        topology = self._topology
        version, attempts = topology.version, 0
        while True:
            if topology.is_stale:
                topology.refresh(version)
            version, attempts = topology.version, attempts + 1
            self._attempt(topology, commands, began)
            commands = [command for command in commands if command.failure]
            if not commands:
                return
            if monotonic() - began >= self._timeout * 0.4:
                failure = commands[0].failure
                raise StorageError(f'Redis Cluster at {self.name} failed: {failure}') from failure
            if attempts > 1:
                sleep(_PAUSE)

    def _attempt(self, topology: Topology, commands: Sequence[Command], began: float) -> None:
        """Send each command once, and note its answer or its failure."""
        groups: dict[Node, list[Command]] = {}
        for command in commands:
            node = topology.node(command.asking) if command.asking else topology.find(command.slot)
            if node is None:
                command.failure, topology.is_stale = topology.error, True
            else:
                groups.setdefault(node, []).append(command)
        sent: list[tuple[Node, Connection]] = []
        try:
            for node, group in groups.items():
                if monotonic() - began >= self._timeout:
                    _note_failure(group, redis.TimeoutError('other nodes took the time to connect'))
                    continue
                try:
                    sent.append((node, self._send(node, group)))
                except (redis.RedisError, OSError) as error:
                    _fail(topology, node, group, error)
            deadline = min(monotonic() + self._timeout, began + 1.65 * self._timeout)
            while sent:
                node, connection = sent[-1]
                try:
                    _receive(connection, groups[node], deadline)
                except (redis.RedisError, OSError) as error:
                    connection.disconnect()
                    _fail(topology, node, groups[node], error)
                else:
                    node.put(connection)
                sent.pop()
        finally:
            # The answers that remain after an interruption, such as by a signal handler, belong to no later call.
            for _, connection in sent:
                connection.disconnect()
        for command in commands:
            if isinstance(command.answer, redis.ResponseError):
                _judge(topology, command, command.answer)

    def _send(self, node: Node, group: Sequence[Command]) -> Connection:
        connection = node.take()
        try:
            packed = connection.pack_commands([part for command in group for part in command.commands()])
            connection.send_packed_command(packed)
        except BaseException:
            connection.disconnect()
            raise
        return connection


def _receive(connection: Connection, group: Sequence[Command], deadline: float) -> None:
    """Read the answers of commands that were sent on a connection."""
    for command in group:
        for _ in command.commands():
            if not connection.can_read(max(0.0, deadline - monotonic())):
                raise redis.TimeoutError('a node does not answer')
            try:
                command.answer = connection.read_response()
            except redis.ResponseError as error:
                code, _, message = str(error).partition(' ')
                command.answer = _CODES[code](message) if code in _CODES else error
        command.failure = None


def _fail(topology: Topology, node: Node, group: Sequence[Command], error: Exception) -> None:
    """Note that a node failed before it answered all commands of a group."""
    topology.fail(node)
    _note_failure(group, error)


def _note_failure(group: Sequence[Command], error: Exception) -> None:
    for command in group:
        if command.failure:
            command.failure, command.asking = error, None


def _judge(topology: Topology, command: Command, error: redis.ResponseError) -> None:
    """Note an error reply as a failure if another attempt may have another outcome."""
    command.asking = None
    if not isinstance(error, _RETRYABLE) and not any(message in str(error) for message in _RETRYABLE_MESSAGES):
        return
    command.answer, command.failure = None, error
    if isinstance(error, redis.exceptions.MovedError):
        topology.move(command.slot, (error.host, error.port))
    elif isinstance(error, redis.exceptions.AskError):
        command.asking = (error.host, error.port)
    elif isinstance(error, redis.exceptions.NoScriptError):
        command.needs_text = True
    elif not isinstance(error, redis.exceptions.TryAgainError):
        topology.is_stale = True
        topology.note_break()
