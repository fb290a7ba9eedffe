"""The record of a task: its stored form, and the rules by which it changes.

A record maps the name of each member of a status to the JSON text of its value. Texts are merged without being decoded,
so that every value is read back exactly as it was written. Names that begin with an underscore are internal: readers
never see them.

Drivers that store a record as one string use the form of :func:`dump`: a JSON object with each member on a line of its
own (JSON text contains no raw line feed, RFC 8259 section 7), so that a member can be found and replaced without a
parser.
"""

from enum import IntEnum

Record = dict[str, str]

#: Marks a finished task whose end was acknowledged.
ACKNOWLEDGED = '_acknowledged'

#: Marks a task that can be asked to stop; its value is ``true``.
CANCELLABLE = '_cancellable'

#: Marks a task that was asked to stop.
CANCEL = '_cancel'

#: The time of the last heartbeat, by the store's clock.
HEARTBEAT = '_heartbeat'

#: The code of the ``message``, if it is one of :data:`.messages.MESSAGES`.
MESSAGE_CODE = '_code'

#: Seconds between two heartbeats. A task is stalled after three missed heartbeats.
HEARTBEAT_INTERVAL = 5.0

#: The terminal values of ``status``.
TERMINAL_STATUSES = frozenset({'finished', 'failed', 'cancelled'})

_TERMINAL = frozenset({'"finished"', '"failed"', '"cancelled"'})

#: The terminal statuses that take a task off the running list at once.
_NOT_LISTED = _TERMINAL - {'"finished"'}

#: The first record of an id that was never started; changes are merged into it.
_BARE: Record = {'message': 'null', 'length': 'null', 'current': 'null'}


class Activity(IntEnum):
    """What a publisher needs to know of the record that it updated."""

    #: The task goes on.
    ACTIVE = 1
    #: The task goes on, and was asked to stop.
    CANCELLING = 2
    #: The task has ended.
    ENDED = 3


def may_start(old: Record | None, new: Record) -> bool:
    """Return whether a task may be started if its id has the record *old*: none, a bare one, or the same owner's."""
    return old is None or 'started' not in old or old['owner'] == new['owner']


def updated(old: Record | None, changes: Record) -> Record | None:
    """Return the record that :func:`.statuses.set_progress_status` makes of *old*; None if *old* stays as it is.

    An acknowledged record stays as it is.
    """
    if old is None:
        return _BARE | changes
    if ACKNOWLEDGED in old:
        return None
    if 'message' not in old:
        old = {'message': 'null'} | old
    return merged(old, changes)


def updated_active(old: Record | None, changes: Record) -> Record | None:
    """Return *old* with *changes* merged; None if there is no record, the task has ended, or there are no changes."""
    if old is None or has_ended(old) or not changes:
        return None
    return merged(old, changes)


def merged(old: Record, changes: Record) -> Record:
    """Return *old* with *changes*. A new message without a code removes the code of the old one."""
    new = old | changes
    if MESSAGE_CODE in old and 'message' in changes and MESSAGE_CODE not in changes:
        del new[MESSAGE_CODE]
    return new


def activity(record: Record) -> Activity:
    """Return what a publisher needs to know of a record."""
    if has_ended(record):
        return Activity.ENDED
    return Activity.CANCELLING if CANCEL in record else Activity.ACTIVE


def has_ended(record: Record) -> bool:
    """Return whether the status of a record is terminal."""
    return record['status'] in _TERMINAL


def is_listed(record: Record) -> bool:
    """Return whether a task is on the running list: started, neither failed nor cancelled, its end not acknowledged."""
    return 'started' in record and ACKNOWLEDGED not in record and record['status'] not in _NOT_LISTED


def acknowledged(old: Record | None) -> Record | None:
    """Return *old* marked as acknowledged; None if it is not that of a finished task, or was acknowledged before."""
    if old is None or old['status'] != '"finished"' or ACKNOWLEDGED in old:
        return None
    return old | {ACKNOWLEDGED: 'true'}


def dump(record: Record) -> str:
    """Return a record as JSON text, one member on a line."""
    # Without a loop in Python: this runs at every change, and a generator of f-strings takes three times as long.
    return '{"' + '\n,"'.join(map('":'.join, record.items())) + '\n}'


def load(text: str) -> Record:
    """Return the record of a text that :func:`dump` returned."""
    return dict([line.split('":', 1) for line in text[2:-2].split('\n,"')])
