"""CSV files into SQLite: every row into a table, every word into a full-text index."""

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

LONGEST_LINE = 100_000  # bytes
MOST_COLUMNS = 200
LONGEST_EXAMPLE = 100  # characters of a name or a value in the summary
MOST_VALUES = 1_000  # different values of a column that are counted
MOST_WORDS = 20  # of a search

_WHOLE = re.compile(r'[+-]?[0-9]+')
_NUMBER = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
_DATE = re.compile(r'[0-9]{4}-[0-9]{2}-[0-9]{2}')


def import_csv(task: Task, path: Path, rows_path: Path) -> dict[str, Any]:
    """Import a file into a new database, which is there in full in the end, or not at all.

    The first row names the columns; they are separated by commas, semicolons or tabs. Returns ``{'rows': …,
    'searchable': …, 'columns': [{'name', 'type', 'filled', 'values', 'commonest'}, …]}``; raises
    :exc:`ProgressError` naming the line where the file is malformed.
    """
    with path.open('rb') as file, new_database(rows_path) as db:
        records = read_records(file)
        try:
            header_line, header = next(records)
        except StopIteration:
            raise ProgressError('The file is empty: line 1 should name the columns.') from None
        if len(header) > MOST_COLUMNS:
            raise ProgressError(f'Line {header_line} has {len(header):,} cells; more than {MOST_COLUMNS} are too many.')
        columns = [Column(name.strip()[:LONGEST_EXAMPLE] or f'Column {n}') for n, name in enumerate(header, 1)]
        # Their real names are data of the visitor's.
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
    """A database that is committed as a whole. Whatever ends the block early, an error or a cancel, removes it."""
    try:
        with closing(sqlite3.connect(path)) as db, db:
            yield db
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def create_index(db: sqlite3.Connection) -> bool:
    """Create the full-text index; return whether this SQLite knows how."""
    try:
        db.execute("CREATE VIRTUAL TABLE word USING fts5(cells, content='')")
    except sqlite3.OperationalError:
        return False
    return True


def check_rows(
    task: Task, file: IO[bytes], records: Iterator[tuple[int, list[str]]], header_line: int, columns: list['Column']
) -> Iterator[tuple[int | str, ...]]:
    """Yield each row, its line number first, once its columns know of it. The bar counts bytes."""
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
    """Yield each record with the number of the line it begins on; blank lines do not count."""
    file.seek(0)
    first = file.readline(LONGEST_LINE)
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
    """Yield the lines as text, the line ends kept."""
    number = 0
    while raw := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(raw) > LONGEST_LINE:
            raise ProgressError(f'Line {number} is longer than {LONGEST_LINE:,} bytes: is this a CSV file?')
        try:
            yield raw.decode('utf-8-sig' if number == 1 else 'utf-8')
        except UnicodeDecodeError as error:
            raise ProgressError(
                f'Line {number} is not UTF-8 text (its byte {error.start + 1} fits no character).'
                ' Please save the file as UTF-8.'
            ) from error


def explain(error: csv.Error) -> str:
    """What the csv module says, in words for whoever made the file."""
    said = str(error)
    if 'unexpected end of data' in said:
        return 'a quote is opened here and never closed'
    if 'field larger than field limit' in said:
        return 'a cell is longer than 131,072 characters; perhaps a quote is never closed'
    if 'expected after' in said:
        return 'after a closing quote comes more text; a quote inside a cell must be doubled'
    if 'new-line character' in said:
        return 'a carriage return stands alone; lines should end with a line feed'
    return said


class Column:
    """What can be said about the cells of a column after looking at each once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.type: str | None = None
        self.filled = 0
        self.values: Counter[str] | None = Counter()  # None: too many

    def add(self, cell: str) -> None:
        if not cell:
            return
        self.filled += 1
        if self.type != 'text':
            self.type = common_type(self.type, type_of(cell))
        if self.values is not None:
            self.values[cell] += 1
            if len(self.values) > MOST_VALUES:
                self.values = None

    def summary(self) -> dict[str, Any]:
        """``values`` (how many different ones) and ``commonest`` are None where they are too many."""
        commonest = None
        if self.values:
            [(value, times)] = self.values.most_common(1)
            commonest = (value[:LONGEST_EXAMPLE], times)
        return {
            'name': self.name,
            'type': self.type or 'empty',
            'filled': self.filled,
            'values': None if self.values is None else len(self.values),
            'commonest': commonest,
        }


def counted(things: Sized, noun: str) -> str:
    """``'1 cell'``, ``'2 cells'``."""
    return f'{len(things):,} {noun}{"" if len(things) == 1 else "s"}'


def type_of(cell: str) -> str:
    """``'whole number'``, ``'number'``, ``'date'`` (ISO 8601) or ``'text'``."""
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
    """The narrowest type that holds the cells of both."""
    if a is None or a == b:
        return b
    return 'number' if {a, b} == {'whole number', 'number'} else 'text'


class Rows(NamedTuple):
    """Rows of an import, each beginning with its line number."""

    total: int
    first: list[tuple[Any, ...]]


def find_rows(path: Path, words: str, limit: int) -> Rows:
    """The rows that hold all the ``words``, in any column, as beginnings; without words: all."""
    query = ' '.join(f'"{word}"*' for word in re.findall(r'\w+', words)[:MOST_WORDS])
    where, values = 'FROM row', []
    if query:
        where = 'FROM word JOIN row ON row.line = word.rowid WHERE word MATCH ?'
        values = [query]
    with closing(sqlite3.connect(f'{path.resolve().as_uri()}?mode=ro', uri=True)) as db:
        (total,) = db.execute(f'SELECT COUNT(*) {where}', values).fetchone()
        rows = db.execute(f'SELECT row.* {where} ORDER BY row.line LIMIT ?', [*values, limit]).fetchall()
    return Rows(total, rows)
