"""A task as texts for a terminal."""

import json
import math
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, NamedTuple

from ..model.status import percentage

# Joiners count as not printable, but Persian, Hindi and emoji sequences need them.
_JOINERS = '\u200c\u200d'

#: Numbers from here on are written with an exponent: they can have hundreds of digits.
_MIN_EXPONENTIAL = 10**15


class Summary(NamedTuple):
    """A task as texts without control characters."""

    id: str
    label: str
    owner: str
    status: str
    #: how much is done; None if that is not known
    percent: int | None
    progress: str
    age: str
    message: str


def summaries(tasks: list[dict[str, Any]]) -> list[Summary]:
    """Return what a terminal shows of tasks.

    :param tasks: statuses, each with its ``id``
    """
    now = datetime.now(timezone.utc)
    return [
        Summary(
            id=plain(task['id']),
            label=plain(task['label']),
            owner=plain(task['owner']),
            status=plain(task['status']),
            percent=_percent(task),
            progress=_progress(task),
            age=_age((now - datetime.fromisoformat(task['started'])).total_seconds()),
            message=plain(task.get('message')),
        )
        for task in tasks
    ]


def plain(value: Any) -> str:
    """Return the text of a JSON value in one line, without terminal commands.

    U+FFFD replaces each control character, such as the escape character that begins a command to the terminal, and each
    character that changes the direction of text.
    """
    if value is None:
        return ''
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = ' '.join(text.split())
    return ''.join(char if char.isprintable() or char in _JOINERS else '\ufffd' for char in line)


def _percent(task: dict[str, Any]) -> int | None:
    percent = percentage(task)
    return None if percent is None else math.floor(percent)


def _progress(task: dict[str, Any]) -> str:
    current, length, percent = task['current'], task['length'], _percent(task)
    amount = '' if current is None else _number(current)
    if length is not None:
        amount = f'{amount or 0}/{_number(length)}'
    parts = task.get('parts')
    ended = '' if parts is None else f'{parts["ended"]}/{parts["total"]} parts'
    return ' '.join(part for part in ('' if percent is None else f'{percent}%', amount, ended) if part)


def _number(value: float) -> str:
    if abs(value) >= _MIN_EXPONENTIAL:
        return f'{Decimal(value):.2e}'  # unlike a float, of any size
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
