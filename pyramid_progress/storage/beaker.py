"""Statuses in a region of any other of Beaker's types, through its NamespaceManager.

Tasks are distributed over a fixed number of namespaces: ``file`` and ``ext:database`` rewrite a whole namespace at
every change, and Beaker never releases the objects that it creates for a namespace. A namespace holds the record of
each of its tasks, under another key the records of the task's parts, and an index of the tasks, since memcached does
not list its keys. The index holds what lists need, so that they read no records.
"""

import hashlib
import heapq
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
from ..model.record import Activity, Record, Start
from ..system import process
from .interface import Entry, StorageError
from .locks import REFUSED_WRITES, Locks
from .parts import PartRule, PartStorage

NAMESPACES = 64

#: The maximum lifetime in seconds: memcached interprets a larger number as a Unix time, which has passed.
_MAX_BEAKER_LIFETIME = 30 * 86400

_INDEX = 'index'


# Beaker pickles values, so these are tuples of plain values. A record as text, since a namespace full of texts is
# pickled in a fraction of the time that dicts take; when it expires; how many seconds after its last change that is:
_Stored = tuple[str, float, float]
# In the index, a task's id, those two times as they were at the last check, the start of its run, and the keys of the
# indexes that it is in (record.index_keys):
_Indexed = tuple[str, float, float, int, tuple[str, ...]]


class BeakerStorage(PartStorage):
    """A region of a Beaker type: ``file``, ``dbm``, ``ext:database``, ``ext:memcached``, …

    :param region: the region's options, with a ``type`` that Beaker knows
    :param namespace: the prefix of the namespaces' names
    :param timeout: seconds to wait for a lock
    :raises ValueError: if the options are invalid, naming them
    :raises OSError: if the directory of the locks cannot be created
    """

    # What `file` and `ext:database` keep, they write again at every change.
    default_linger = 3600.0
    watch_interval = 1.0  # each read takes the locks that changes take

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

    def start(self, progress_id: str, record: Record, expire: float, mode: Start = Start.ANY) -> bool:
        with self._bucket(progress_id, 'c') as bucket:
            if not rules.may_start(bucket.get(progress_id), record, mode, bucket.now):
                return False
            bucket.put(progress_id, record, expire)
            bucket.put_parts(progress_id, {})
            return True

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        with self._bucket(progress_id, 'c') as bucket:
            record = rules.updated(bucket.get(progress_id), changes)
            if record is not None:
                bucket.put(progress_id, record, expire)

    def update_active(
        self, changes: Mapping[str, Record], expire: float, runs: Mapping[str, str] | None = None
    ) -> dict[str, Activity]:
        activities = {}
        for progress_id, change in changes.items():
            run = runs.get(progress_id) if runs else None
            with self._bucket(progress_id, 'c' if change else 'r') as bucket:
                old = bucket.get(progress_id)
                new = rules.updated_active(old, change, run)
                if new is not None:
                    bucket.put(progress_id, new, expire)
            activity = rules.activity(new or old, run)
            if activity is not None:
                activities[progress_id] = activity
        return activities

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        numbers: dict[int, list[str]] = {}
        for progress_id in progress_ids:
            numbers.setdefault(_number(progress_id), []).append(progress_id)
        texts = {}
        for number, ids in numbers.items():
            with self._numbered_bucket(number, 'r') as bucket:
                for progress_id in ids:
                    text = bucket.text(progress_id)
                    if text is not None:
                        texts[progress_id] = text
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

    def delete(self, progress_id: str, run: str | None = None) -> bool:
        with self._bucket(progress_id, 'c') as bucket:
            record = bucket.get(progress_id)
            if record is None or not rules.is_of_run(record, run):
                return False
            bucket.remove(progress_id)
            return True

    def list_entries(self, keys: Sequence[str], limit: int, before: Entry | None = None) -> list[Entry]:
        entries: list[Entry] = []
        for number in range(NAMESPACES):
            with self._numbered_bucket(number, 'r') as bucket:
                entries.extend(bucket.entries(keys, before))
        return heapq.nlargest(limit, entries)

    def prune(self, key: str, progress_ids: Sequence[str]) -> None:
        for progress_id in progress_ids:
            with self._bucket(progress_id, 'c') as bucket:
                bucket.prune(progress_id)

    def running_ids(self) -> set[str]:
        ids: set[str] = set()
        for number in range(NAMESPACES):
            with self._numbered_bucket(number, 'r') as bucket:
                ids.update(bucket.listed())
        return ids

    def _change_part(self, progress_id: str, number: int, rule: PartRule, expire: float) -> Activity | None:
        with self._bucket(progress_id, 'c') as bucket:
            task = bucket.get(progress_id)
            others = bucket.parts(progress_id)
            change = rule(task, others.get(number))
            if change.task is not None and change.part is not None:
                bucket.put(progress_id, change.task, expire)
                bucket.put_parts(progress_id, others | {number: change.part})
            return change.activity

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
            with self._locks.hold(number, for_reading=flag == 'r'), self._opened(number, flag) as space:
                yield _Bucket(space)
        except StorageError:
            raise
        except Exception as error:
            raise StorageError(f'the region of type {self._options["type"]!r} failed: {error}') from error

    @contextmanager
    def _opened(self, number: int, flag: str) -> Iterator[Any]:
        try:
            space = self._space(number)
            if isinstance(space, OpenResourceNamespaceManager):
                space.open(flag)
        except OSError as error:
            if flag != 'r' or error.errno not in REFUSED_WRITES:
                raise
            # Beaker creates the file of a ``dbm`` namespace to read it. If it cannot, there is nothing to read.
            yield {}
            return
        try:
            yield space
        finally:
            if isinstance(space, OpenResourceNamespaceManager):
                space.close()

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
        self.now = time.time()

    def text(self, progress_id: str) -> str | None:
        """Return a record as text."""
        stored = self._stored(record_key(progress_id))
        return stored[0] if stored else None

    def get(self, progress_id: str) -> Record | None:
        text = self.text(progress_id)
        return rules.load(text) if text else None

    def put(self, progress_id: str, record: Record, expire: float) -> None:
        key = record_key(progress_id)
        new = _indexed(progress_id, record, self.now + expire, expire)
        index = self._index()
        old = index.get(key)
        if old is None or old[1] > new[1] or old[3:] != new[3:]:
            if old is None:
                self._sweep(index)
            # The index first: a record that is not in the index would never be removed.
            index[key] = new
            self._store_index(index)
        self._store(key, (rules.dump(record), new[1], expire), expire)

    def parts(self, progress_id: str) -> dict[int, Record]:
        """Return the records of a task's parts by number."""
        return self._load(parts_key(record_key(progress_id))) or {}

    def put_parts(self, progress_id: str, records: dict[int, Record]) -> None:
        key = parts_key(record_key(progress_id))
        if records:
            # They are removed with the record of their task, whose lifetime other changes extend.
            self._store(key, records, _MAX_BEAKER_LIFETIME)
        else:
            self._delete(key)

    def remove(self, progress_id: str) -> None:
        key = record_key(progress_id)
        index = self._index()
        self._remove(key)
        if index.pop(key, None):
            self._store_index(index)

    def prune(self, progress_id: str) -> None:
        """Write the index entry of a task from its record. If there is no record, remove the entry and the parts."""
        key = record_key(progress_id)
        stored = self._stored(key)
        if stored is None:
            self.remove(progress_id)
        else:
            text, expires, expire = stored
            self._store_index(self._index() | {key: _indexed(progress_id, rules.load(text), expires, expire)})

    def entries(self, keys: Sequence[str], before: Entry | None) -> Iterator[Entry]:
        """Return the tasks that are in any of the indexes with these *keys*, in no order."""
        for progress_id, _, _, start, own_keys in self._index().values():
            entry = Entry(start, progress_id)
            if (before is None or entry < before) and not set(own_keys).isdisjoint(keys):
                yield entry

    def listed(self) -> Iterator[str]:
        """Return the ids of the tasks on the running list."""
        for key, (progress_id, *_, own_keys) in self._index().items():
            stored = self._stored(key) if rules.RUNNING_KEY in own_keys else None
            if stored and rules.is_listed(rules.load(stored[0])):
                yield progress_id

    def _index(self) -> dict[str, _Indexed]:
        return self._load(_INDEX) or {}

    def _store_index(self, index: dict[str, _Indexed]) -> None:
        self._store(_INDEX, index, _MAX_BEAKER_LIFETIME)

    def _sweep(self, index: dict[str, _Indexed]) -> None:
        """Remove the records that have expired, from the store and from the *index*.

        A record that expires later than its lifetime from now on was written before the clock was set back;
        its lifetime starts anew.
        """
        for key, (progress_id, expires, expire, *_) in list(index.items()):
            if self.now < expires <= self.now + expire:
                continue
            stored = self._stored(key)
            if stored is None:
                self._remove(key)
                del index[key]
                continue
            text, expires, expire = stored
            if expires > self.now + expire:
                expires = self.now + expire
                self._store(key, (text, expires, expire), expire)
            index[key] = _indexed(progress_id, rules.load(text), expires, expire)

    def _stored(self, key: str) -> _Stored | None:
        """Return what is stored under the key of a task, unless it has expired."""
        stored: _Stored | None = self._load(key)
        return stored if stored and self.now < stored[1] else None

    def _load(self, key: str) -> Any:
        try:
            return self._space[key]  # memcached returns None for a missing key
        except KeyError:
            return None

    def _store(self, key: str, value: Any, expire: float) -> None:
        # One more second, since memcached counts whole ticks of its clock; the exact time is checked here.
        self._space.set_value(key, value, expiretime=min(math.ceil(expire) + 1, _MAX_BEAKER_LIFETIME))

    def _remove(self, key: str) -> None:
        """Remove the records of a task and of its parts."""
        self._delete(key)
        self._delete(parts_key(key))

    def _delete(self, key: str) -> None:
        # Not every manager of Beaker's ignores the deletion of a missing key.
        if key in self._space:
            del self._space[key]


def _indexed(progress_id: str, record: Record, expires: float, expire: float) -> _Indexed:
    return progress_id, expires, expire, rules.start_time(record), rules.index_keys(record)


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


def record_key(progress_id: str) -> str:
    """Return the key of a task's record in its namespace."""
    return _digest(progress_id).hex()


def parts_key(key: str) -> str:
    """Return the key of the records of a task's parts, beside the *key* of its own record."""
    return f'{key}.parts'


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
