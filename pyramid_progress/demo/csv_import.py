"""CSV files into SQLite: every row into a table, every word into a full-text index."""

import csv
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sized
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import IO, Any, NamedTuple

from .jobs import JobError, Report

LONGEST_LINE = 100_000  # bytes
MOST_COLUMNS = 200
LONGEST_EXAMPLE = 100  # characters of a name or a value in the summary
MOST_VALUES = 1_000  # different values of a column that are counted
MOST_WORDS = 20  # of a search
BATCH = 2_000  # rows in a transaction

_WHOLE = re.compile(r'[+-]?[0-9]+')
_NUMBER = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
_DATE = re.compile(r'[0-9]{4}-[0-9]{2}-[0-9]{2}')


def import_csv(report: Report, file: IO[bytes], rows_dir: Path) -> dict[str, Any]:
    """Import ``file``, and close it, into a new database in ``rows_dir`` that is named after the job.

    The first row names the columns; they are separated by commas, semicolons or tabs. The bar counts
    bytes. Returns ``{'rows': …, 'searchable': …, 'columns': [{'name', 'type', 'filled', 'values',
    'commonest'}, …]}``; raises :exc:`JobError` naming the line where the file is malformed.
    """
    with file, closing(sqlite3.connect(rows_dir / f'{report.id}.sqlite')) as db:
        length = file.seek(0, os.SEEK_END)
        records = read_records(file)
        try:
            header_line, header = next(records)
        except StopIteration:
            raise JobError('The file is empty: line 1 should name the columns.') from None
        if len(header) > MOST_COLUMNS:
            raise JobError(f'Line {header_line} has {len(header):,} cells; more than {MOST_COLUMNS} are too many.')
        columns = [Column(name.strip()[:LONGEST_EXAMPLE] or f'Column {n}') for n, name in enumerate(header, 1)]
        searchable = create_tables(db, len(columns))
        insert = f'INSERT INTO row VALUES (?{", ?" * len(columns)})'  # noqa: S608
        count = 0
        for line, cells in records:
            if len(cells) != len(columns):
                raise JobError(
                    f'Line {line} has {counted(cells, "cell")}; line {header_line} names {counted(columns, "column")}.'
                )
            db.execute(insert, (line, *cells))
            if searchable:
                db.execute('INSERT INTO word (rowid, cells) VALUES (?, ?)', (line, '\n'.join(cells)))
            for column, cell in zip(columns, cells, strict=True):
                column.add(cell)
            count += 1
            if count % BATCH == 0:
                db.commit()
            report(file.tell(), length, f'{count:,} rows')
        db.commit()
    if not count:
        raise JobError(f'The file has no rows: after line {header_line} there is nothing.')
    return {'rows': count, 'searchable': searchable, 'columns': [column.summary() for column in columns]}


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
            raise JobError(f'Line {line}: {explain(error)}.') from error
        if record:
            yield line, record


def read_lines(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines as text, the line ends kept."""
    number = 0
    while raw := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(raw) > LONGEST_LINE:
            raise JobError(f'Line {number} is longer than {LONGEST_LINE:,} bytes: is this a CSV file?')
        try:
            yield raw.decode('utf-8-sig' if number == 1 else 'utf-8')
        except UnicodeDecodeError as error:
            raise JobError(
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


def create_tables(db: sqlite3.Connection, columns: int) -> bool:
    """Create the tables for so many columns; tell whether there is a full-text index.

    The columns are called c1, c2, …: their real names are data of the visitor's.
    """
    names = ', '.join(f'c{n}' for n in range(1, columns + 1))
    db.execute(f'CREATE TABLE row (line INTEGER PRIMARY KEY, {names})')
    try:
        db.execute("CREATE VIRTUAL TABLE word USING fts5(cells, content='')")
    except sqlite3.OperationalError:  # an SQLite built without FTS5
        return False
    return True


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
