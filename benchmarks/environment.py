"""Directories on the disk, and Redis servers, in which the benchmarks measure. They are removed at the end."""

import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from . import missing

#: Seconds that a server may take to answer.
_START_TIMEOUT = 10


class Environment:
    """A new directory, and servers, that no other run and no other program uses."""

    def __enter__(self) -> 'Environment':
        self._until_the_end = ExitStack()
        # Not below /tmp, which may be memory.
        var = Path(__file__).parents[1] / 'var'
        var.mkdir(exist_ok=True)
        self._path = Path(self._until_the_end.enter_context(tempfile.TemporaryDirectory(prefix='bench-', dir=var)))
        self._redis: dict[str, str] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._until_the_end.close()

    def directory(self, name: str) -> Path:
        """Return the directory of that name, which is made when it is first asked for."""
        path = self._path / name
        path.mkdir(exist_ok=True)
        return path

    def redis(self, name: str = 'redis') -> str:
        """Return the url of the Redis server of that name, which is started when it is first asked for.

        :raises missing.Missing: if redis-server or redis-py is not installed
        """
        if name not in self._redis:
            self._redis[name] = self._start_redis(self.directory(name))
        return self._redis[name]

    def settings(self, kind: str, name: str) -> dict[str, str]:
        """Return the settings of an application with both regions in one store.

        :param kind: the regions' type
        :param name: of the directory, or server, that is used by nothing else
        """
        settings = {'cache.regions': 'default, persistent', 'cache.type': kind, 'cache.expire': '86400'}
        if kind == 'ext:redis':
            return settings | {'cache.url': self.redis(name)}
        if kind == 'memory':
            return settings
        return settings | {'cache.data_dir': str(self.directory(name)), 'cache.lock_dir': str(self.directory(name))}

    def _start_redis(self, directory: Path) -> str:
        redis = missing.module('redis', 'redis')
        program = missing.program('redis-server')
        with socket.create_server(('127.0.0.1', 0)) as free:
            port = free.getsockname()[1]
        server = subprocess.Popen(  # noqa: S603
            [program, '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
            cwd=directory,
            stdout=subprocess.DEVNULL,
        )
        self._until_the_end.callback(server.wait)
        self._until_the_end.callback(server.terminate)
        url = f'redis://127.0.0.1:{port}/0'
        deadline = time.monotonic() + _START_TIMEOUT
        with redis.Redis.from_url(url) as client:
            while True:
                try:
                    client.ping()
                    return url
                except redis.ConnectionError:
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
