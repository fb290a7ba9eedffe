"""SQLite: against one prepared statement in WAL mode."""

import sqlite3
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, Contender, compare
from .programs import TASK, Ours


class Raw:
    """A table of keys and values, in a database that is set as ours is.

    :param path: the file
    :param value: what is stored, in turn with another of its length, because SQLite writes no unchanged value
    """

    UPSERT = 'INSERT INTO raw VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value'
    SELECT = 'SELECT value FROM raw WHERE key = ?'

    def __init__(self, path: Path, value: str) -> None:
        self._values = value, value.swapcase()
        # If another connection writes, SQLite itself waits.
        self.connection = sqlite3.connect(path, timeout=5, isolation_level=None)
        self.connection.execute('PRAGMA journal_mode = WAL')
        self.connection.execute('PRAGMA synchronous = NORMAL')
        self.connection.execute('CREATE TABLE IF NOT EXISTS raw (key TEXT PRIMARY KEY, value TEXT NOT NULL)')

    def set(self, count: int) -> None:
        self.put(TASK, range(count))

    def put(self, key: str, numbers: Iterable[int]) -> None:
        """Put a value under a key for each of the numbers: one for those that are even, and one for the others."""
        execute = self.connection.execute
        for number in numbers:
            execute(self.UPSERT, (key, self._values[number & 1]))

    def get(self, count: int) -> None:
        execute = self.connection.execute
        for _ in range(count):
            execute(self.SELECT, (TASK,)).fetchone()


def _operation(operation: str, environment: Environment) -> Comparison:
    ours = Ours(environment.settings('sqlite', 'sqlite'))
    raw = Raw(environment.directory('sqlite') / 'raw.db', ours.stored())
    try:
        return compare(ours.contender(operation), Contender(getattr(raw, operation)))
    finally:
        raw.connection.close()


FIGURES = [
    Figure('set on sqlite', 'a raw prepared upsert', at_most(3), partial(_operation, 'set')),
    Figure('get on sqlite', 'a raw prepared select', at_most(3), partial(_operation, 'get')),
]
