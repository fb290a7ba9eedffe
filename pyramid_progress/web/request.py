"""The request extension ``request.progress``."""

import logging
from functools import partial
from typing import Any

from pyramid.httpexceptions import HTTPBadRequest

from ..model.record import HEARTBEAT, has_ended
from ..model.values import check_id
from ..runtime import current_store
from ..storage import StorageError
from ..work.task import Task, open_task
from ..work.threads import Work, WorkerThreads
from .body import posted_id
from .rendering import Rendering

log = logging.getLogger(__name__)

#: The key of an application's worker threads in its registry.
THREADS_KEY = 'pyramid_progress.threads'


class Progress(Rendering):
    """Starts tasks for a request, and draws their bars."""

    #: The posted id, once a task of this request uses it.
    _used_id: str | None = None

    def start(self, label: Any, *, length: float | None = None, tags: Any = None, cancellable: bool = True) -> Task:
        """Start a task of this request's user, as :func:`pyramid_progress.start_task` does.

        The owner is ``str(request.authenticated_userid)``. A form that shows a bar while it is sent has the
        ``progress_id`` of that bar in its body; if that id cannot be used, the task gets a new one.

        :param label: the name of the task, for visitors
        :param length: the total amount of work, in the task's own unit; None if it is not known (yet)
        :param tags: any JSON value, usually a list of strings
        :param cancellable: whether it can be asked to stop
        :return: the task
        :raises TypeError: if a value is not a JSON value, naming the argument
        :raises ValueError: for NaN and infinities
        """
        task = self._open('running', label, length=length, tags=tags, cancellable=cancellable)
        if task.id == self._used_id:
            # The page with the form's bar is gone when the work is done: the response itself shows the end.
            self.request.add_finished_callback(partial(_acknowledge, task.id))
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
        """Run ``func(task, *args)`` on a worker thread of the application, in a task as :meth:`start` starts it.

        The task is pending until a thread is free, and ends when the function returns or raises. The function has no
        request, which has ended by then; :func:`pyramid.threadlocal.get_current_registry` works. When the process ends,
        tasks that have not ended fail: work that must outlive it belongs on a queue, such as Celery's.

        :param func: the function to run
        :param args: its arguments after the task
        :return: the progress id
        :raises TypeError: if a value is not a JSON value, naming the argument
        :raises ValueError: for NaN and infinities
        """
        task = self._open('pending', label, length=length, tags=tags, cancellable=cancellable)
        threads: WorkerThreads = self.request.registry[THREADS_KEY]
        threads.submit(task, func, *args)
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
            pass  # the body cannot be read, or the id is invalid or another owner's
        return open_task(status, label, **options)


def _acknowledge(progress_id: str, request: Any) -> None:
    """Acknowledge the end of a task, if it has finished."""
    storage, _, settings = current_store()
    try:
        storage.acknowledge(progress_id, settings.linger)
    except StorageError:
        log.warning('The finished task %s stays on the running list until it expires', progress_id, exc_info=True)


def _is_running(progress_id: str) -> bool:
    """Return whether a task of this id has a heartbeat: a form that is sent twice starts two tasks."""
    try:
        record = current_store().storage.get_many([check_id(progress_id)]).get(progress_id)
    except StorageError:
        return False
    return record is not None and HEARTBEAT in record and not has_ended(record)
