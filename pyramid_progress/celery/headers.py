"""What the messages of Celery tasks contain for their progress, in headers."""

import json
from typing import Any, NamedTuple

from ..work.task import Part

#: The header with the ``progress`` options of :meth:`.task.ProgressTask.apply_async`, as JSON text.
PROGRESS = 'pyramid_progress'

#: The header with the :class:`.Origin` of a message that is sent for a request.
ORIGIN = 'pyramid_progress_origin'

#: The header with the :class:`Share` of a message that :func:`.group.apply_group` sends.
SHARE = 'pyramid_progress_part'


class Share(NamedTuple):
    """The part of a task that a Celery task runs."""

    part: Part
    #: the part of the callback, which is not called if this one fails; None for the callback itself
    callback: Part | None
    #: whether this is the callback
    is_callback: bool

    def dump(self) -> str:
        """Return the share as JSON text."""
        callback = self.callback and self.callback.to_dict()
        return json.dumps([self.part.to_dict(), callback, self.is_callback])


def share_of(request: Any) -> Share | None:
    """Return the share of a Celery task; None if it has a bar of its own.

    :param request: the Celery task's attribute ``request``
    """
    text = (getattr(request, 'headers', None) or {}).get(SHARE)
    if text is None:
        return None
    part, callback, is_callback = json.loads(text)
    return Share(Part.from_dict(part), callback and Part.from_dict(callback), is_callback)


def progress_of(headers: dict[str, Any] | None) -> dict[str, Any]:
    """Return the ``progress`` options in the headers of a message."""
    progress: dict[str, Any] = json.loads((headers or {}).get(PROGRESS, '{}'))
    return progress
