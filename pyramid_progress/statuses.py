"""The functions that start, change and read the statuses of tasks.

A status is a dict with ``status`` ('running', …), ``message``, ``length`` and ``current``, and, if the task was started
with :func:`init_progress_status`, ``owner``, ``label``, ``tags`` and ``started``. ``docs/progress.rst`` shows the life
of a task.

Every function raises :class:`~pyramid_progress.storage.StorageError` if the store does not answer within
``progress.timeout``, and :class:`pyramid.exceptions.ConfigurationError` if the regions are not set up.
"""

from datetime import datetime, timezone
from enum import Enum
from typing import Any

from .model.record import ACKNOWLEDGED, Record
from .model.status import UNKNOWN, decode, is_unacknowledged_end, to_status
from .model.values import check_id, encode, encode_number, encode_status
from .runtime import current_store


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
    if not storage.start(progress_id, record, expire):
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
    storage.update(progress_id, changes, expire)


def get_progress_status(progress_id: str) -> dict[str, Any]:
    """Return the status of a task, and acknowledge its end if it is finished.

    :param progress_id: the task's id
    :return: a new dict; ``{'status': 'unknown'}`` if there is no such task, or if it is finished and its end was
        acknowledged before
    :raises TypeError, ValueError: for an invalid id
    """
    check_id(progress_id)
    storage, _, settings = current_store()
    while True:
        text = storage.get_many_serialized((progress_id,)).get(progress_id)
        members = UNKNOWN if text is None else decode(text)
        if ACKNOWLEDGED in members:
            return dict(UNKNOWN)
        if not is_unacknowledged_end(members) or storage.acknowledge(progress_id, settings.linger):
            return to_status(members, storage.now)
        # The end was acknowledged elsewhere between the two calls, or the task was started anew: read it again.


def get_running_tasks() -> set[str]:
    """Return the ids on the running list: started, neither failed nor cancelled, and if finished, not acknowledged."""
    return current_store().storage.running_ids()
