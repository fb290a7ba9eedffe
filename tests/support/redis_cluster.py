"""A Redis Cluster of real servers."""

import socket
import subprocess
from contextlib import ExitStack

import redis

from .servers import RedisServer
from .waiting import wait_until

#: Milliseconds after which the nodes of a cluster consider one of them as failed.
NODE_TIMEOUT = 1000

#: How far the port on which nodes talk to each other is from that for clients.
_BUS = 10000


def _free_port():
    """Return a TCP port on which no program listens, nor on the one of the bus."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
            if port + _BUS < 65536 and bus.connect_ex(('127.0.0.1', port + _BUS)) != 0:
                return port


class RedisCluster:
    """Three primaries, each with a replica. It runs until :meth:`stop`.

    :param path: the program redis-server
    :param cli: the program redis-cli
    :param directory: an empty directory
    :param options: more command line arguments of each server
    """

    def __init__(self, path, cli, directory, *options):
        self._cli = cli
        self._stack = ExitStack()
        self.servers = []
        try:
            for number in range(6):
                its = directory / str(number)
                its.mkdir()
                cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', str(NODE_TIMEOUT)]
                fast = ['--repl-diskless-sync-delay', '0', '--cluster-replica-validity-factor', '0']
                server = RedisServer(path, its, *cluster, *fast, *options, port=_free_port())
                self._stack.callback(server.stop)
                self.servers.append(server)
            addresses = [f'127.0.0.1:{server.port}' for server in self.servers]
            self.cli('create', *addresses, '--cluster-replicas', '1', '--cluster-yes')
            wait_until(self.is_complete, 30, 'the cluster does not become complete')
        except BaseException:
            self.stop()
            raise

    def stop(self):
        self._stack.close()

    def cli(self, *arguments):
        """Run ``redis-cli --cluster`` and return what it prints."""
        result = subprocess.run(
            [self._cli, '--cluster', *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    @property
    def urls(self):
        """The addresses of all nodes, as the option of a region."""
        return ','.join(f'redis://127.0.0.1:{server.port}' for server in self.servers)

    @staticmethod
    def client(server):
        """Return a client of one node."""
        return redis.Redis(port=server.port, socket_timeout=5)

    def primary_of(self, key):
        """Return the server that has a key, as the first node that runs knows it."""
        for server in self.servers:
            try:
                with self.client(server) as client:
                    slot = client.execute_command('CLUSTER', 'KEYSLOT', key)
                    for first, last, node in self._ranges(client):
                        if first <= slot <= last:
                            return self.by_port(node)
            except redis.RedisError:
                continue
        raise AssertionError(f'no node serves {key!r}')

    def by_port(self, port):
        return next(server for server in self.servers if server.port == port)

    @staticmethod
    def _ranges(client):
        """Return first slot, last slot and port of the primary of each range."""
        return [
            (int(first), int(last), int(port))
            for (first, last), port in (
                (slots, value['primary'][1]) for slots, value in client.execute_command('CLUSTER SLOTS').items()
            )
        ]

    def primaries(self):
        """Return the servers that have slots now."""
        for server in self.servers:
            try:
                with self.client(server) as client:
                    return [self.by_port(port) for port in sorted({port for *_, port in self._ranges(client)})]
            except redis.RedisError:
                continue
        raise AssertionError('no node answers')

    def is_complete(self):
        """Return whether all nodes know that all slots are served, and the replicas are up to date."""
        for server in self.servers:
            with self.client(server) as client:
                info = client.execute_command('CLUSTER INFO')
                if info['cluster_state'] != 'ok' or info['cluster_known_nodes'] != '6':
                    return False
                role = client.role()
                if role[0] == b'slave' and role[3] != b'connected':
                    return False
        return True
