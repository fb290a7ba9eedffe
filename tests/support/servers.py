"""Real servers, each in a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

from .waiting import wait_until


def free_port():
    """Return a TCP port on which no program listens."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Server:
    """A program that listens on a port of this machine. It runs from the construction to :meth:`stop`.

    :param command: the program and its arguments
    :param port: the port on which it listens when it is ready
    :param log: the file to which it appends its output; discarded by default
    :param options: options of :class:`subprocess.Popen`
    """

    def __init__(self, command, port, log=os.devnull, **options):
        self.port = port
        self._command = command
        self._log = Path(log)
        self._options = options
        self.start()

    def start(self):
        """Start the program, always on the same port."""
        with self._log.open('ab') as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._options)
        try:
            wait_until(self._listens, 60, f'{self._command[0]} does not listen on port {self.port}')
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """Kill it, and wait for its end. What it holds in memory is lost."""
        self.process.kill()
        self.process.wait()

    def pause(self):
        """Make it hang: it keeps its connections and answers none."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Undo :meth:`pause`."""
        self.process.send_signal(signal.SIGCONT)

    @property
    def log(self):
        """What it printed, if that is not discarded."""
        return self._log.read_text()

    @contextlib.contextmanager
    def down(self):
        """Make it hang during the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def _listens(self):
        assert self.process.poll() is None, f'{self._command} ended with {self.process.returncode}\n{self.log}'
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', self.port)) == 0


class RedisServer(Server):
    """A redis-server that writes nothing to its directory.

    :param path: the program
    :param directory: an empty directory
    :param options: more command line arguments
    :param port: the port; any by default
    """

    def __init__(self, path, directory, *options, port=None):
        port = port or free_port()
        self.url = f'redis://127.0.0.1:{port}/0'
        arguments = ['--port', str(port), '--bind', '127.0.0.1', '--dir', str(directory), '--save', '']
        super().__init__([path, *arguments, '--appendonly', 'no', *options], port)


class MemcachedServer(Server):
    """A memcached.

    :param path: the program
    """

    def __init__(self, path):
        port = free_port()
        self.url = f'127.0.0.1:{port}'
        user = ['-u', 'root'] if os.getuid() == 0 else []
        super().__init__([path, '-l', '127.0.0.1', '-p', str(port), *user], port)
