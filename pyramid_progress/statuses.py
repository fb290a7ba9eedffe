"""The functions that start, change and read the statuses of tasks.

A status is a dict with ``status`` ('running', …), ``message``, ``length`` and ``current``, and, if the task was started
with :func:`init_progress_status`, ``owner``, ``label``, ``tags`` and ``started``. ``docs/reference/life.rst`` shows the
life of a task.

Every function raises :class:`~pyramid_progress.storage.StorageError` if the store does not answer within
``progress.timeout``, and :class:`pyramid.exceptions.ConfigurationError` if the regions are not set up.
"""

import logging
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from .model.record import ACKNOWLEDGED, CANCEL, CANCELLABLE, CHANGED, RUN, Activity, Record, has_ended, new_run
from .model.status import UNKNOWN, decode, is_unacknowledged_end, to_status
from .model.values import check_id, encode, encode_number, encode_status
from .runtime import Store, current_store
from .storage import Storage, StorageError

log = logging.getLogger(__name__)


class _Keep(Enum):
    """The type of an omitted argument."""

    KEEP = '…'

    def __repr__(self) -> str:
        return self.value


_KEEP = _Keep.KEEP


def init_progress_status(
    progress_id: str,
    owner: Any,
    label: Any,
    tags: Any = None,
    length: float | None = None,
    current: float | None = None,
) -> None:
    """Start a task: its status becomes 'running', and its id is on the running list.

    The id may be that of another task, which this one replaces: of the same owner, or of another one if that task has
    ended or stalled. A task without heartbeats, which the functions alone keep, counts as stalled 15 minutes after its
    last change.

    :param progress_id: the task's id: a string of 1 to 255 characters without control characters
    :param owner: the user whose task it is, as ``request.authenticated_userid`` returns it; None for no particular user
    :param label: the name of the task, for visitors
    :param tags: any JSON value, usually a list of strings
    :param length: the total amount of work, in the task's own unit; None if it is not known. Any finite number is valid
        that :attr:`.Task.current` accepts
    :param current: the completed amount, a number as well
    :raises TypeError: if a value is not a JSON value, naming the argument
    :raises ValueError: for an invalid id, an id in use by another owner, NaN and infinities
    """
    check_id(progress_id)
    record = new_record(owner, label, tags, length, current)
    storage, expire, _ = current_store()
    now = storage.now()
    if not storage.start(progress_id, record | {RUN: new_run(now), CHANGED: str(int(now))}, expire):
        raise ValueError(f'progress_id {progress_id!r} is in use by another owner')


def new_record(owner: Any, label: Any, tags: Any, length: float | None, current: float | None) -> Record:
    """Return the record of a task that starts now; the arguments are those of :func:`init_progress_status`."""
    return {
        'status': '"running"',
        'owner': encode('owner', owner),
        'label': encode('label', label),
        'tags': encode('tags', tags),
        'length': encode_number('length', length),
        'current': encode_number('current', current),
        'started': f'"{datetime.now(timezone.utc).isoformat()}"',
    }


def set_progress_status(
    progress_id: str,
    status: str = 'running',
    message: Any = _KEEP,
    length: float | _Keep | None = _KEEP,
    current: float | _Keep | None = _KEEP,
) -> None:
    """Change the status of a task. An omitted argument keeps its earlier value; None clears it.

    'finished', 'failed' and 'cancelled' end a task: the last two take it off the running list at once, the first one
    when its end is acknowledged (:func:`get_progress_status`). After that, a change is ignored as long as the record
    lingers. An id that was never started gets a status of these four values alone, and is not on the list.

    :param progress_id: the task's id
    :param status: its state: 'pending', 'running', a terminal status, or any word of your own
    :param message: what it is doing
    :param length: the total amount of work, in the task's own unit: a number as for :func:`init_progress_status`
    :param current: the completed amount, a number as well
    :raises TypeError: if a value is not a JSON value, naming the argument
    :raises ValueError: for an invalid id or status, NaN and infinities
    """
    check_id(progress_id)
    changes = {'status': '"running"' if status == 'running' else encode_status(status)}
    if message is not _KEEP:
        changes['message'] = encode('message', message)
    if length is not _KEEP:
        changes['length'] = encode_number('length', length)
    if current is not _KEEP:
        changes['current'] = encode_number('current', current)
    storage, expire, _ = current_store()
    changes[CHANGED] = str(int(storage.now()))
    storage.update(progress_id, changes, expire)


def get_progress_status(progress_id: str, *, acknowledge: bool = True) -> dict[str, Any]:
    """Return the status of a task, and acknowledge its end if it is finished.

    If the store can be read but not written, the status is returned all the same, and the failure is logged.

    :param progress_id: the task's id
    :param acknowledge: whether to acknowledge the end
    :return: a new dict; ``{'status': 'unknown'}`` if there is no such task, or if it is finished and its end was
        acknowledged before
    :raises TypeError, ValueError: for an invalid id
    """
    check_id(progress_id)
    store = current_store()
    while True:
        text = store.storage.get_many_serialized((progress_id,)).get(progress_id)
        members = UNKNOWN if text is None else decode(text)
        if ACKNOWLEDGED in members:
            return dict(UNKNOWN)
        if not (acknowledge and is_unacknowledged_end(members)) or acknowledge_end(store, progress_id) is not False:
            return to_status(members, store.storage.now)
        # The end was acknowledged elsewhere between the two calls, or the task was started anew: read it again.


def acknowledge_end(store: Store, progress_id: str) -> bool | None:
    """Acknowledge the end of a task.

    :return: whether this call did it; None if the store could not be written, which is logged
    """
    try:
        return store.storage.acknowledge(progress_id, store.linger)
    except StorageError as error:
        log.warning('The end of task %s cannot be acknowledged: %s', progress_id, error)
        return None


def get_running_tasks() -> set[str]:
    """Return the ids on the running list: started, neither failed nor cancelled, and if finished, not acknowledged."""
    return current_store().storage.running_ids()


def cancel_task(progress_id: str) -> bool:
    """Ask a task to stop: :class:`.TaskCancelled` is raised at its next step.

    :param progress_id: the task's id
    :return: whether the task was asked; False if there is none, it has ended, or it is not cancellable, as are
        tasks that only these functions start and change
    :raises TypeError, ValueError: for an invalid id
    """
    storage, expire, _ = current_store()
    return request_cancel(storage, check_id(progress_id), expire)


def request_cancel(storage: Storage, progress_id: str, expire: float, run: str | None = None) -> bool:
    """Do what :func:`cancel_task` does, in a given storage, and for a given run only, if there is one."""
    record = storage.get_many([progress_id]).get(progress_id)
    if record is None or has_ended(record) or CANCELLABLE not in record or run not in (None, record.get(RUN)):
        return False
    if CANCEL in record:
        return True
    # Only this run: a run that replaces it in the meantime must not be cancelled.
    activities = storage.update_active({progress_id: {CANCEL: 'true'}}, expire, {progress_id: record.get(RUN, '')})
    return activities.get(progress_id) == Activity.CANCELLING


def forget_task(progress_id: str) -> bool:
    """Remove the record of a task, as if it had never existed.

    A task that still runs is written again by its publisher.

    :param progress_id: the task's id
    :return: whether there was a record
    :raises TypeError, ValueError: for an invalid id
    """
    return current_store().storage.delete(check_id(progress_id))
