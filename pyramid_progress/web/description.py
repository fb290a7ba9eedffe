"""What a user who may see a task gets of its status."""

from collections.abc import Callable, Mapping
from typing import Any

from ..model.messages import MESSAGES, PARTS
from ..model.record import CANCEL, CANCELLABLE, MESSAGE_CODE, TERMINAL_STATUSES
from ..model.status import Status


def is_cancellable(members: Mapping[str, Any]) -> bool:
    """Return whether a task can be asked to stop.

    :param members: the decoded members of its record
    """
    return CANCELLABLE in members and CANCEL not in members and members['status'] not in TERMINAL_STATUSES


def describe(members: Mapping[str, Any], status: Status, localizer: Callable[[], Any], *, may_cancel: bool) -> Status:
    """Return a status without its owner, with ``cancellable``, and with its message in the user's language.

    :param members: the decoded members of the task's record
    :param status: what :func:`.status.to_status` returned for them
    :param localizer: returns the localizer of the user's locale; called only if there is something to translate
    :param may_cancel: whether the user may ask this task to stop, now
    """
    described = {name: value for name, value in status.items() if name != 'owner'}
    if may_cancel:
        described['cancellable'] = True
    if MESSAGE_CODE in members:
        described['message'] = _translated_message(members, localizer)
    message = _with_count_of_parts(described, localizer)
    if message is not None:
        described['message'] = message
    return described


def _translated_message(members: Mapping[str, Any], localizer: Callable[[], Any]) -> Any:
    """Return the message of a task, translated if it is one of the add-on's own."""
    message = MESSAGES.get(members[MESSAGE_CODE])
    return members.get('message') if message is None else localizer().translate(message)


def _with_count_of_parts(status: Status, localizer: Callable[[], Any]) -> Any:
    """Return the message of a task, after the number of its parts that have ended, as long as it has not ended itself.

    :param status: the status of the task, whose ``message`` is translated
    """
    message, parts = status.get('message'), status.get('parts')
    if parts is None or status['status'] in TERMINAL_STATUSES or not isinstance(message, (str, type(None))):
        return message
    count: str = localizer().translate(PARTS % parts)
    return f'{count}: {message}' if message else count
