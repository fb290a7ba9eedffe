"""The list of tasks as plain text."""

import unicodedata
from collections.abc import Iterator

from .summary import Summary

#: Columns that a label or an owner may take: a long one would push the rest out of everybody's sight.
_WIDEST = 40


def listing(tasks: list[Summary]) -> Iterator[str]:
    """Return the lines of a table of *tasks*, with a heading."""
    rows = [('ID', 'LABEL', 'OWNER', 'STATUS', 'PROGRESS', 'AGE', 'MESSAGE')]
    rows += [
        (task.id, _cut(task.label), _cut(task.owner), task.status, task.progress, task.age, task.message)
        for task in tasks
    ]
    widths = [max(map(_width, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for *cells, message in rows:
        padded = [text + ' ' * (width - _width(text)) for text, width in zip(cells, widths, strict=True)]
        yield '  '.join([*padded, message]).rstrip()


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes (Unicode Standard Annex #11)."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ('Mn', 'Me', 'Cf'):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ('W', 'F') else 1


def _cut(text: str) -> str:
    if _width(text) <= _WIDEST:
        return text
    text = text[:_WIDEST]
    while _width(text) >= _WIDEST:
        text = text[:-1]
    return text + '…'
