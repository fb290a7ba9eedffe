"""A Redis Cluster of real servers."""

import os
import socket
import subprocess
from contextlib import ExitStack

import redis

from .servers import RedisServer
from .waiting import wait_until

#: Milliseconds after which the nodes of a cluster consider one of them as failed.
NODE_TIMEOUT = 1000

#: The offset of the cluster bus port from the client port.
_BUS = 10000


def _free_port():
    """Return a free TCP port whose cluster bus port is free, too."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
            if port + _BUS < 65536 and bus.connect_ex(('127.0.0.1', port + _BUS)) != 0:
                return port


class RedisCluster:
    """Three primaries with replicas. It runs until :meth:`stop`.

    :param path: the program redis-server
    :param cli: the program redis-cli
    :param directory: an empty directory
    :param password: the one of the default user, if it has one
    :param replicas: how many replicas each primary has
    """

    def __init__(self, path, cli, directory, *, password='', replicas=1):
        self._cli = cli
        self._password = password
        self._stack = ExitStack()
        options = ['--requirepass', password, '--masterauth', password] if password else []
        self.servers = []
        try:
            for number in range(3 + 3 * replicas):
                its = directory / str(number)
                its.mkdir()
                cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', str(NODE_TIMEOUT)]
                fast = ['--repl-diskless-sync-delay', '0', '--cluster-replica-validity-factor', '0']
                server = RedisServer(path, its, *cluster, *fast, *options, port=_free_port())
                self._stack.callback(server.stop)
                self.servers.append(server)
            addresses = [f'127.0.0.1:{server.port}' for server in self.servers]
            self.cli('create', *addresses, '--cluster-replicas', str(replicas), '--cluster-yes')
            wait_until(self.is_complete, 30, 'the cluster does not become complete')
        except BaseException:
            self.stop()
            raise

    def stop(self):
        self._stack.close()

    def cli(self, *arguments):
        """Run ``redis-cli --cluster`` and return what it prints."""
        environment = os.environ | ({'REDISCLI_AUTH': self._password} if self._password else {})
        command = [self._cli, '--cluster', *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    @property
    def urls(self):
        """The addresses of all nodes, as the option of a region."""
        return ','.join(f'redis://127.0.0.1:{server.port}' for server in self.servers)

    def client(self, server):
        """Return a client of one node."""
        return redis.Redis(port=server.port, password=self._password or None, socket_timeout=1)

    def primary_of(self, key):
        """Return the server that has a key."""
        with self.client(self.servers[0]) as client:
            slot = client.execute_command('CLUSTER', 'KEYSLOT', key)
        [server] = [server for first, last, server in self._ranges() if first <= slot <= last]
        return server

    def primaries(self, but=None):
        """Return the servers that have slots.

        :param but: a server that is not asked
        """
        return list(dict.fromkeys(server for *_, server in self._ranges(but)))

    def _ranges(self, but=None):
        """Return the first and the last slot of each range, and the server that has it."""
        asked = next(server for server in self.servers if server is not but)
        with self.client(asked) as client:
            slots = client.execute_command('CLUSTER SLOTS')
        by_port = {server.port: server for server in self.servers}
        return [(first, last, by_port[primary[1]]) for first, last, primary, *_ in slots]

    def is_complete(self):
        """Return whether all nodes know that all slots are served, and all replicas are connected."""
        for server in self.servers:
            with self.client(server) as client:
                info = client.execute_command('CLUSTER INFO')
                if info['cluster_state'] != 'ok' or info['cluster_known_nodes'] != str(len(self.servers)):
                    return False
                role = client.role()
                if role[0] == b'slave' and role[3] != b'connected':
                    return False
        return True
