"""The status of a task: what readers get of its record, and what a progress bar shows of it."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from .parts import PARTS, PARTS_ENDED
from .record import ACKNOWLEDGED, CANCEL, HEARTBEAT, STALLED_AFTER, TERMINAL_STATUSES, Record, dump, oldest_heartbeat

Status = dict[str, Any]

#: The status of a task that does not exist.
UNKNOWN: Status = {'status': 'unknown'}

#: The values of ``status`` that are states of a bar as well.
_STATES = TERMINAL_STATUSES | {'stalled', 'cancelling'}

_decoder = json.JSONDecoder()


def decode(text: str) -> dict[str, Any]:
    """Return the values of all members, internal ones included, of a text that :func:`.record.dump` returned."""
    members: dict[str, Any]
    members, _ = _decoder.raw_decode(text)  # json.loads() checks for white space and its options first
    return members


def is_unacknowledged_end(members: Mapping[str, Any]) -> bool:
    """Return whether decoded members are those of a finished task whose end was not acknowledged."""
    return members['status'] == 'finished' and ACKNOWLEDGED not in members


def to_status(members: Mapping[str, Any], now: Callable[[], float]) -> Status:
    """Return the status that readers get of decoded members: without internal members, with the computed statuses.

    A task with parts has a member ``parts``: how many have ``ended``, and how many there are in ``total``.

    :param members: what :func:`decode` returned
    :param now: returns the time by the store's clock in seconds; called only if the task has a heartbeat
    """
    status = {name: value for name, value in members.items() if name[0] != '_'}
    if PARTS in members:
        status['parts'] = {'ended': members.get(PARTS_ENDED, 0), 'total': members[PARTS]}
    if HEARTBEAT in members and members['status'] not in TERMINAL_STATUSES:
        # A task that no process sends heartbeats for has an infinite one: only its parts can stall it.
        if now() > stalls_at(members):
            status['status'] = 'stalled'
        elif CANCEL in members:
            status['status'] = 'cancelling'
    return status


def stalls_at(members: Mapping[str, Any]) -> float:
    """Return when a task will be stalled if no more heartbeats come, in seconds by the store's clock.

    It is infinite for a task that has ended, or has no heartbeats.

    :param members: what :func:`decode` returned
    """
    if HEARTBEAT not in members or members['status'] in TERMINAL_STATUSES:
        return math.inf
    heartbeat: float = members[HEARTBEAT]
    if PARTS in members:
        heartbeat = min(heartbeat, oldest_heartbeat(members))
    return heartbeat + STALLED_AFTER


def record_to_status(record: Record, now: Callable[[], float]) -> Status:
    """Return the status that readers get of a record, as :func:`to_status` does."""
    return to_status(decode(dump(record)), now)


def percentage(status: Mapping[str, Any]) -> float | None:
    """Return how much of a task is done, from 0 to 100, rounded down to a tenth of a percent.

    It is 100 only if all is done, and None if it cannot be computed from ``current`` and ``length``.
    """
    if status['status'] == 'finished':
        return 100
    current = status.get('current')
    done = 0 if current is None else to_float(current)
    length = to_float(status.get('length'))
    if done is None or length is None or length < 0:
        return None
    return math.floor(max(done, 0) / length * 1000) / 10 if length and done < length else 100


def bar_state(status: Mapping[str, Any]) -> str:
    """Return the state in which a bar shows a status.

    ``waiting`` for 'pending' and 'unknown'; 'finished', 'failed', 'cancelled', 'stalled' and 'cancelling' for
    themselves; for any other word ``running``, or ``indeterminate`` if there is no :func:`percentage`.
    """
    word: str = status['status']
    if word in ('pending', 'unknown'):
        return 'waiting'
    if word in _STATES:
        return word
    return 'indeterminate' if percentage(status) is None else 'running'


def has_tag(status: Mapping[str, Any], tag: str) -> bool:
    """Return whether a status has a tag: as its ``tags``, an item of that list, or a key of that dict."""
    tags = status.get('tags')
    return tags == tag or (isinstance(tags, (list, dict)) and tag in tags)


def to_float(value: Any) -> float | None:
    """Return a JSON number as a float, infinite if it is too large for one; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
