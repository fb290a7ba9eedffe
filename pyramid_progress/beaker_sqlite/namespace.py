"""The Beaker backend ``sqlite``, for the caches and sessions of an application."""

import pickle
import time
from pathlib import Path
from typing import Any

from beaker.container import NamespaceManager
from beaker.exceptions import MissingCacheParameter

from . import creation_lock, database
from .creation_lock import CreationLock
from .database import Database, Schema
from .expiry import due, sweep

#: Seconds to wait for threads and processes that are writing.
_TIMEOUT = 10.0

_SCHEMA = Schema(
    'beaker_cache',
    (
        (
            # Keys have no type: a cache has bytes, a session text.
            'CREATE TABLE IF NOT EXISTS beaker_cache (namespace TEXT, key, value BLOB NOT NULL,'
            ' expires REAL, expire REAL, due REAL, PRIMARY KEY (namespace, key))',
            'CREATE INDEX IF NOT EXISTS beaker_cache_due ON beaker_cache (due)',
        ),
    ),
)

#: All namespaces in a file share one connection, until the process ends.
_databases: dict[Path, Database] = {}

_LIVE = 'FROM beaker_cache WHERE namespace = ? AND ifnull(expires > ?, TRUE)'
_SELECT = f'SELECT value {_LIVE} AND key = ?'
_KEYS = f'SELECT key {_LIVE}'
_REPLACE = 'REPLACE INTO beaker_cache (namespace, key, value, expires, expire, due) VALUES (?, ?, ?, ?, ?, ?)'
_DELETE = 'DELETE FROM beaker_cache WHERE namespace = ? AND key = ?'
_CLEAR = 'DELETE FROM beaker_cache WHERE namespace = ?'


class SqliteNamespaceManager(NamespaceManager):  # type: ignore[misc]
    """A namespace in a SQLite file, for the threads and processes of one machine.

    Values are pickled, as in Beaker's own types. Expired values are deleted when a value is stored. Every method raises
    :class:`~.database.DatabaseError` if the file cannot be used any more.

    :param namespace: the name of the namespace
    :param data_dir: the directory of the file
    :param lock_dir: the directory of the file with the locks; None for the same
    :param timeout: the lifetime in seconds of values that are stored without one, as sessions are; None for no limit
    :param options: other options of a region, which are ignored
    :raises beaker.exceptions.MissingCacheParameter: if there is no ``data_dir``
    :raises OSError: if the file cannot be used
    """

    def __init__(
        self,
        namespace: str,
        data_dir: str | None = None,
        lock_dir: str | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(namespace)
        if not data_dir:
            raise MissingCacheParameter('data_dir is required')
        path = Path(data_dir, database.FILE_NAME).absolute()
        if path not in _databases:
            new = Database(path, _SCHEMA, _TIMEOUT)
            new.check()
            _databases.setdefault(path, new)
        self._database = _databases[path]
        self._lock_path = Path(lock_dir or data_dir, creation_lock.FILE_NAME).absolute()
        self._lifetime = None if timeout is None else float(timeout)

    def get_creation_lock(self, key: str | bytes) -> CreationLock:
        """Return the lock under which the value of a *key* is created."""
        return CreationLock(self._lock_path, f'{self.namespace} {key!r}')

    def __getitem__(self, key: str | bytes) -> Any:
        row = self._row(key)
        if row is None:
            raise KeyError(key)
        return pickle.loads(row[0])  # noqa: S301  (as Beaker does; only this class writes these rows)

    def __contains__(self, key: str | bytes) -> bool:
        return self._row(key) is not None

    def __setitem__(self, key: str | bytes, value: Any) -> None:
        self.set_value(key, value)

    def set_value(self, key: str | bytes, value: Any, expiretime: float | None = None) -> None:
        """Store a value.

        :param key: its key
        :param value: anything that can be pickled
        :param expiretime: its lifetime in seconds; None for that of the namespace
        """
        now = time.time()
        lifetime = self._lifetime if expiretime is None else expiretime
        times = (None, None, None) if lifetime is None else (now + lifetime, lifetime, due(now, now + lifetime))
        pickled = pickle.dumps(value)
        with self._database as execute:
            execute(_REPLACE, (self.namespace, key, pickled, *times))
            sweep(execute, 'beaker_cache', now)

    def __delitem__(self, key: str | bytes) -> None:
        with self._database as execute:
            count = execute(_DELETE, (self.namespace, key)).rowcount
        if not count:
            raise KeyError(key)

    def keys(self) -> list[str | bytes]:
        """Return the keys of the values that have not expired."""
        with self._database as execute:
            return [key for (key,) in execute(_KEYS, (self.namespace, time.time()))]

    def do_remove(self) -> None:
        """Remove all values of the namespace."""
        with self._database as execute:
            execute(_CLEAR, (self.namespace,))

    def _row(self, key: str | bytes) -> Any:
        with self._database as execute:
            return execute(_SELECT, (self.namespace, time.time(), key)).fetchone()
