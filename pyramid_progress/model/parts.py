"""The parts of a task: the rules by which the work of many workers adds up to one record.

Each part has a record of its own beside its task's. :func:`start_part` and :func:`update_part` change both in one step,
which a driver makes atomic. The task's record holds:

``_parts``
    how many parts there are
``_ended``, ``_failed``, ``_cancelled``
    how many of them have ended, and ended in this way
``_p`` and the number of a part
    the last heartbeat of that part, as long as it is active
``current``
    the sum of what the parts have completed, in units of the task's ``length``
``_failure``, ``_failure_code``
    the message, with its code, of the first part that failed
``_last``
    the run of the part whose end has ended the task

A part's record holds its ``_run``, its ``status``, and in ``current`` what it has added to the task's ``current``.
"""

from typing import NamedTuple

from .record import (
    CANCEL,
    CHANGED,
    HEARTBEAT,
    MESSAGE_CODE,
    NO_ACTIVITY,
    PART_HEARTBEAT,
    RUN,
    Activity,
    Record,
    has_ended,
)

#: How many parts a task has.
PARTS = '_parts'

#: How many of them have ended.
PARTS_ENDED = '_ended'

_PARTS_FAILED = '_failed'
_PARTS_CANCELLED = '_cancelled'
_FAILURE = '_failure'
_FAILURE_CODE = '_failure_code'
_LAST = '_last'

#: The counts of parts by how they ended.
_COUNTS = {'"failed"': _PARTS_FAILED, '"cancelled"': _PARTS_CANCELLED}


#: After these, a part changes nothing.
_OVER = Activity.ENDED | Activity.SUPERSEDED


class PartChange(NamedTuple):
    """The records of a task and of one of its parts after a step; None for one that does not change."""

    task: Record | None
    part: Record | None
    activity: Activity | None


def start_part(
    task: Record | None, part: Record | None, *, task_run: str, number: int, part_run: str, heartbeat: str
) -> PartChange:
    """Start a part, at 0. It supersedes an earlier run of the part, even one that has ended.

    :param task: the record of the task
    :param part: the record of the part, if it was started before
    :param task_run: the number of the task's run
    :param number: the number of the part, from 0
    :param part_run: the number of the new run of the part
    :param heartbeat: the time by the store's clock, as JSON text
    :return: no activity if the task is lost; nothing changes after the task's end, or if another run superseded it
    """
    if task is None or PARTS not in task:
        return PartChange(None, None, None)
    activity = _activity(task, None, task_run, part_run)
    if activity and activity & _OVER:
        return PartChange(None, None, activity)
    new = dict(task)
    if part is not None:
        new['current'] = _sum(new['current'], '0', part['current'])
        if has_ended(part):
            _count(new, PARTS_ENDED, -1)
            if part['status'] in _COUNTS:
                _count(new, _COUNTS[part['status']], -1)
            if new.get(_PARTS_FAILED) == '0':
                new.pop(_FAILURE, None)
                new.pop(_FAILURE_CODE, None)
    new[f'{PART_HEARTBEAT}{number}'] = heartbeat
    return PartChange(new, {RUN: part_run, 'status': '"running"', 'current': '0'}, activity)


def update_part(
    task: Record | None, part: Record | None, changes: Record, *, task_run: str, number: int, part_run: str
) -> PartChange:
    """Change a part, and the task by the difference. The end of the last part ends the task.

    :param task: the record of the task
    :param part: the record of the part
    :param changes: any of: ``current``, what the part has completed, in units of the task's ``length``; ``status``, a
        terminal one; ``message``, that of the task, with ``_code``; ``_heartbeat``; at the end of the part,
        ``result``, that of the task, and ``_changed``
    :param task_run: the number of the task's run
    :param number: the number of the part
    :param part_run: the number of the part's run
    :return: no activity if the task or the part is lost. The end that has ended the task may be repeated: it has the
        same activity again, with :attr:`.Activity.ENDED`
    """
    if task is None or PARTS not in task or part is None:
        return PartChange(None, None, None)
    activity = _activity(task, part, task_run, part_run)
    if activity and activity & _OVER:
        if task.get(_LAST) == part_run and 'status' in changes and not activity & Activity.SUPERSEDED:
            activity |= Activity.LAST
        return PartChange(None, None, activity)
    new, member = dict(task), f'{PART_HEARTBEAT}{number}'
    new_part = part | {name: text for name, text in changes.items() if name in ('status', 'current')}
    if 'current' in changes:
        new['current'] = _sum(new['current'], changes['current'], part['current'])
    if HEARTBEAT in changes:
        new[member] = changes[HEARTBEAT]
    if has_ended(new_part):
        new.pop(member, None)
        if 'result' in changes:
            new['result'] = changes['result']
        if _end_part(new, new_part, changes):
            activity |= Activity.LAST
    elif 'message' in changes:
        new['message'] = changes['message']
        new.pop(MESSAGE_CODE, None)
        if MESSAGE_CODE in changes:
            new[MESSAGE_CODE] = changes[MESSAGE_CODE]
    return PartChange(new, new_part, activity)


def _end_part(task: Record, part: Record, changes: Record) -> bool:
    """Count the end of a part, and end the task if it was the last; return whether it was."""
    status = part['status']
    _count(task, PARTS_ENDED, 1)
    if status in _COUNTS:
        _count(task, _COUNTS[status], 1)
    if status == '"failed"' and _FAILURE not in task:
        task[_FAILURE] = changes.get('message', 'null')
        if MESSAGE_CODE in changes:
            task[_FAILURE_CODE] = changes[MESSAGE_CODE]
    if int(task[PARTS_ENDED]) < int(task[PARTS]):
        return False
    task[_LAST] = part[RUN]
    if CHANGED in changes:
        task[CHANGED] = changes[CHANGED]
    task.pop(MESSAGE_CODE, None)
    if int(task.get(_PARTS_FAILED, 0)):
        task['status'], task['message'] = '"failed"', task.get(_FAILURE, 'null')
        if _FAILURE_CODE in task:
            task[MESSAGE_CODE] = task[_FAILURE_CODE]
    else:
        task['status'] = '"cancelled"' if int(task.get(_PARTS_CANCELLED, 0)) else '"finished"'
        task['message'] = changes.get('message', 'null')
        if MESSAGE_CODE in changes:
            task[MESSAGE_CODE] = changes[MESSAGE_CODE]
    return True


def _activity(task: Record, part: Record | None, task_run: str, part_run: str) -> Activity:
    is_superseded = task.get(RUN) != task_run or (part is not None and part[RUN] != part_run)
    is_over = has_ended(task) or (part is not None and has_ended(part))
    if not (is_superseded or is_over or CANCEL in task):
        return NO_ACTIVITY  # the usual case: to combine flags takes as long as everything else here
    activity = NO_ACTIVITY
    if is_superseded:
        activity |= Activity.SUPERSEDED
    if is_over:
        activity |= Activity.ENDED
    if CANCEL in task:
        activity |= Activity.CANCELLING
    return activity


def _count(task: Record, name: str, difference: int) -> None:
    task[name] = str(int(task.get(name, 0)) + difference)


def _sum(total: str, new: str, old: str) -> str:
    """Return total + new - old, as the text of an int if it is a whole number that a float holds exactly."""
    result = (0.0 if total == 'null' else float(total)) + float(new) - float(old)
    return str(int(result)) if result.is_integer() and abs(result) < 2**53 else f'{result:.17g}'
