"""The request extension ``request.progress``."""

import re
from contextlib import suppress
from functools import partial
from typing import Any

from pyramid.httpexceptions import HTTPBadRequest

from ..model.record import Start
from ..runtime import get_runtime
from ..statuses import acknowledge_end
from ..work.errors import IdInUseError
from ..work.origin import Origin
from ..work.task import Task, open_task
from ..work.threads import Work, WorkerThreads
from ..work.transactions import active_transaction, start_after_commit
from .body import posted_id
from .rendering import Rendering
from .retry import forget_if_repeated

#: An id that the widget generates.
_WIDGET_ID = re.compile('[0-9a-f]{32}')

#: The key of an application's worker threads in its registry.
THREADS_KEY = 'pyramid_progress.threads'


class Progress(Rendering):
    """Starts tasks for a request, and draws their bars."""

    #: The posted id, once a task of this request uses it.
    _used_id: str | None = None

    def start(self, label: Any, *, length: float | None = None, tags: Any = None, cancellable: bool = True) -> Task:
        """Start a task of this request's user, as :func:`pyramid_progress.start_task` does.

        The owner is ``str(request.authenticated_userid)``. A form that shows a bar while it is sent has the
        ``progress_id`` of that bar in its body: 32 hexadecimal digits. If it is anything else, or the id of any task
        that exists, the task gets a new id.

        If pyramid_retry repeats the request, the task of the attempt that failed is forgotten; the next attempt can use
        the posted id again.

        :param label: the name of the task, for visitors
        :param length: the total amount of work, in the task's own unit; None if it is not known (yet)
        :param tags: any JSON value, usually a list of strings
        :param cancellable: whether it can be asked to stop
        :return: the task
        :raises TypeError: if a value is not a JSON value, naming the argument
        :raises ValueError: for NaN and infinities
        """
        task = self._open('running', label, length=length, tags=tags, cancellable=cancellable)
        forget_if_repeated(self.request, task)
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
        progress_id: str | None = None,
        after_commit: bool = True,
    ) -> str:
        """Run ``func(task, *args)`` on a worker thread of the application, in a task as :meth:`start` starts it.

        If pyramid_tm manages a transaction of the request at this moment, the work starts after its commit, so that it
        finds what the view wrote. If the transaction does not commit, the work never starts, and the task is removed:
        after an exception, ``request.tm.doom()``, a commit veto, a commit that fails, and for every attempt of
        pyramid_retry but the last. Rolling back to a savepoint has no effect on it. Without pyramid_tm, the work starts
        at once.

        The task is pending until its work starts, and ends when the function returns or raises. A returned dict of the
        strings ``url`` and ``text``, or one of them, is its result. The function has no request, which has ended by
        then: :func:`pyramid_progress.new_request` gives it one. When the process ends, tasks get ``progress.drain``
        seconds to finish; those that have not ended then fail: work that must outlive the process belongs on a queue,
        such as Celery's.

        With ``progress.threads = 0``, for tests, the function is run in this thread, before this call returns or when
        the request is finished after its transaction has committed; its exceptions propagate.

        :param func: the function to run
        :param args: its arguments after the task
        :param label: the name of the task, for visitors
        :param length: the total amount of work, in the task's own unit; None if it is not known (yet)
        :param tags: any JSON value, usually a list of strings
        :param cancellable: whether it can be asked to stop
        :param progress_id: its id, as for :func:`pyramid_progress.start_task`; None for the one that :meth:`start`
            chooses
        :param after_commit: False to start the work at once in any case
        :return: the progress id
        :raises TypeError: if a value is not a JSON value, naming the argument
        :raises ValueError: for NaN and infinities, and for an invalid *progress_id* or one in use by another owner
        """
        options = {'length': length, 'tags': tags, 'cancellable': cancellable}
        task = self._open('pending', label, progress_id=progress_id, **options)
        task.run.origin = Origin.of(self.request)
        threads: WorkerThreads = self.request.registry[THREADS_KEY]
        start = partial(threads.submit, task, func, *args)
        transaction = active_transaction(self.request) if after_commit else None
        if transaction is None:
            start()
        else:
            start_after_commit(self.request, transaction, task, start, is_here=not threads.size)
        return task.id

    def _open(self, status: str, label: Any, *, progress_id: str | None = None, **options: Any) -> Task:
        userid = self.request.authenticated_userid
        options['owner'] = None if userid is None else str(userid)
        if progress_id is not None:
            return open_task(status, label, progress_id=progress_id, **options)
        try:
            posted = posted_id(self.request)
        except HTTPBadRequest:  # the body cannot be read
            posted = None
        if posted and not self._used_id and _WIDGET_ID.fullmatch(posted):
            with suppress(IdInUseError):
                task = open_task(status, label, progress_id=posted, mode=Start.NEW, **options)
                self._used_id = posted
                return task
        return open_task(status, label, **options)


def _acknowledge(progress_id: str, request: Any) -> None:
    """Acknowledge the end of a task, if it has finished."""
    acknowledge_end(get_runtime(request.registry).store(), progress_id)
