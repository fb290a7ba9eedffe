"""What a terminal shows of a task."""

import json
from datetime import datetime, timezone
from typing import Any, NamedTuple

# Joiners have no width, but Persian and Hindi are misspelt without them, and emoji fall apart.
_JOINERS = '\u200c\u200d'


class Summary(NamedTuple):
    """A task as texts that are safe to print."""

    id: str
    label: str
    owner: str
    status: str
    #: How much is done, None where that is not known.
    percent: int | None
    progress: str
    age: str
    message: str


def summaries(tasks: list[dict[str, Any]]) -> list[Summary]:
    """Return what to show of *tasks*: statuses, each with its ``id``.

    Of the ids, it is as much as tells them apart, and at least eight characters.
    """
    ids = [task['id'] for task in tasks]
    shown = next(length for length in range(8, 256) if len({progress_id[:length] for progress_id in ids}) == len(ids))
    now = datetime.now(timezone.utc)
    return [
        Summary(
            id=plain(task['id'][:shown]),
            label=plain(task['label']),
            owner=plain(task['owner']),
            status=plain(task['status']),
            percent=_percent(task['current'], task['length']),
            progress=_progress(task['current'], task['length']),
            age=_age((now - datetime.fromisoformat(task['started'])).total_seconds()),
            message=plain(task.get('message')),
        )
        for task in tasks
    ]


def plain(value: Any) -> str:
    """Return the text of a JSON value in one line, without anything that acts on a terminal.

    Control characters, the escape that begins a command to the terminal among them, and those that turn the direction
    of what follows become U+FFFD.
    """
    if value is None:
        return ''
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = ' '.join(text.split())
    return ''.join(char if char.isprintable() or char in _JOINERS else '\ufffd' for char in line)


def _percent(current: float | None, length: float | None) -> int | None:
    if length is None:
        return None
    return int(min(max(100 * (current or 0) / length, 0), 100)) if length > 0 else 100


def _progress(current: float | None, length: float | None) -> str:
    if length is None:
        return '' if current is None else _number(current)
    return f'{_percent(current, length)}% {_number(current or 0)}/{_number(length)}'


def _number(value: float) -> str:
    return f'{value:,}' if isinstance(value, int) else f'{value:,.1f}'.removesuffix('.0')


def _age(seconds: float) -> str:
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f'{days}d{hour:02}h'
    if hours:
        return f'{hour}h{minute:02}m'
    return f'{minute}m{second:02}s' if minutes else f'{second}s'
