"""The data of the demo: the tasks that were started, their results, and the rows of each import."""

import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, NamedTuple

SCHEMA = """
    CREATE TABLE IF NOT EXISTS task (
        id TEXT PRIMARY KEY,
        started REAL NOT NULL,
        owner TEXT,
        kind TEXT,
        label TEXT,
        result TEXT
    )
"""


class Entry(NamedTuple):
    """A task as the pages list it. Its status is not here: its bar shows that."""

    id: str
    started: datetime  # UTC
    kind: str  # 'import' or 'census'
    label: str
    result: dict[str, Any] | None  # None until it is finished


class Store:
    """Tasks are in the file ``tasks.sqlite``; the rows of each import and each upload have a file of their own.

    Threads and processes may use the same directory.

    :param data_dir: the directory; it is created if it does not exist
    """

    expire = 86400  # seconds after which a task and its files are deleted; the statuses expire after the same time
    max_listed = 20  # tasks of a visitor on the index

    def __init__(self, data_dir: str | Path) -> None:
        self.data_dir = Path(data_dir)
        self._files = self.data_dir / 'files'
        self._files.mkdir(parents=True, exist_ok=True)
        with self._connect() as db:
            db.execute(SCHEMA)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """Open a connection: its changes are committed together at the end of the block, or not at all."""
        db = sqlite3.connect(self.data_dir / 'tasks.sqlite', timeout=10)
        try:
            with db:
                yield db
        finally:
            db.close()

    def rows_path(self, task_id: str) -> Path:
        """Return the path of the SQLite file with the rows of an import."""
        return self._files / f'{task_id}.sqlite'

    def new_upload(self) -> IO[bytes]:
        """Create an empty file for an upload; its ``name`` is its path."""
        return tempfile.NamedTemporaryFile(dir=self._files, suffix='.csv', delete=False)

    # A short job may end before add() is called: add() and save_result() both create the row if there is none.

    def add(self, task_id: str, owner: str, kind: str, label: str) -> None:
        """Record the owner of a new task, and delete expired tasks and files."""
        now = time.time()
        with self._connect() as db:
            db.execute(
                'INSERT INTO task (id, started, owner, kind, label) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)'
                ' DO UPDATE SET owner = excluded.owner, kind = excluded.kind, label = excluded.label',
                (task_id, now, owner, kind, label),
            )
            db.execute('DELETE FROM task WHERE started < ?', (now - self.expire,))
        # By age, and not by task: a process that was killed leaves files that belong to no task.
        for path in self._files.iterdir():
            with suppress(FileNotFoundError):  # another process deleted it first
                if path.stat().st_mtime < now - self.expire:
                    path.unlink()

    def save_result(self, task_id: str, result: dict[str, Any]) -> None:
        """Record the result of a task: a dict of JSON values."""
        with self._connect() as db:
            db.execute(
                'INSERT INTO task (id, started, result) VALUES (?, ?, ?) ON CONFLICT (id)'
                ' DO UPDATE SET result = excluded.result',
                (task_id, time.time(), json.dumps(result)),
            )

    def tasks(self, owner: str | None) -> list[Entry]:
        """Return the latest tasks of a visitor, newest first."""
        return self._find('owner = ? ORDER BY started DESC LIMIT ?', owner, self.max_listed)

    def task(self, task_id: str, owner: str | None) -> Entry | None:
        """Return a task, or None if it does not exist or belongs to another visitor."""
        return next(iter(self._find('id = ? AND owner = ?', task_id, owner)), None)

    def _find(self, condition: str, *values: Any) -> list[Entry]:
        with self._connect() as db:
            found = db.execute(
                f'SELECT id, started, kind, label, result FROM task WHERE {condition}',  # noqa: S608
                values,
            )
            return [
                Entry(task_id, datetime.fromtimestamp(started, timezone.utc), kind, label, json.loads(result or 'null'))
                for task_id, started, kind, label, result in found
            ]
