"""What is announced of the end of a task: a log record, and an event of Pyramid."""

import logging
from dataclasses import dataclass
from typing import Any

from .errors import is_expected

log = logging.getLogger('pyramid_progress')

#: The fields of an event that are attributes of its log record.
_FIELDS = ('progress_id', 'label', 'owner', 'tags', 'status', 'current', 'length', 'duration')


@dataclass(frozen=True)
class TaskEnded:
    """A task has ended. Subscribers of the application that started it are notified.

    ::

        config.add_subscriber(on_task_ended, 'pyramid_progress.TaskEnded')
    """

    #: the task's id
    progress_id: str
    #: its name
    label: Any
    #: the user whose task it was; None for no particular user
    owner: Any
    #: any JSON value, usually a list of strings
    tags: Any
    #: 'finished', 'failed' or 'cancelled'
    status: str
    #: its last message
    message: Any
    #: the completed and the total amount of work, in the task's own unit; None if they are not known
    current: float | None
    length: float | None
    #: the time from its start in this process to its end, in seconds
    duration: float
    #: the exception that ended it, if one did
    error: BaseException | None = None


def announce(event: TaskEnded, registry: Any) -> None:
    """Log the end of a task, and notify the subscribers. One that raises is logged.

    Finished and cancelled tasks are logged as INFO; those that a :class:`.ProgressError`, alone or in a group, or the
    end of the process ended as WARNING; all others as ERROR with the traceback. The fields of the event, apart from
    ``message`` and ``error``, are attributes of the log record.

    :param event: the event
    :param registry: the registry of the application that started the task
    """
    is_unexpected = isinstance(event.error, Exception) and not is_expected(event.error)
    level = logging.INFO if event.status != 'failed' else logging.ERROR if is_unexpected else logging.WARNING
    log.log(
        level,
        'Task %s (%s) of %s: %s after %.1f s',
        event.progress_id,
        event.label,
        'no owner' if event.owner is None else event.owner,
        event.status,
        event.duration,
        exc_info=event.error if level == logging.ERROR else None,
        extra={name: getattr(event, name) for name in _FIELDS},
    )
    try:
        registry.notify(event)
    except Exception:
        log.exception('A subscriber of TaskEnded raised an exception for task %s', event.progress_id)
