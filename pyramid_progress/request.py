"""What ``request.progress`` is."""

import logging
from functools import partial
from typing import Any

from pyramid.httpexceptions import HTTPBadRequest

from .regions import store
from .rendering import Progress as Rendering
from .storage import StorageError
from .storage.record import BEAT, has_ended
from .task import Task, open_task
from .values import check_id
from .views import posted_id
from .workers import Work, Workers

log = logging.getLogger(__name__)


class Progress(Rendering):
    """Starts tasks for a request, and draws their bars."""

    #: The id that was posted, once a task of this request has it.
    _used_id: str | None = None

    def start(self, label: Any, *, length: float | None = None, tags: Any = None, cancellable: bool = True) -> Task:
        """Start a task of this request's user, as :func:`pyramid_progress.start_task` does.

        The owner is ``str(request.authenticated_userid)``. A form that shows a bar while it is sent brings the
        ``progress_id`` of that bar in its body; one that cannot be had is replaced by a fresh one.

        :param label: what the task is called: a string
        :param length: how much there is to do, in the task's own unit; None where that is not known (yet)
        :param tags: any JSON value, usually a list of strings
        :param cancellable: whether somebody may ask it to stop
        :return: the task
        :raises TypeError: for a value that JSON does not know, naming the argument
        :raises ValueError: for NaN and infinities
        """
        task = self._open('running', label, length=length, tags=tags, cancellable=cancellable)
        if task.id == self._used_id:
            # The page with the bar of the form is gone when the work is done: it is the answer that tells of the end.
            self.request.add_finished_callback(partial(_take, task.id))
        return task

    def submit(
        self,
        func: Work,
        *args: Any,
        label: Any,
        length: float | None = None,
        tags: Any = None,
        cancellable: bool = True,
    ) -> str:
        """Run ``func(task, *args)`` on one of the application's threads, in a task as :meth:`start` makes it.

        Until a thread is free, the task is pending. The function ends its task by returning or by an exception. It has
        no request, since that is over by then; :func:`pyramid.threadlocal.get_current_registry` works. When the process
        ends, what it has not done is failed: work that must outlive it belongs on a queue, such as Celery.

        :param func: what to run
        :param args: its arguments, after the task
        :return: the progress id
        :raises TypeError: for a value that JSON does not know, naming the argument
        :raises ValueError: for NaN and infinities
        """
        task = self._open('pending', label, length=length, tags=tags, cancellable=cancellable)
        workers: Workers = self.request.registry['pyramid_progress.workers']
        workers.submit(task, func, *args)
        return task.id

    def _open(self, status: str, label: Any, **options: Any) -> Task:
        userid = self.request.authenticated_userid
        options['owner'] = None if userid is None else str(userid)
        try:
            progress_id = posted_id(self.request)
            if progress_id and not self._used_id and not _is_running(progress_id):
                task = open_task(status, label, progress_id=progress_id, **options)
                self._used_id = progress_id
                return task
        except (HTTPBadRequest, ValueError):
            pass  # it cannot be read, cannot be an id, or is another owner's
        return open_task(status, label, **options)


def _take(progress_id: str, request: Any) -> None:
    """Take a task off the list, if it has finished."""
    storage, _, settings = store()
    try:
        storage.take(progress_id, settings.linger)
    except StorageError:
        log.warning('A task that has finished stays on the list until it expires', exc_info=True)


def _is_running(progress_id: str) -> bool:
    """Tell whether there is a task of this id with a heart: a form that was sent twice starts two tasks."""
    try:
        record = store().storage.read([check_id(progress_id)]).get(progress_id)
    except StorageError:
        return False
    return record is not None and BEAT in record and not has_ended(record)
