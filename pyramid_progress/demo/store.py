"""The demo's database: what was started, what came of it, and the rows of every import."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = """
    CREATE TABLE IF NOT EXISTS task (
        id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        kind TEXT NOT NULL,
        label TEXT NOT NULL,
        started TEXT NOT NULL,
        process TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'running',
        message TEXT,
        result TEXT
    )
"""


class Task(NamedTuple):
    """One task as the pages show it."""

    id: str
    kind: str  # 'import' or 'census'
    label: str
    started: datetime  # UTC
    status: str  # 'running', 'finished' or 'failed'
    message: str | None
    result: dict[str, Any] | None


class Store:
    """Tasks in ``demo.sqlite``, the rows of each import in a file of its own.

    SQLite lets one connection write at a time; with a file for each, imports do not wait for one
    another.
    """

    kept = 8  # ended tasks of a visitor; an older one gives way to the next

    def __init__(self, data_dir: Path) -> None:
        """Create ``data_dir`` and the database in it where they do not exist yet."""
        self.data_dir = data_dir
        self.rows_dir = data_dir / 'rows'
        self.rows_dir.mkdir(parents=True, exist_ok=True)
        self._path = data_dir / 'demo.sqlite'
        with self._connect() as db:
            db.execute(SCHEMA)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed together, or not at all."""
        db = sqlite3.connect(self._path, timeout=10)
        try:
            with db:
                yield db
        finally:
            db.close()

    def rows_path(self, task_id: str) -> Path:
        """The SQLite file with the rows of an import."""
        return self.rows_dir / f'{task_id}.sqlite'

    def add(self, task_id: str, owner: str, kind: str, label: str, started: datetime, process: str) -> None:
        """Note a task as running in ``process`` (a name for one run of the server)."""
        with self._connect() as db:
            db.execute(
                'INSERT INTO task (id, owner, kind, label, started, process) VALUES (?, ?, ?, ?, ?, ?)',
                (task_id, owner, kind, label, started.isoformat(), process),
            )
            old = db.execute(
                "SELECT id FROM task WHERE owner = ? AND status != 'running' ORDER BY started DESC LIMIT -1 OFFSET ?",
                (owner, self.kept),
            ).fetchall()
            db.executemany('DELETE FROM task WHERE id = ?', old)
        for (old_id,) in old:
            self.rows_path(old_id).unlink(missing_ok=True)

    def end(self, task_id: str, status: str, message: str, result: dict[str, Any] | None = None) -> None:
        """Note how a task ended; what a failed import had written is thrown away."""
        if status != 'finished':
            self.rows_path(task_id).unlink(missing_ok=True)
        with self._connect() as db:
            db.execute(
                'UPDATE task SET status = ?, message = ?, result = ? WHERE id = ?',
                (status, message, json.dumps(result), task_id),
            )

    def running_elsewhere(self, process: str) -> list[str]:
        """The ids of tasks that are running, but not in ``process``."""
        with self._connect() as db:
            found = db.execute("SELECT id FROM task WHERE status = 'running' AND process != ?", (process,))
            return [task_id for (task_id,) in found]

    def tasks(self, owner: str | None) -> list[Task]:
        """The tasks of a visitor, newest first."""
        with self._connect() as db:
            found = db.execute(
                'SELECT id, kind, label, started, status, message, result FROM task'
                ' WHERE owner = ? ORDER BY started DESC',
                (owner,),
            )
            return [
                Task(
                    task_id,
                    kind,
                    label,
                    datetime.fromisoformat(started),
                    status,
                    message,
                    json.loads(result or 'null'),
                )
                for task_id, kind, label, started, status, message, result in found
            ]

    def task(self, task_id: str, owner: str | None) -> Task | None:
        """One task, if it is this visitor's."""
        return next((task for task in self.tasks(owner) if task.id == task_id), None)
