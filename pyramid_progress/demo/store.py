"""What the demo keeps: which tasks were started, what came of them, and the rows of every import."""

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
    """A task as the pages list it. How it is getting on, its bar tells."""

    id: str
    started: datetime  # UTC
    kind: str  # 'import' or 'census'
    label: str
    result: dict[str, Any] | None  # None until it is finished


class Store:
    """Tasks in ``tasks.sqlite``; the rows of each import, and each upload that waits for it, in a file of its own.

    Threads and processes may use the same ``data_dir``, which is made if it does not exist yet.
    """

    age = 86400  # seconds that all of this is kept, as long as the statuses are
    listed = 20  # tasks of a visitor on the index

    def __init__(self, data_dir: str | Path) -> None:
        self.data_dir = Path(data_dir)
        self._files = self.data_dir / 'files'
        self._files.mkdir(parents=True, exist_ok=True)
        with self._connect() as db:
            db.execute(SCHEMA)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed together, or not at all."""
        db = sqlite3.connect(self.data_dir / 'tasks.sqlite', timeout=10)
        try:
            with db:
                yield db
        finally:
            db.close()

    def rows_path(self, task_id: str) -> Path:
        """The SQLite file with the rows of an import."""
        return self._files / f'{task_id}.sqlite'

    def new_upload(self) -> IO[bytes]:
        """A new file to write to; its ``name`` is its path."""
        return tempfile.NamedTemporaryFile(dir=self._files, suffix='.csv', delete=False)

    # A quick job may be done before its start is noted: whichever comes first makes the row.

    def add(self, task_id: str, owner: str, kind: str, label: str) -> None:
        """Note whose a task is; what is too old gives way."""
        now = time.time()
        with self._connect() as db:
            db.execute(
                'INSERT INTO task (id, started, owner, kind, label) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)'
                ' DO UPDATE SET owner = excluded.owner, kind = excluded.kind, label = excluded.label',
                (task_id, now, owner, kind, label),
            )
            db.execute('DELETE FROM task WHERE started < ?', (now - self.age,))
        # Among the files is what a killed process left behind.
        for path in self._files.iterdir():
            with suppress(FileNotFoundError):  # another process was quicker
                if path.stat().st_mtime < now - self.age:
                    path.unlink()

    def keep(self, task_id: str, result: dict[str, Any]) -> None:
        """Keep what came of a task: JSON values."""
        with self._connect() as db:
            db.execute(
                'INSERT INTO task (id, started, result) VALUES (?, ?, ?) ON CONFLICT (id)'
                ' DO UPDATE SET result = excluded.result',
                (task_id, time.time(), json.dumps(result)),
            )

    def tasks(self, owner: str | None) -> list[Entry]:
        """The latest tasks of a visitor, newest first."""
        return self._find('owner = ? ORDER BY started DESC LIMIT ?', owner, self.listed)

    def task(self, task_id: str, owner: str | None) -> Entry | None:
        """One task, if it is this visitor's."""
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
