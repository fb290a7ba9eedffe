"""Statuses in a region of any other of Beaker's types, through its NamespaceManager.

Tasks are distributed over a fixed number of namespaces: ``file`` and ``ext:database`` rewrite a whole namespace at
every change, and Beaker never releases the objects that it creates for a namespace. Beside the records, each namespace
has an index of the ids in it, since memcached does not list its keys.
"""

import hashlib
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any

from beaker.cache import clsmap
from beaker.container import OpenResourceNamespaceManager
from beaker.ext.memcached import MemcachedNamespaceManager
from beaker.ext.sqla import SqlaNamespaceManager
from beaker.synchronization import _synchronizers
from beaker.util import SyncDict

from ..model import record as rules
from ..model.record import Activity, Record
from ..system import process
from .interface import Storage, StorageError
from .locks import Locks

NAMESPACES = 64

#: memcached interprets a longer lifetime as a date, which has passed.
_LONGEST_IN_BEAKER = 30 * 86400

_INDEX = 'index'


# Beaker pickles values, so these are tuples of plain values: a record, when it expires, and how many seconds after its
# last change that is; and in the index, the id with those two times as they were at the last check.
_Entry = tuple[Record, float, float]
_Indexed = tuple[str, float, float]


class BeakerStorage(Storage):
    """A region of a Beaker type: ``file``, ``dbm``, ``ext:database``, ``ext:memcached``, …

    :param region: the region's options, with a ``type`` that Beaker knows
    :param namespace: the prefix of the namespaces' names
    :param timeout: seconds to wait for a lock
    :raises ValueError: if the options are invalid, naming them
    :raises OSError: if the directory of the locks cannot be created
    """

    def __init__(self, region: Mapping[str, Any], namespace: str, timeout: float) -> None:
        self._manager: Any = clsmap[region['type']]
        self._options = {name: value for name, value in region.items() if value is not None}
        self._namespace = namespace
        self._locks = Locks(NAMESPACES + 1, _lock_directory(region), timeout)
        self._has_table = False
        self._check()

    def _check(self) -> None:
        """Check what can be checked without contacting a server."""
        kind = self._options['type']
        # Importing a library takes long. The first task would do it while others wait for a lock.
        self._manager._init_dependencies()
        if kind == 'ext:database':
            _check_database(self._options.get('url'))
            return
        try:
            with self._locks.hold(0):
                space = self._manager(f'{self._namespace}:00', **self._options)
        except StorageError:
            return  # others are using it, so it can be used
        except TypeError as error:  # an argument is missing
            raise ValueError(f'a region of type {kind} needs more options: {error}') from error
        for name in ('file_dir', 'dbm_dir'):
            directory = getattr(space, name, None)
            if directory and not os.access(directory, os.W_OK):
                raise PermissionError(f'{directory} cannot be written to')

    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        with self._bucket(progress_id, 'c') as bucket:
            if not rules.may_start(bucket.get(progress_id), record):
                return False
            bucket.put(progress_id, record, expire)
            return True

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        with self._bucket(progress_id, 'c') as bucket:
            record = rules.updated(bucket.get(progress_id), changes)
            if record is not None:
                bucket.put(progress_id, record, expire)

    def update_active(self, changes: Mapping[str, Record], expire: float) -> dict[str, Activity]:
        activities = {}
        for progress_id, change in changes.items():
            with self._bucket(progress_id, 'c') as bucket:
                old = bucket.get(progress_id)
                record = rules.updated_active(old, change)
                if record is not None:
                    bucket.put(progress_id, record, expire)
            if old is not None:
                activities[progress_id] = rules.activity(record or old)
        return activities

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        numbers: dict[int, list[str]] = {}
        for progress_id in progress_ids:
            numbers.setdefault(_number(progress_id), []).append(progress_id)
        texts = {}
        for number, ids in numbers.items():
            with self._numbered_bucket(number, 'r') as bucket:
                for progress_id in ids:
                    record = bucket.get(progress_id)
                    if record is not None:
                        texts[progress_id] = rules.dump(record)
        return texts

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        with self._bucket(progress_id, 'c') as bucket:
            record = rules.acknowledged(bucket.get(progress_id))
            if record is None:
                return False
            if linger:
                bucket.put(progress_id, record, linger)
            else:
                bucket.remove(progress_id)
            return True

    def delete(self, progress_id: str) -> None:
        with self._bucket(progress_id, 'c') as bucket:
            bucket.remove(progress_id)

    def running_ids(self) -> set[str]:
        ids: set[str] = set()
        for number in range(NAMESPACES):
            with self._numbered_bucket(number, 'r') as bucket:
                ids.update(bucket.listed())
        return ids

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        """Do nothing: connections are Beaker's, and no file stays open."""

    def _bucket(self, progress_id: str, flag: str) -> Any:
        return self._numbered_bucket(_number(progress_id), flag)

    @contextmanager
    def _numbered_bucket(self, number: int, flag: str) -> Iterator['_Bucket']:
        """Open a namespace, for reading ('r') or for changes ('c'), under its lock.

        Beaker's own access locks are left out: ``ext:database`` has none, and the others do not survive a fork.
        """
        try:
            with self._locks.hold(number):
                space = self._space(number)
                if not isinstance(space, OpenResourceNamespaceManager):
                    yield _Bucket(space)
                    return
                space.open(flag)
                try:
                    yield _Bucket(space)
                finally:
                    space.close()
        except StorageError:
            raise
        except Exception as error:
            raise StorageError(f'the region of type {self._options["type"]!r} failed: {error}') from error

    def _space(self, number: int) -> Any:
        """Return a new manager of a namespace: that of ``ext:database`` never reads again what it once loaded."""
        if self._has_table:
            return self._manager(f'{self._namespace}:{number:02x}', **self._options)
        # The first manager of ``ext:database`` makes the table: two that do so at the same time fail.
        with self._locks.hold(NAMESPACES):
            space = self._manager(f'{self._namespace}:{number:02x}', **self._options)
        self._has_table = True
        return space


class _Bucket:
    """An open and locked namespace."""

    def __init__(self, space: Any) -> None:
        self._space = space
        self._now = time.time()

    def get(self, progress_id: str) -> Record | None:
        entry = self._entry(_key(progress_id))
        return entry[0] if entry else None

    def put(self, progress_id: str, record: Record, expire: float) -> None:
        key = _key(progress_id)
        expires = self._now + expire
        index = self._index()
        if key not in index or index[key][1] > expires:
            if key not in index:
                self._sweep(index)
            # The index first: a record that is not in the index would never be removed.
            index[key] = (progress_id, expires, expire)
            self._store(_INDEX, index, _LONGEST_IN_BEAKER)
        self._store(key, (record, expires, expire), expire)

    def remove(self, progress_id: str) -> None:
        key = _key(progress_id)
        self._delete(key)
        index = self._index()
        if index.pop(key, None):
            self._store(_INDEX, index, _LONGEST_IN_BEAKER)

    def listed(self) -> Iterator[str]:
        for key, (progress_id, _, _) in self._index().items():
            entry = self._entry(key)
            if entry and rules.is_listed(entry[0]):
                yield progress_id

    def _index(self) -> dict[str, _Indexed]:
        return self._load(_INDEX) or {}

    def _sweep(self, index: dict[str, _Indexed]) -> None:
        """Remove the records that have expired, from the store and from the *index*.

        A record that expires later than its lifetime from now on was written before the clock was set back;
        its lifetime starts anew.
        """
        for key, (progress_id, expires, expire) in list(index.items()):
            if self._now < expires <= self._now + expire:
                continue
            entry = self._entry(key)
            if entry is None:
                self._delete(key)
                del index[key]
                continue
            record, expires, expire = entry
            if expires > self._now + expire:
                expires = self._now + expire
                self._store(key, (record, expires, expire), expire)
            index[key] = (progress_id, expires, expire)

    def _entry(self, key: str) -> _Entry | None:
        """Return the entry of a key, unless it has expired."""
        entry: _Entry | None = self._load(key)
        return entry if entry and self._now < entry[1] else None

    def _load(self, key: str) -> Any:
        try:
            return self._space[key]  # memcached returns None for a missing key
        except KeyError:
            return None

    def _store(self, key: str, value: Any, expire: float) -> None:
        # One more second, since memcached counts whole ticks of its clock; the exact time is checked here.
        self._space.set_value(key, value, expiretime=min(math.ceil(expire) + 1, _LONGEST_IN_BEAKER))

    def _delete(self, key: str) -> None:
        # Not every manager of Beaker's ignores the deletion of a missing key.
        if key in self._space:
            del self._space[key]


def _check_database(url: Any) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(url)
    except ArgumentError as error:
        raise ValueError(f'the url of a region of type ext:database is invalid: {error}') from error


@lru_cache(maxsize=1024)
def _digest(progress_id: str) -> bytes:
    return hashlib.blake2b(progress_id.encode(), digest_size=16).digest()


def _number(progress_id: str) -> int:
    return _digest(progress_id)[0] % NAMESPACES


def _key(progress_id: str) -> str:
    return _digest(progress_id).hex()


def _lock_directory(region: Mapping[str, Any]) -> Path:
    """Return the directory of a region's lock files."""
    if region.get('lock_dir'):
        return Path(region['lock_dir'])
    if region.get('data_dir'):
        return Path(region['data_dir'], 'container_progress_lock')
    return _temporary_directory()


def _temporary_directory() -> Path:
    """Return the directory that the processes of one user share if the region names none.

    :raises PermissionError: if another user made it, or may write to it
    """
    root = tempfile.gettempdir()
    if not hasattr(os, 'getuid'):  # on Windows, each user has a temporary directory
        return Path(root, 'pyramid_progress')
    directory = Path(root, f'pyramid_progress-{os.getuid()}')
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f'{directory} belongs to another user, or others may write to it: set the lock_dir')
    return directory


class _SharedByBeaker(process.Participant):
    """The locks and connections that Beaker shares among all its managers."""

    def after_fork_in_child(self) -> None:
        # The child must not use its parent's connections, nor wait for a thread that only the parent has.
        _synchronizers.mutex = RLock()
        for engine in SqlaNamespaceManager.binds.dict.values():
            engine.dispose(close=False)
        SqlaNamespaceManager.binds = SyncDict()
        SqlaNamespaceManager.tables = SyncDict()
        MemcachedNamespaceManager.clients = SyncDict()


_shared_by_beaker = _SharedByBeaker()
process.register(_shared_by_beaker)
