"""The record of a task: its stored form, and the rules by which it changes.

A record maps the name of each member of a status to the JSON text of its value. Texts are merged without being decoded,
so that every value is read back exactly as it was written. Names that begin with an underscore are internal: readers
never see them.

Drivers that store a record as one string use the form of :func:`dump`: a JSON object with each member on a line of its
own (JSON text contains no raw line feed, RFC 8259 section 7), so that a member can be found and replaced without a
parser.

Every start of a task is a run, with a number of its own in the member :data:`RUN`. The runs of an id are ordered by the
store's clock at their start.
"""

import json
import math
import secrets
from collections.abc import Mapping
from enum import Enum, IntFlag
from typing import Any

Record = dict[str, str]

#: The number of the run, see :func:`new_run`.
RUN = '_run'

#: Marks a finished task whose end was acknowledged.
ACKNOWLEDGED = '_acknowledged'

#: Marks a task that can be asked to stop; its value is ``true``.
CANCELLABLE = '_cancellable'

#: Marks a task that was asked to stop.
CANCEL = '_cancel'

#: The time of the last heartbeat, in seconds by the store's clock.
HEARTBEAT = '_heartbeat'

#: The time of the last change of a task without heartbeats, in whole seconds by the store's clock.
CHANGED = '_changed'

#: The code of the ``message``, if it is one of ``pyramid_progress.model.messages.MESSAGES``.
MESSAGE_CODE = '_code'

#: The beginning of the names of the members with the heartbeats of active parts; the number of the part follows.
PART_HEARTBEAT = '_p'

#: Seconds between two heartbeats.
HEARTBEAT_INTERVAL = 5.0

#: Seconds after its last heartbeat at which a task is stalled: three heartbeats are missing.
STALLED_AFTER = 3 * HEARTBEAT_INTERVAL

#: Seconds after its last change during which a task without heartbeats keeps its id in use.
IN_USE_AFTER_CHANGE = 900.0

#: The terminal values of ``status``.
TERMINAL_STATUSES = frozenset({'finished', 'failed', 'cancelled'})

#: The key of the index of the tasks on the running list.
RUNNING_KEY = 'running'

#: The keys of the indexes that together contain every task. A finished task is in two of them until it is acknowledged.
ALL_KEYS = (RUNNING_KEY, 'finished', 'failed', 'cancelled')

_TERMINAL = frozenset({'"finished"', '"failed"', '"cancelled"'})

#: The terminal statuses that take a task off the running list at once.
_NOT_LISTED = _TERMINAL - {'"finished"'}

#: The first record of an id that was never started; changes are merged into it.
_BARE: Record = {'message': 'null', 'length': 'null', 'current': 'null'}


class Start(Enum):
    """Which records a start may replace."""

    #: Any record, unless its id is in use by another owner.
    ANY = 'any'
    #: No record, except that of the same run, if its start is repeated.
    NEW = 'new'
    #: A bare record, or one of an older run: a run that the store lost is restored.
    RESTORE = 'restore'


class Activity(IntFlag):
    """What a publisher needs to know of the record that it updated."""

    #: The task has ended.
    ENDED = 1
    #: The task was asked to stop.
    CANCELLING = 2
    #: The record is that of a newer run.
    SUPERSEDED = 4
    #: The end of this part, the last one, has ended the task.
    LAST = 8


#: No flag is set: the work continues.
NO_ACTIVITY = Activity(0)


def new_run(now: float) -> str:
    """Return the number of a run that starts now, as JSON text. Compared as text, later runs are greater.

    :param now: the time by the store's clock, in seconds since the epoch
    """
    milliseconds, fraction = divmod(max(now, 0) * 1000, 1)
    # 13 digits: milliseconds until the year 2286. The fraction orders the runs that start in the same millisecond.
    return f'"{int(milliseconds):013d}-{int(fraction * 4096):03x}{secrets.randbits(20):05x}"'


def start_time(record: Record) -> int:
    """Return when a run started, in milliseconds by the store's clock; 0 for a record without run."""
    return int(record.get(RUN, '"0-')[1:].partition('-')[0])


def may_start(old: Record | None, new: Record, mode: Start, now: float) -> bool:
    """Return whether a task may be started if its id has the record *old*.

    :param old: the present record of the id, if there is one
    :param new: the record of the task to start
    :param mode: which records it may replace
    :param now: the time by the store's clock, in seconds
    """
    if old is None:
        return True
    if mode is Start.NEW:
        return RUN in new and old.get(RUN) == new[RUN]  # the same start, repeated
    if is_bare(old):
        return True
    if mode is Start.RESTORE:
        return old.get(RUN, '') < new[RUN]
    return owner_key(old['owner']) == owner_key(new['owner']) or not is_in_use(old, now)


def is_in_use(record: Record, now: float) -> bool:
    """Return whether a task has neither ended nor stalled.

    A task without heartbeats counts as stalled :data:`IN_USE_AFTER_CHANGE` seconds after its last change.
    """
    if has_ended(record):
        return False
    if HEARTBEAT in record:
        return now <= min(float(record[HEARTBEAT]), oldest_heartbeat(record)) + STALLED_AFTER
    return now <= float(record.get(CHANGED, 0)) + IN_USE_AFTER_CHANGE


def oldest_heartbeat(task: Mapping[str, Any]) -> float:
    """Return the oldest heartbeat of the active parts; infinite if there are none.

    :param task: the record of a task, or its decoded members
    """
    beats = [float(value) for name, value in task.items() if name.startswith(PART_HEARTBEAT) and name[2:].isdigit()]
    return min(beats, default=math.inf)


def updated(old: Record | None, changes: Record) -> Record | None:
    """Return the record that :func:`.set_progress_status` makes of *old*; None if *old* stays as it is.

    A started task whose end was acknowledged stays as it is; a bare record whose end was acknowledged starts anew.
    """
    if old is None:
        return _BARE | changes
    if ACKNOWLEDGED in old:
        return _BARE | changes if is_bare(old) else None
    if 'message' not in old:
        old = {'message': 'null'} | old
    return merged(old, changes)


def is_of_run(record: Record, run: str | None) -> bool:
    """Return whether a record is that of a run; None stands for any."""
    return run is None or record.get(RUN) == run


def updated_active(old: Record | None, changes: Record, run: str | None = None) -> Record | None:
    """Return *old* with *changes* merged, or None if the record does not change.

    It does not change if there is no record, if the task has ended, if there are no changes, or if a *run* is given and
    the record is that of another run.
    """
    if old is None or not changes or has_ended(old) or not is_of_run(old, run):
        return None
    return merged(old, changes)


def activity(record: Record | None, run: str | None = None) -> Activity | None:
    """Return what a publisher needs to know of a record after :func:`updated_active`.

    Return None if the store has lost the task: there is no record, or a *run* is given and the record is bare or that
    of an older run. The publisher then restores its run with :attr:`Start.RESTORE`.
    """
    if record is None:
        return None
    result = NO_ACTIVITY
    if run is not None and record.get(RUN) != run:
        if is_bare(record) or record.get(RUN, '') < run:
            return None
        result |= Activity.SUPERSEDED
    if has_ended(record):
        result |= Activity.ENDED
    if CANCEL in record:
        result |= Activity.CANCELLING
    return result


def merged(old: Record, changes: Record) -> Record:
    """Return *old* with *changes*. A new message without a code removes the code of the old one."""
    new = old | changes
    if MESSAGE_CODE in old and 'message' in changes and MESSAGE_CODE not in changes:
        del new[MESSAGE_CODE]
    return new


def acknowledged(old: Record | None) -> Record | None:
    """Return *old* marked as acknowledged; None if it is not that of a finished task, or was acknowledged before."""
    if old is None or old['status'] != '"finished"' or ACKNOWLEDGED in old:
        return None
    return old | {ACKNOWLEDGED: 'true'}


def is_bare(record: Record) -> bool:
    """Return whether the id of a record was never started: it is on no list and has no owner."""
    return 'started' not in record


def has_ended(record: Record) -> bool:
    """Return whether the status of a record is terminal."""
    return record['status'] in _TERMINAL


def is_listed(record: Record) -> bool:
    """Return whether a task is on the running list: started, neither failed nor cancelled, its end not acknowledged."""
    return not is_bare(record) and ACKNOWLEDGED not in record and record['status'] not in _NOT_LISTED


def index_keys(record: Record) -> tuple[str, ...]:
    """Return the keys of the indexes that a task is in: its owner's, that of its end, and the running list's."""
    if is_bare(record):
        return ()
    keys: tuple[str, ...] = (owner_key(record['owner']),)
    if has_ended(record):
        keys += (record['status'][1:-1],)
    if is_listed(record):
        keys += (RUNNING_KEY,)
    return keys


def owner_key(owner: str) -> str:
    """Return the key of the index of an owner's tasks. As everywhere, owners are compared as strings.

    :param owner: the owner as JSON text
    """
    if owner == 'null':
        return 'ownerless'
    return 'owner:' + (json.loads(owner) if owner.startswith('"') else owner)


def is_moved(old: Record | None, new: Record) -> bool:
    """Return whether a change of a record may change the indexes that it is in, or its place in them."""
    return (
        old is None
        or old['status'] != new['status']
        or old.get(RUN) != new.get(RUN)
        or (ACKNOWLEDGED in old) != (ACKNOWLEDGED in new)
        or old.get('owner') != new.get('owner')
    )


def renews_entries(changes: Record) -> bool:
    """Return whether a change also rewrites the index entries of a task, if indexes are stored apart from the records.

    Each heartbeat rewrites them, since an index may have lost them, and so does an end.
    """
    return HEARTBEAT in changes or ('status' in changes and has_ended(changes))


def dump(record: Record) -> str:
    """Return a record as JSON text, one member on a line."""
    # Without a loop in Python: this runs at every change, and a generator of f-strings takes three times as long.
    return '{"' + '\n,"'.join(map('":'.join, record.items())) + '\n}'


def load(text: str) -> Record:
    """Return the record of a text that :func:`dump` returned."""
    return dict([line.split('":', 1) for line in text[2:-2].split('\n,"')])
