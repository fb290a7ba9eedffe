"""The functions: start, change, read and list the statuses of tasks.

A status is a dict with ``status`` ('running', …), ``message``, ``length`` and ``current``, and, where the task was
started with :func:`init_progress_status`, ``owner``, ``label``, ``tags`` and ``started``. ``docs/progress.rst`` walks
through the life of a task.

Every function raises :class:`~pyramid_progress.storage.StorageError` where the store does not answer within
``progress.timeout``, and :class:`pyramid.exceptions.ConfigurationError` where the regions are not set up.
"""

from datetime import datetime, timezone
from enum import Enum
from typing import Any

from .regions import store
from .storage.record import TAKEN, Record, decode, is_end, shown
from .values import check_id, encode, encode_number, encode_status

#: What readers see of a task that does not exist.
UNKNOWN: dict[str, Any] = {'status': 'unknown'}


class _Keep(Enum):
    """The type of the argument that was left out."""

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
    """Start a task: its status becomes 'running', and its id is on the list.

    :param progress_id: the task's id: a string of at most 255 characters without control characters
    :param owner: who may see it, as ``request.authenticated_userid`` knows him; None for nobody in particular
    :param label: what the task is called
    :param tags: any JSON value, usually a list of strings
    :param length: how much there is to do, in the task's own unit; None where that is not known
    :param current: how much of it is done
    :raises TypeError: for a value that JSON does not know, naming the argument
    :raises ValueError: for an id that cannot be one, an id in use by another owner, NaN and infinities
    """
    check_id(progress_id)
    record = new_record(owner, label, tags, length, current)
    storage, expire, _ = store()
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
    """Change the status of a task. An argument left out keeps its earlier value; None clears it.

    'finished', 'failed' and 'cancelled' end a task: the last two take it off the list at once, the first when somebody
    has read it (:func:`get_progress_status`), after which a change is ignored for as long as it lingers. An id that was
    never started gets a status of these four values alone, and is not on the list.

    :param progress_id: the task's id
    :param status: what state it is in: 'pending', 'running', one of the ends, or any word of your own
    :param message: what it is doing
    :param length: how much there is to do, in the task's own unit
    :param current: how much of it is done
    :raises TypeError: for a value that JSON does not know, naming the argument
    :raises ValueError: for an id that cannot be one, NaN and infinities
    """
    check_id(progress_id)
    changes = {'status': '"running"' if status == 'running' else encode_status(status)}
    if message is not _KEEP:
        changes['message'] = encode('message', message)
    if length is not _KEEP:
        changes['length'] = encode_number('length', length)
    if current is not _KEEP:
        changes['current'] = encode_number('current', current)
    storage, expire, _ = store()
    storage.update(progress_id, changes, expire)


def get_progress_status(progress_id: str) -> dict[str, Any]:
    """Return the status of a task, and take a finished one off the list.

    :param progress_id: the task's id
    :return: a dict of the caller's own; ``{'status': 'unknown'}`` where there is no such task, or it is finished and
        somebody has read that already
    :raises TypeError, ValueError: for an id that cannot be one
    """
    check_id(progress_id)
    storage, _, settings = store()
    while True:
        text = storage.texts((progress_id,)).get(progress_id)
        members = UNKNOWN if text is None else decode(text)
        if TAKEN in members:
            return dict(UNKNOWN)
        if not is_end(members) or storage.take(progress_id, settings.linger):
            return shown(members, storage.now)
        # Between the two, somebody else took it, or started it anew: look again.


def get_running_tasks() -> set[str]:
    """Return the ids of the tasks on the list: started, not failed, not cancelled, and if finished, not yet read."""
    return store().storage.tasks()


def get_progress_status_view(request: Any) -> dict[str, Any]:
    """Return the status of the task, or the tasks, that a request asks for: the JSON view.

    :param request: a request with ``progress_id`` in its query string, once or up to 50 times
    :return: the status without ``owner`` for one id; for several a dict of statuses by id
    :raises pyramid.httpexceptions.HTTPBadRequest: where there is no id, or one that cannot be one, or too many
    """
    from .views import statuses  # the arrows point from the views to the functions

    return statuses(request)
