"""Live bars in a terminal, with rich."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..storage import StorageError
from .summary import Summary, plain, summaries

#: Seconds between two reads of the store.
_INTERVAL = 0.5

_STYLES = {
    'finished': 'green',
    'failed': 'red',
    'stalled': 'yellow',
    'cancelling': 'yellow',
    'cancelled': 'dim',
    'pending': 'dim',
}


def watch(read_tasks: Callable[[], tuple[list[dict[str, Any]], object | None]]) -> None:
    """Show tasks, and update them twice a second until Ctrl-C.

    If a later read fails, the last known tasks stay, with the error below them.

    :param read_tasks: returns statuses, each with its ``id``; and None, or anything else if there are more tasks
    :raises StorageError: if the store does not answer at the first read
    """
    tasks, more = read_tasks()
    trouble = ''
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_view(tasks, more is not None, trouble, console.height), refresh=True)
            time.sleep(_INTERVAL)
            try:
                (tasks, more), trouble = read_tasks(), ''
            except StorageError as error:
                trouble = plain(f'Cannot read the tasks: {error}')


def _view(tasks: list[dict[str, Any]], has_more: bool, trouble: str, height: int) -> RenderableType:
    table = Table(box=None, expand=True, pad_edge=False)
    table.add_column('LABEL', ratio=3, no_wrap=True)
    table.add_column('OWNER', ratio=1, no_wrap=True)
    table.add_column('', ratio=2, min_width=8)
    for title in ('PROGRESS', 'STATUS', 'AGE'):
        table.add_column(title, no_wrap=True)
    table.add_column('MESSAGE', ratio=3, no_wrap=True)
    # Not for tasks: the heading, the line below the table, and the line of the cursor.
    room = max(height - 3, 1)
    for task in summaries(tasks[:room]):
        table.add_row(
            Text(task.label),
            Text(task.owner),
            _bar(task),
            Text(task.progress),
            Text(task.status, _STYLES.get(task.status, '')),
            Text(task.age),
            Text(task.message),
        )
    rest = max(len(tasks) - room, 0)
    if trouble:
        note = trouble
    elif has_more:
        note = f'and more than {rest:,} more'
    elif rest:
        note = f'and {rest:,} more'
    else:
        note = '' if tasks else 'There are no tasks.'
    return Group(table, Text(note, 'red' if trouble else 'dim', no_wrap=True, overflow='ellipsis'))


def _bar(task: Summary) -> RenderableType:
    if task.percent is not None:
        return ProgressBar(total=100, completed=task.percent)
    return ProgressBar(total=None) if task.status == 'running' else Text()
