"""The import of CSV files into SQLite: the rows into a table, their words into a full-text index."""

import csv
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sized
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Any, NamedTuple

from pyramid_progress import ProgressError, Task

MAX_LINE_LENGTH = 100_000  # bytes
MAX_COLUMNS = 200
MAX_EXAMPLE_LENGTH = 100  # characters of a name or a value in the summary
MAX_VALUES = 1_000  # different values of a column that are counted
MAX_WORDS = 20  # of a search

_WHOLE = re.compile(r'[+-]?[0-9]+')
_NUMBER = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
_DATE = re.compile(r'[0-9]{4}-[0-9]{2}-[0-9]{2}')


def import_csv(task: Task, path: Path, rows_path: Path) -> dict[str, Any]:
    """Import a file into a new database. If that fails, no database is left.

    The first row has the names of the columns. Commas, semicolons or tabs separate the cells.

    :param task: the task object
    :param path: the path of the CSV file
    :param rows_path: the path of the database
    :return: ``{'rows': …, 'searchable': …, 'columns': [{'name', 'type', 'filled', 'values', 'commonest'}, …]}``
    :raises ProgressError: if the file is malformed; the message names the line
    """
    with path.open('rb') as file, new_database(rows_path) as db:
        records = read_records(file)
        try:
            header_line, header = next(records)
        except StopIteration:
            raise ProgressError('The file is empty: line 1 should name the columns.') from None
        if len(header) > MAX_COLUMNS:
            raise ProgressError(f'Line {header_line} has {len(header):,} cells; at most {MAX_COLUMNS} are allowed.')
        columns = [Column(name.strip()[:MAX_EXAMPLE_LENGTH] or f'Column {n}') for n, name in enumerate(header, 1)]
        # Not the names in the file: they are input of a visitor, and must not get into SQL.
        names = ', '.join(f'c{n}' for n, _ in enumerate(columns, 1))
        db.execute(f'CREATE TABLE row (line INTEGER PRIMARY KEY, {names})')
        searchable = create_index(db)

        task.length = 3  # the weight of both stages
        with task.stage('Importing', weight=2):
            task.length = path.stat().st_size
            checked = check_rows(task, file, records, header_line, columns)
            insert = f'INSERT INTO row VALUES (?{", ?" * len(columns)})'  # noqa: S608
            count = db.executemany(insert, checked).rowcount
        if not count:
            raise ProgressError(f'The file has no rows: after line {header_line} there is nothing.')
        if searchable:
            with task.stage('Indexing', weight=1):
                task.length = count
                rows = task.track(db.execute('SELECT * FROM row'))
                words = ((line, '\n'.join(cells)) for line, *cells in rows)
                db.executemany('INSERT INTO word (rowid, cells) VALUES (?, ?)', words)
    return {'rows': count, 'searchable': searchable, 'columns': [column.summary() for column in columns]}


@contextmanager
def new_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Create a database that is committed at the end of the block. An error or a cancel in the block removes it."""
    try:
        with closing(sqlite3.connect(path)) as db, db:
            yield db
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def create_index(db: sqlite3.Connection) -> bool:
    """Create the full-text index, and return whether this SQLite supports that."""
    try:
        db.execute("CREATE VIRTUAL TABLE word USING fts5(cells, content='')")
    except sqlite3.OperationalError:
        return False
    return True


def check_rows(
    task: Task, file: IO[bytes], records: Iterator[tuple[int, list[str]]], header_line: int, columns: list['Column']
) -> Iterator[tuple[int | str, ...]]:
    """Yield each row with its line number first, and add it to the summary of the columns. The bar counts bytes."""
    for count, (line, cells) in enumerate(records, 1):
        if len(cells) != len(columns):
            raise ProgressError(
                f'Line {line} has {counted(cells, "cell")}; line {header_line} names {counted(columns, "column")}.'
            )
        for column, cell in zip(columns, cells, strict=True):
            column.add(cell)
        yield line, *cells
        task.message = f'{count:,} rows'
        task.current = file.tell()


def read_records(file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not empty with the number of the line that it begins in."""
    file.seek(0)
    first = file.readline(MAX_LINE_LENGTH)
    file.seek(0)
    delimiter = max(',;\t', key=lambda char: first.count(char.encode()))
    reader = csv.reader(read_lines(file), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ProgressError(f'Line {line}: {explain(error)}.') from error
        if record:
            yield line, record


def read_lines(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines as text, with their line ends."""
    number = 0
    while raw := file.readline(MAX_LINE_LENGTH + 1):
        number += 1
        if len(raw) > MAX_LINE_LENGTH:
            raise ProgressError(f'Line {number} is longer than {MAX_LINE_LENGTH:,} bytes: is this a CSV file?')
        try:
            yield raw.decode('utf-8-sig' if number == 1 else 'utf-8')
        except UnicodeDecodeError as error:
            raise ProgressError(
                f'Line {number} is not UTF-8 text (its byte {error.start + 1} fits no character).'
                ' Please save the file as UTF-8.'
            ) from error


def explain(error: csv.Error) -> str:
    """Return the reason of an error of the csv module, in words for the author of the file."""
    reason = str(error)
    if 'unexpected end of data' in reason:
        return 'a quote is opened here and never closed'
    if 'field larger than field limit' in reason:
        return 'a cell is longer than 131,072 characters; perhaps a quote is never closed'
    if 'expected after' in reason:
        return 'more text follows a closing quote; a quote inside a cell must be doubled'
    if 'new-line character' in reason:
        return 'a carriage return stands alone; lines should end with a line feed'
    return reason


class Column:
    """The summary of a column: :meth:`add` gets each of its cells once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.type: str | None = None
        self.filled = 0
        self.values: Counter[str] | None = Counter()  # None if there are too many

    def add(self, cell: str) -> None:
        if not cell:
            return
        self.filled += 1
        if self.type != 'text':
            self.type = common_type(self.type, type_of(cell))
        if self.values is not None:
            self.values[cell] += 1
            if len(self.values) > MAX_VALUES:
                self.values = None

    def summary(self) -> dict[str, Any]:
        """Return the summary. The number of ``values`` and the ``commonest`` are None if there are too many values."""
        commonest = None
        if self.values:
            [(value, times)] = self.values.most_common(1)
            commonest = (value[:MAX_EXAMPLE_LENGTH], times)
        return {
            'name': self.name,
            'type': self.type or 'empty',
            'filled': self.filled,
            'values': None if self.values is None else len(self.values),
            'commonest': commonest,
        }


def counted(things: Sized, noun: str) -> str:
    """Return the number of things and the noun: ``'1 cell'``, ``'2 cells'``."""
    return f'{len(things):,} {noun}{"" if len(things) == 1 else "s"}'


def type_of(cell: str) -> str:
    """Return the type of a cell: ``'whole number'``, ``'number'``, ``'date'`` (ISO 8601) or ``'text'``."""
    if _WHOLE.fullmatch(cell):
        return 'whole number'
    if _NUMBER.fullmatch(cell):
        return 'number'
    if _DATE.fullmatch(cell):
        try:
            date.fromisoformat(cell)
        except ValueError:
            return 'text'
        return 'date'
    return 'text'


def common_type(a: str | None, b: str) -> str:
    """Return the narrowest type that includes both types."""
    if a is None or a == b:
        return b
    return 'number' if {a, b} == {'whole number', 'number'} else 'text'


class Rows(NamedTuple):
    """Rows of an import, each beginning with its line number, and how many there are in total."""

    total: int
    first: list[tuple[Any, ...]]


def find_rows(path: Path, words: str, limit: int) -> Rows:
    """Return the rows that have, for each of ``words``, a word that begins with it; all rows if there are no words."""
    query = ' '.join(f'"{word}"*' for word in re.findall(r'\w+', words)[:MAX_WORDS])
    where, values = 'FROM row', []
    if query:
        where = 'FROM word JOIN row ON row.line = word.rowid WHERE word MATCH ?'
        values = [query]
    with closing(sqlite3.connect(f'{path.resolve().as_uri()}?mode=ro', uri=True)) as db:
        (total,) = db.execute(f'SELECT COUNT(*) {where}', values).fetchone()
        rows = db.execute(f'SELECT row.* {where} ORDER BY row.line LIMIT ?', [*values, limit]).fetchall()
    return Rows(total, rows)
