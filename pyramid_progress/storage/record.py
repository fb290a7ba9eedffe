"""What is stored of a task, and the rules by which it changes.

A record maps the name of each member of a status to the JSON text of its value. Texts are merged, never
decoded, on their way through a store, so every value comes back exactly as it was written. Names that begin
with an underscore are bookkeeping, which readers never see.

Drivers that keep a record as one string use the form of :func:`dump`: a JSON object with each member on a line
of its own (JSON text holds no raw line feed, RFC 8259 section 7), so that a member can be found and replaced
without a parser.
"""

import json
from collections.abc import Callable
from typing import Any

Record = dict[str, str]

#: The member that marks a finished task whose end has been read.
TAKEN = '_taken'

#: The member that marks a task as one that may be asked to stop; its value is ``true``.
CANCELLABLE = '_cancellable'

#: The member that asks a task to stop.
CANCEL = '_cancel'

#: The member with the time of the last heartbeat, by the store's clock.
BEAT = '_beat'

#: Seconds between two heartbeats. A task is stalled when three are missing.
BEAT_INTERVAL = 5.0

#: The values of ``status`` that are the end.
ENDS = frozenset({'finished', 'failed', 'cancelled'})

_ENDS = frozenset({'"finished"', '"failed"', '"cancelled"'})

#: Those with which a task leaves the list at once.
_OFF_THE_LIST = _ENDS - {'"finished"'}

_decoder = json.JSONDecoder()

#: What a change of an unknown task makes: a record with these members alone.
_BARE: Record = {'message': 'null', 'length': 'null', 'current': 'null'}


def may_start(old: Record | None, new: Record) -> bool:
    """Tell whether a task may be started over what its id holds now.

    It may where there is nothing, where nobody ever started it, and where the owner is the same.
    """
    return old is None or 'started' not in old or old['owner'] == new['owner']


def updated(old: Record | None, changes: Record) -> Record | None:
    """Return the record that *changes* make of the *old* one; None where it must stay as it is.

    The end of a task has been told: once taken, nothing changes it any more.
    """
    if old is None:
        return _BARE | changes
    if TAKEN in old:
        return None
    if 'message' not in old:
        old = {'message': 'null'} | old
    return old | changes


def amended(old: Record | None, changes: Record) -> Record | None:
    """Return the record that *changes* make of one that is there and has not ended; None where there is nothing to
    change."""
    if old is None or has_ended(old) or not changes:
        return None
    return old | changes


def has_ended(record: Record) -> bool:
    """Tell whether a task is finished, failed or cancelled."""
    return record['status'] in _ENDS


def is_listed(record: Record) -> bool:
    """Tell whether a task is on the list: started, neither failed nor cancelled, its end not yet taken."""
    return 'started' in record and TAKEN not in record and record['status'] not in _OFF_THE_LIST


def can_take(record: Record | None) -> bool:
    """Tell whether a record is that of a finished task whose end nobody has taken."""
    return record is not None and record['status'] == '"finished"' and TAKEN not in record


def taken(record: Record) -> Record:
    """Return the *record* marked as taken."""
    return record | {TAKEN: 'true'}


def dump(record: Record) -> str:
    """Return a record as JSON text, one member on a line."""
    # No loop in Python: a third of the time of a generator of f-strings, at every change.
    return '{"' + '\n,"'.join(map('":'.join, record.items())) + '\n}'


def load(text: str) -> Record:
    """Return the record of a text that :func:`dump` made."""
    return dict([line.split('":', 1) for line in text[2:-2].split('\n,"')])


def public(record: Record, now: Callable[[], float]) -> dict[str, Any]:
    """Return what readers see of a record: see :func:`shown`."""
    return shown(decode(dump(record)), now)


def decode(text: str) -> dict[str, Any]:
    """Return the values of all members, the bookkeeping's too, of a text that :func:`dump` made."""
    members: dict[str, Any]
    members, _ = _decoder.raw_decode(text)  # json.loads() first looks for white space, and at its options
    return members


def is_end(members: dict[str, Any]) -> bool:
    """Tell of decoded members what :func:`can_take` tells of a record."""
    return members['status'] == 'finished' and TAKEN not in members


def shown(members: dict[str, Any], now: Callable[[], float]) -> dict[str, Any]:
    """Return what readers see of decoded members: without the bookkeeping.

    :param members: what :func:`decode` returned
    :param now: the store's clock, which is looked at where the task has a heartbeat
    :return: a status; that of a task whose heart stopped is 'stalled', and of one that is asked to stop 'cancelling'
    """
    status = {name: value for name, value in members.items() if name[0] != '_'}
    if BEAT in members and members['status'] not in ENDS:
        if now() > members[BEAT] + 3 * BEAT_INTERVAL:
            status['status'] = 'stalled'
        elif CANCEL in members:
            status['status'] = 'cancelling'
    return status
