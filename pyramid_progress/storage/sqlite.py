"""Statuses in a region of the type ``sqlite``: one row for each task."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from ..beaker_sqlite.database import FILE_NAME, Database, Execute, Schema
from ..beaker_sqlite.expiry import due, sweep
from ..model import record as rules
from ..model.record import Activity, Record
from .interface import Storage, StorageError

_SCHEMA = Schema(
    'progress',
    (
        (
            'CREATE TABLE IF NOT EXISTS progress (namespace TEXT, key TEXT, record TEXT NOT NULL,'
            ' listed INTEGER NOT NULL, expires REAL NOT NULL, expire REAL NOT NULL, due REAL NOT NULL,'
            ' PRIMARY KEY (namespace, key)) WITHOUT ROWID',
            'CREATE INDEX IF NOT EXISTS progress_due ON progress (due)',
            'CREATE INDEX IF NOT EXISTS progress_listed ON progress (namespace) WHERE listed',
        ),
    ),
)

_TEXT = 'SELECT record FROM progress WHERE namespace = ? AND expires > ? AND key = ?'
_LIST = 'SELECT key FROM progress INDEXED BY progress_listed WHERE namespace = ? AND listed AND expires > ?'
_INSERT = (
    'INSERT INTO progress (record, expires, expire, listed, due, namespace, key) VALUES (?, ?, ?, ?, ?, ?, ?)'
    ' ON CONFLICT (namespace, key) DO UPDATE SET record = excluded.record, expires = excluded.expires,'
    ' expire = excluded.expire, listed = excluded.listed, due = excluded.due WHERE expires <= ?'
)
# No lock is held between reading and writing. The row changes only if its record is still the one that was read.
_UPDATE = (
    'UPDATE progress SET record = ?, expires = ?, expire = ?'
    ' WHERE namespace = ? AND key = ? AND expires > ? AND record = ?'
)
_UPDATE_WITH_INDEXES = (
    'UPDATE progress SET record = ?, expires = ?, expire = ?, listed = ?, due = ?'
    ' WHERE namespace = ? AND key = ? AND expires > ? AND record = ?'
)
_DELETE = 'DELETE FROM progress WHERE namespace = ? AND key = ?'

#: SQLite before 3.32 takes no more than 999 parameters.
_KEYS_PER_SELECT = 500

#: How many rows are kept in memory.
_ROWS = 256


class _Row(NamedTuple):
    """The row of a task, with its record parsed."""

    text: str
    listed: bool
    due: float
    record: Record


#: Makes a row of a tuple, in a third of the time that the class takes: every change makes one.
_row: Callable[[tuple[str, bool, float, Record]], _Row] = partial(tuple.__new__, _Row)


class SqliteStorage(Storage):
    """A region of the type ``sqlite``.

    :param region: the region's options, with a ``data_dir``
    :param namespace: the prefix that separates our rows from those of other applications
    :param timeout: seconds to wait for threads and processes that are writing
    :raises ValueError: if there is no ``data_dir``
    :raises OSError: if the file in it cannot be used
    """

    def __init__(self, region: Mapping[str, Any], namespace: str, timeout: float) -> None:
        if not region.get('data_dir'):
            raise ValueError('a region of type sqlite needs a data_dir')
        path = Path(region['data_dir'], FILE_NAME)
        self._namespace = namespace
        self._writing = Database(path, _SCHEMA, timeout, StorageError)
        # A thread that reads does not wait for one that waits to write.
        self._reading = Database(path, _SCHEMA, timeout, StorageError)
        # Rows as this process last wrote them: a task usually has one writer, which then need not read the row first.
        self._written: dict[str, _Row] = {}

    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        with self._writing as execute:
            return self._change(
                execute, progress_id, lambda old: dict(record) if rules.may_start(old, record) else None, expire
            )

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        with self._writing as execute:
            now = time.time()
            row = self._written.pop(progress_id, None)
            if row:
                new = rules.updated(row.record, changes)
                if new and self._put(execute, progress_id, row, new, now, expire):
                    return
            self._change(execute, progress_id, lambda old: rules.updated(old, changes), expire)

    def update_active(self, changes: Mapping[str, Record], expire: float) -> dict[str, Activity]:
        with self._writing as execute:
            while True:
                now = time.time()
                rows = self._rows(execute, list(changes), now)
                new = {key: rules.updated_active(row.record, changes[key]) for key, row in rows.items()}
                puts = [(key, rows[key], record) for key, record in new.items() if record]
                if len(puts) > 1:
                    execute('BEGIN IMMEDIATE')
                done = all(self._put(execute, *put, now, expire) for put in puts)
                if len(puts) > 1:
                    execute('COMMIT' if done else 'ROLLBACK')
                if done:
                    return {key: rules.activity(new[key] or row.record) for key, row in rows.items()}

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        with self._reading as execute:
            now = time.time()
            if len(progress_ids) == 1:  # the usual case, the shortest way
                row = execute(_TEXT, (self._namespace, now, *progress_ids)).fetchone()
                return {progress_ids[0]: row[0]} if row else {}
            return dict(self._select(execute, 'key, record', progress_ids, now))

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        with self._writing as execute:
            return self._change(execute, progress_id, rules.acknowledged, linger)

    def delete(self, progress_id: str) -> None:
        with self._writing as execute:
            execute(_DELETE, (self._namespace, progress_id))

    def running_ids(self) -> set[str]:
        with self._reading as execute:
            return {progress_id for (progress_id,) in execute(_LIST, (self._namespace, time.time()))}

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        self._writing.close()
        self._reading.close()

    def _change(
        self, execute: Execute, progress_id: str, rule: Callable[[Record | None], Record | None], expire: float
    ) -> bool:
        """Store the record that a rule returns; return False if that is None."""
        while True:
            now = time.time()
            row = self._rows(execute, (progress_id,), now).get(progress_id)
            new = rule(row.record if row else None)
            if new is None:
                return False
            if self._put(execute, progress_id, row, new, now, expire):
                return True

    def _put(
        self, execute: Execute, progress_id: str, row: _Row | None, record: Record, now: float, expire: float
    ) -> bool:
        """Replace a row by a record; return False if the row has changed since it was read."""
        text = rules.dump(record)
        listed = rules.is_listed(record)
        expires = now + expire
        if row and listed == row.listed and row.due <= expires:
            look = row.due
            count = execute(_UPDATE, (text, expires, expire, self._namespace, progress_id, now, row.text)).rowcount
        else:
            look = due(now, expires)
            values = text, expires, expire, listed, look, self._namespace, progress_id, now
            if row:
                count = execute(_UPDATE_WITH_INDEXES, (*values, row.text)).rowcount
            else:
                count = execute(_INSERT, values).rowcount
                sweep(execute, 'progress', now)
        if not count:
            return False
        if len(self._written) >= _ROWS:
            self._written.clear()
        self._written[progress_id] = _row((text, listed, look, record))
        return True

    def _rows(self, execute: Execute, progress_ids: Sequence[str], now: float) -> dict[str, _Row]:
        return {
            progress_id: _Row(text, bool(listed), look, rules.load(text))
            for progress_id, text, listed, look in self._select(execute, 'key, record, listed, due', progress_ids, now)
        }

    def _select(self, execute: Execute, columns: str, progress_ids: Sequence[str], now: float) -> list[Any]:
        """Return columns of the rows of those ids that have one."""
        count = len(progress_ids)
        if count > _KEYS_PER_SELECT:
            first, second = progress_ids[: count // 2], progress_ids[count // 2 :]
            return self._select(execute, columns, first, now) + self._select(execute, columns, second, now)
        return execute(_select(columns, count), (self._namespace, now, *progress_ids)).fetchall()


@cache
def _select(columns: str, count: int) -> str:
    marks = ', '.join('?' * count)
    return f'SELECT {columns} FROM progress WHERE namespace = ? AND expires > ? AND key IN ({marks})'  # noqa: S608
