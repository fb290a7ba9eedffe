"""Statuses in a region of the type ``sqlite``: one row for each task, and one for each part that was started."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from ..beaker_sqlite.database import FILE_NAME, Database, Execute
from ..beaker_sqlite.expiry import due, sweep
from ..model import record as rules
from ..model.record import RUNNING_KEY, TERMINAL_STATUSES, Activity, Record, Start
from .interface import Entry, StorageError
from .parts import PartRule, PartStorage
from .sqlite_schema import SCHEMA, indexed

_TEXT = 'SELECT record FROM progress WHERE namespace = ? AND expires > ? AND key = ?'
_RUNNING = 'SELECT key FROM progress INDEXED BY progress_listed WHERE namespace = ? AND listed = ? AND expires > ?'

_INSERT = (
    'INSERT INTO progress (record, expires, expire, due, owner, ended, listed, start, namespace, key)'
    ' VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'
    ' ON CONFLICT (namespace, key) DO UPDATE SET record = excluded.record, expires = excluded.expires,'
    ' expire = excluded.expire, due = excluded.due, owner = excluded.owner, ended = excluded.ended,'
    ' listed = excluded.listed, start = excluded.start WHERE expires <= ?'
)
# No lock is held between reading and writing. A row changes only if its record is still the one that was read. With the
# row id, SQLite does not use the index of the keys, of which it would have to read a page again after each change by
# another process. The key is compared as well, because the row id may be that of another task by now.
_IF_SAME = 'WHERE rowid = ? AND namespace = ? AND key = ? AND expires > ? AND record = ?'
# An update that moves a task in no index touches none.
_UPDATE = f'UPDATE progress SET record = ?, expires = ?, expire = ? {_IF_SAME}'  # noqa: S608
_MOVE = (
    'UPDATE progress SET record = ?, expires = ?, expire = ?, due = ?,'  # noqa: S608
    f' owner = ?, ended = ?, listed = ? {_IF_SAME}'
)
# To set the start deletes the parts: see the schema.
_RESTART = (
    'UPDATE progress SET record = ?, expires = ?, expire = ?, due = ?,'  # noqa: S608
    f' owner = ?, ended = ?, listed = ?, start = ? {_IF_SAME}'
)
_DELETE_IF_SAME = f'DELETE FROM progress {_IF_SAME}'  # noqa: S608

_TASK_AND_PART = (
    'SELECT progress.rowid, progress.record, due, progress_parts.record FROM progress LEFT JOIN progress_parts'
    ' ON progress_parts.namespace = progress.namespace AND progress_parts.key = progress.key AND number = ?'
    ' WHERE progress.namespace = ? AND progress.key = ? AND expires > ?'
)
_INSERT_PART = 'INSERT INTO progress_parts (record, namespace, key, number) VALUES (?, ?, ?, ?)'
_UPDATE_PART = 'UPDATE progress_parts SET record = ? WHERE namespace = ? AND key = ? AND number = ?'

#: SQLite before 3.32 takes no more than 999 parameters.
_KEYS_PER_SELECT = 500

#: How many rows are kept in memory.
_ROWS = 256

#: How many connections there are for threads that read at the same time. They are opened when they are used.
READERS = 8

#: Seconds after which to look for expired rows again if there was none.
_SWEEP_INTERVAL = 1.0

#: Precedes every entry.
_NEWEST = Entry(2**63 - 1, '')


class _Row(NamedTuple):
    """The row of a task, with its record parsed."""

    rowid: int
    text: str
    due: float
    record: Record


#: Makes a row of a tuple, in a third of the time that the class takes: every change makes one.
_row: Callable[[tuple[int, str, float, Record]], _Row] = partial(tuple.__new__, _Row)


class SqliteStorage(PartStorage):
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
        self._writing = Database(path, SCHEMA, timeout, StorageError)
        self._writing.check()
        # A thread that reads waits neither for one that waits to write, nor for one that reads a long list.
        self._readers = [Database(path, SCHEMA, timeout, StorageError) for _reader in range(READERS)]
        #: When there was nothing to delete.
        self._swept = 0.0
        # Rows as this process last wrote them: a task usually has one writer, which then need not read the row first.
        self._written: dict[str, _Row] = {}

    def start(self, progress_id: str, record: Record, expire: float, mode: Start = Start.ANY) -> bool:
        def rule(old: Record | None) -> Record | None:
            return dict(record) if rules.may_start(old, record, mode, time.time()) else None

        with self._writing as execute:
            # An id is usually new: then it need not be read first.
            return self._put(execute, progress_id, None, dict(record), time.time(), expire) or self._change(
                execute, progress_id, rule, expire, starts=True
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

    def update_active(
        self, changes: Mapping[str, Record], expire: float, runs: Mapping[str, str] | None = None
    ) -> dict[str, Activity]:
        runs = runs or {}
        with self._writing as execute:
            while True:
                now = time.time()
                rows = self._rows(execute, list(changes), now)
                new = {key: rules.updated_active(row.record, changes[key], runs.get(key)) for key, row in rows.items()}
                puts = [(key, rows[key], record) for key, record in new.items() if record]
                if len(puts) > 1:
                    execute('BEGIN IMMEDIATE')
                done = all(self._put(execute, *put, now, expire) for put in puts)
                if len(puts) > 1:
                    execute('COMMIT' if done else 'ROLLBACK')
                if done:
                    break
        activities = {key: rules.activity(new[key] or row.record, runs.get(key)) for key, row in rows.items()}
        return {key: activity for key, activity in activities.items() if activity is not None}

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        with self._reader() as execute:
            now = time.time()
            if len(progress_ids) == 1:  # the usual case, the shortest way
                row = execute(_TEXT, (self._namespace, now, *progress_ids)).fetchone()
                return {progress_ids[0]: row[0]} if row else {}
            return dict(self._select(execute, 'key, record', progress_ids, now))

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        with self._writing as execute:
            if linger:
                return self._change(execute, progress_id, rules.acknowledged, linger)
            return self._delete_if(execute, progress_id, lambda record: rules.acknowledged(record) is not None)

    def delete(self, progress_id: str, run: str | None = None) -> bool:
        with self._writing as execute:
            return self._delete_if(execute, progress_id, lambda record: rules.is_of_run(record, run))

    def list_entries(self, keys: Sequence[str], limit: int, before: Entry | None = None) -> list[Entry]:
        parameters: list[Any] = []
        for key in keys:
            parameters += self._namespace, key, *(before or _NEWEST), limit
        with self._reader() as execute:
            rows = execute(_list(tuple(map(_column, keys))), (*parameters, limit)).fetchall()
        return [Entry(*row) for row in rows]

    def running_ids(self) -> set[str]:
        with self._reader() as execute:
            rows = execute(_RUNNING, (self._namespace, RUNNING_KEY, time.time())).fetchall()
        return {progress_id for (progress_id,) in rows}

    def now(self) -> float:
        return time.time()

    def close(self) -> None:
        for database in (*self._readers, self._writing):
            database.close()

    def _reader(self) -> Database:
        """Return a connection for reading: one that no thread is using, unless all are in use."""
        for database in self._readers:
            if not database.lock.locked():
                return database
        return secrets.choice(self._readers)

    def _change(
        self,
        execute: Execute,
        progress_id: str,
        rule: Callable[[Record | None], Record | None],
        expire: float,
        *,
        starts: bool = False,
    ) -> bool:
        """Store the record that a rule returns; return False if that is None.

        :param starts: whether it is the record of a new run
        """
        while True:
            now = time.time()
            row = self._rows(execute, (progress_id,), now).get(progress_id)
            new = rule(row.record if row else None)
            if new is None:
                return False
            if self._put(execute, progress_id, row, new, now, expire, starts=starts):
                return True

    def _delete_if(self, execute: Execute, progress_id: str, condition: Callable[[Record], bool]) -> bool:
        """Delete a record for which a condition is true; return False if it is not, or there is no record."""
        while True:
            now = time.time()
            row = self._rows(execute, (progress_id,), now).get(progress_id)
            if row is None or not condition(row.record):
                return False
            if execute(_DELETE_IF_SAME, (row.rowid, self._namespace, progress_id, now, row.text)).rowcount:
                return True

    def _change_part(self, progress_id: str, number: int, rule: PartRule, expire: float) -> Activity | None:
        with self._writing as execute:
            now = time.time()
            # In one transaction from the beginning: there is more to change than one row.
            execute('BEGIN IMMEDIATE')
            found = execute(_TASK_AND_PART, (number, self._namespace, progress_id, now)).fetchone()
            row, part = None, None
            if found:
                rowid, text, due_at, part_text = found
                written = self._written.get(progress_id)
                # A record with many active parts takes long to parse.
                record = written.record if written and written.text == text else rules.load(text)
                row = _row((rowid, text, due_at, record))
                part = rules.load(part_text) if part_text else None
            change = rule(row.record if row else None, part)
            if row and change.task is not None and change.part is not None:
                self._put(execute, progress_id, row, change.task, now, expire)
                statement = _UPDATE_PART if part else _INSERT_PART
                execute(statement, (rules.dump(change.part), self._namespace, progress_id, number))
            execute('COMMIT')
            return change.activity

    def _put(
        self,
        execute: Execute,
        progress_id: str,
        row: _Row | None,
        record: Record,
        now: float,
        expire: float,
        *,
        starts: bool = False,
    ) -> bool:
        """Replace a row by a record; return False if the row has changed since it was read."""
        text = rules.dump(record)
        expires = now + expire
        if row is None:
            due_at = due(now, expires)
            values = text, expires, expire, due_at, *indexed(record), rules.start_time(record)
            cursor = execute(_INSERT, (*values, self._namespace, progress_id, now))
            # If the row had expired, this is the id of another row: the next change then reads the row.
            rowid, count = cursor.lastrowid or 0, cursor.rowcount
            self._sweep_if_due(execute, now)
        else:
            rowid, due_at = row.rowid, row.due
            statement = _UPDATE
            parameters: tuple[Any, ...] = text, expires, expire
            if starts or due_at > expires or rules.is_moved(row.record, record):
                due_at = due(now, expires)
                statement, parameters = _MOVE, (*parameters, due_at, *indexed(record))
                if starts:
                    statement, parameters = _RESTART, (*parameters, rules.start_time(record))
            count = execute(statement, (*parameters, rowid, self._namespace, progress_id, now, row.text)).rowcount
        if not count:
            return False
        if len(self._written) >= _ROWS:
            self._written.clear()
        self._written[progress_id] = _row((rowid, text, due_at, record))
        return True

    def _sweep_if_due(self, execute: Execute, now: float) -> None:
        """Delete some expired rows, unless there was none a moment ago."""
        if abs(now - self._swept) >= _SWEEP_INTERVAL and not sweep(execute, 'progress', now):
            self._swept = now

    def _rows(self, execute: Execute, progress_ids: Sequence[str], now: float) -> dict[str, _Row]:
        return {
            progress_id: _row((rowid, text, due_at, rules.load(text)))
            for progress_id, rowid, text, due_at in self._select(execute, 'key, rowid, record, due', progress_ids, now)
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


def _column(key: str) -> str:
    """Return the column that has the key of an index."""
    if key == RUNNING_KEY:
        return 'listed'
    return 'ended' if key in TERMINAL_STATUSES else 'owner'


@cache
def _list(columns: tuple[str, ...]) -> str:
    """Return the statement that lists the newest tasks in indexes with these columns, from the indexes alone.

    It does not look at when they expire: to skip many that have expired would take long.
    """
    newest = 'ORDER BY start DESC, key DESC LIMIT ?'
    selects = (
        f'SELECT * FROM (SELECT start, key FROM progress INDEXED BY progress_{column}'  # noqa: S608
        f' WHERE namespace = ? AND {column} = ? AND (start, key) < (?, ?) {newest})'
        for column in columns
    )
    return f'{" UNION ".join(selects)} {newest}'
