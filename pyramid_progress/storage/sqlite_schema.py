"""The tables of the region type ``sqlite``."""

from ..beaker_sqlite.database import Execute, Schema
from ..model.record import RUNNING_KEY, Record, dump, index_keys, load, start_time

_COLUMNS = 'namespace, key, record, expires, expire, due, owner, ended, listed, start'

#: The names that members of records had in tables of the first version.
_RENAMED = {'_taken': '_acknowledged', '_beat': '_heartbeat'}


def indexed(record: Record) -> tuple[str | None, str | None, str | None]:
    """Return the columns ``owner``, ``ended`` and ``listed`` of a record: keys of indexes, None for none."""
    owner, *others = index_keys(record) or (None,)
    ended = next((key for key in others if key != RUNNING_KEY), None)
    return owner, ended, RUNNING_KEY if RUNNING_KEY in others else None


def _move_rows(execute: Execute) -> None:
    """Move the rows of the first version into a table of the second one."""
    rows = execute('SELECT namespace, key, record, expires, expire, due FROM progress_1').fetchall()
    for *values, text, expires, expire, due in rows:
        record = {_RENAMED.get(name, name): value for name, value in load(text).items()}
        values += dump(record), expires, expire, due, *indexed(record), start_time(record)
        execute(f'INSERT INTO progress ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', values)  # noqa: S608


SCHEMA = Schema(
    'progress',
    (
        (
            'CREATE TABLE IF NOT EXISTS progress (namespace TEXT, key TEXT, record TEXT NOT NULL,'
            ' listed INTEGER NOT NULL, expires REAL NOT NULL, expire REAL NOT NULL, due REAL NOT NULL,'
            ' PRIMARY KEY (namespace, key)) WITHOUT ROWID',
            'CREATE INDEX IF NOT EXISTS progress_due ON progress (due)',
            'CREATE INDEX IF NOT EXISTS progress_listed ON progress (namespace) WHERE listed',
        ),
        (
            'DROP INDEX progress_due',
            'DROP INDEX progress_listed',
            'ALTER TABLE progress RENAME TO progress_1',
            # The columns `owner`, `ended` and `listed` hold the keys of the indexes that a task is in: the one of its
            # owner, the one of its end, and the running list. Each has an SQL index, whose name ends with the column's.
            # The table has row ids: without them, SQLite stores a record of more than 488 bytes in two pages, and the
            # record of a task with active parts is longer than that.
            'CREATE TABLE progress (namespace TEXT, key TEXT, record TEXT NOT NULL,'
            ' expires REAL NOT NULL, expire REAL NOT NULL, due REAL NOT NULL,'
            ' owner TEXT, ended TEXT, listed TEXT, start INTEGER NOT NULL,'
            ' PRIMARY KEY (namespace, key))',
            'CREATE INDEX progress_due ON progress (due)',
            'CREATE INDEX progress_owner ON progress (namespace, owner, start, key) WHERE owner IS NOT NULL',
            'CREATE INDEX progress_ended ON progress (namespace, ended, start, key) WHERE ended IS NOT NULL',
            'CREATE INDEX progress_listed ON progress (namespace, listed, start, key) WHERE listed IS NOT NULL',
            'CREATE TABLE progress_parts (namespace TEXT, key TEXT, number INTEGER, record TEXT NOT NULL,'
            ' PRIMARY KEY (namespace, key, number)) WITHOUT ROWID',
            # Parts are deleted with their task, and when it starts anew: only a start sets the column ``start``.
            'CREATE TRIGGER progress_deleted AFTER DELETE ON progress BEGIN'
            ' DELETE FROM progress_parts WHERE namespace = old.namespace AND key = old.key; END',
            'CREATE TRIGGER progress_restarted AFTER UPDATE OF start ON progress BEGIN'
            ' DELETE FROM progress_parts WHERE namespace = old.namespace AND key = old.key; END',
            _move_rows,
            'DROP TABLE progress_1',
        ),
    ),
)
