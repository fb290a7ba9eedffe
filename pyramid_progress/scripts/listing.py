"""The list of tasks as plain text."""

from collections.abc import Iterator

from wcwidth import clip, ljust, width

from .summary import Summary

#: How many columns of the terminal a label or an owner takes at most.
_MAX_WIDTH = 40


def listing(tasks: list[Summary]) -> Iterator[str]:
    """Yield the lines of a table of tasks, with a heading. Labels and owners are cut to 40 columns.

    :param tasks: what the table shows
    """
    rows = [('ID', 'LABEL', 'OWNER', 'STATUS', 'PROGRESS', 'AGE', 'MESSAGE')]
    rows += [
        (task.id, _cut(task.label), _cut(task.owner), task.status, task.progress, task.age, task.message)
        for task in tasks
    ]
    widths = [max(map(width, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for *cells, message in rows:
        yield '  '.join([*map(ljust, cells, widths), message]).rstrip()


def _cut(text: str) -> str:
    return text if width(text) <= _MAX_WIDTH else clip(text, 0, _MAX_WIDTH - 1, fillchar='') + '…'
