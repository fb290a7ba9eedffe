"""The base class of Celery tasks with a progress bar."""

from functools import partial
from typing import Any, NoReturn

from celery.app.task import Task as CeleryTask
from celery.exceptions import Ignore
from celery.utils import uuid

from ..model.values import encode
from ..work.errors import is_cancel
from ..work.origin import Origin
from ..work.part_run import PartRun
from ..work.run import TaskRun, set_resting_status
from ..work.task import Task, current_tasks, open_task, start_task
from ..work.transactions import active_transaction, start_after_commit
from .headers import ORIGIN, PROGRESS, SHARE, progress_of, share_of


class Node:
    """The Celery worker that this process belongs to."""

    #: its name, such as ``celery@host``; None if this process belongs to none
    name: str | None = None


node = Node()


class ProgressTask(CeleryTask):  # type: ignore[misc]
    """The base class of Celery tasks with a progress bar: ``@app.task(base=ProgressTask, bind=True)``."""

    @property
    def progress(self) -> Task:
        """The task object, while the function of the task runs.

        :raises RuntimeError: at any other time
        """
        try:
            task: Task = self.request._progress
        except AttributeError:
            raise RuntimeError(f'{self.name} is not running here, and has no progress') from None
        return task

    def apply_for(
        self,
        request: Any,
        args: Any = None,
        kwargs: Any = None,
        *,
        label: Any = None,
        tags: Any = None,
        cancellable: bool = True,
        after_commit: bool = True,
        **options: Any,
    ) -> Any:
        """Send the task for the user of a request: its owner is ``str(request.authenticated_userid)``.

        If pyramid_tm manages a transaction of the request at this moment, the message is sent after its commit, or
        never, as ``request.progress.submit`` starts its work. Until then the task is pending, with heartbeats. An error
        while sending then ends the task as failed. Without pyramid_tm, the message is sent at once.

        :param request: the current request of Pyramid
        :param args: the positional arguments of the task
        :param kwargs: the keyword arguments of the task
        :param label: the name of the task, for visitors; None for its name in Celery
        :param tags: any JSON value, usually a list of strings
        :param cancellable: whether it can be asked to stop
        :param after_commit: False to send the message at once in any case
        :param options: other arguments of :meth:`apply_async`
        :return: the :class:`celery.result.AsyncResult`, whose ``id`` is the progress id
        :raises: what :meth:`apply_async` raises, apart from errors of a message that is sent after the commit
        """
        task_id = options.pop('task_id', None) or uuid()
        headers = (options.pop('headers', None) or {}) | {ORIGIN: Origin.of(request).dump()}
        userid = request.authenticated_userid
        progress = {
            'label': self.name if label is None else label,
            'owner': None if userid is None else str(userid),
            'tags': tags,
            'cancellable': cancellable,
        }
        transaction = active_transaction(request) if after_commit else None
        if transaction is None:
            return self.apply_async(args, kwargs, task_id, progress=progress, headers=headers, **options)
        task = open_task('pending', progress_id=task_id, **progress)
        headers[PROGRESS] = encode('progress', progress)
        send = partial(self._send, task.run, args, kwargs, headers, options)
        # An eager task is run where it is sent.
        start_after_commit(request, transaction, task, send, is_here=self.app.conf.task_always_eager)
        return self.AsyncResult(task_id)

    def _send(self, run: TaskRun, args: Any, kwargs: Any, headers: dict[str, Any], options: dict[str, Any]) -> None:
        """Send the message of a task that is pending in this process, unless it was cancelled there."""
        if run.is_cancelled:
            return
        if self.app.conf.task_always_eager:
            run.release()  # the task has ended when apply_async() returns
        super().apply_async(args, kwargs, run.id, headers=headers, **options)
        run.release()

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        *,
        progress: dict[str, Any] | None = None,
        headers: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Send the task, as :meth:`celery.app.task.Task.apply_async` does. From this call on, it is pending.

        :param progress: arguments of :func:`pyramid_progress.start_task`: ``label`` (by default the name of the task),
            ``owner`` (by default the owner of the task that sends this one), ``tags``, ``cancellable``. In a workflow:
            ``export.s('FR').set(progress={…})``
        :raises TypeError: for another argument, or if a value is not a JSON value
        :raises ValueError: for a ``task_id`` that is no valid progress id or is in use by another owner
        """
        task_id = task_id or uuid()
        sender = self.app.current_worker_task
        run: TaskRun | None = getattr(sender.request, '_run', None) if sender else None
        if isinstance(run, PartRun) and sender.request.id == task_id:
            # Another run of the same part, or a task that replaces it.
            headers = (headers or {}) | {SHARE: sender.request.headers[SHARE]}
            run.release('retry')
            try:
                return super().apply_async(args, kwargs, task_id, headers=headers, **options)
            except Exception:
                PartRun(run.part).start().end('failed', code='unexpected')
                raise
        if headers and SHARE in headers:
            return super().apply_async(args, kwargs, task_id, headers=headers, **options)
        progress = {'label': self.name, 'owner': run and run.owner} | progress_of(headers) | (progress or {})
        sent = TaskRun(progress_id=task_id, **progress)
        if run and run.id == task_id:
            run.release('retry')
        elif options.get('retries'):
            set_resting_status(task_id, 'pending', code='retry')
        else:
            sent.enqueue()
        headers = (headers or {}) | {PROGRESS: encode('progress', progress)}
        try:
            return super().apply_async(args, kwargs, task_id, headers=headers, **options)
        except Exception:
            set_resting_status(task_id, 'failed', code='unexpected')
            raise

    def retry(self, *args: Any, **options: Any) -> Any:
        """Retry the task, as :meth:`celery.app.task.Task.retry` does, unless it was asked to stop.

        :raises pyramid_progress.TaskCancelled: if it was; an ``except Exception`` may have caught the first one
        """
        self.progress.advance(0)
        return super().retry(*args, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if request.called_directly:
            with start_task(self.name) as task:
                self.push_request(args=args, kwargs=kwargs, _progress=task)
                try:
                    return self.run(*args, **kwargs)
                finally:
                    self.pop_request()
        if hasattr(request, '_run'):
            return self.run(*args, **kwargs)  # the function calls itself
        run = self._begin()
        task = Task(run)
        request.update(_run=run, _progress=task)
        outer = current_tasks.set((*current_tasks.get(), task))
        try:
            return self.run(*args, **kwargs)
        except Exception as error:
            if is_cancel(error):
                self._revoke()
            raise
        finally:
            current_tasks.reset(outer)

    def _begin(self) -> TaskRun:
        """Begin the run of the task, or of its part, and return it. One that was asked to stop is revoked."""
        request = self.request
        share = share_of(request)
        run: TaskRun
        if share is None:
            run = TaskRun(progress_id=request.id, **{'label': self.name} | progress_of(request.headers))
        else:
            run = PartRun(share.part)
        origin = (request.headers or {}).get(ORIGIN)
        run.origin = Origin.load(origin) if origin else None
        if not isinstance(run, PartRun):
            if not run.resume(node.name):
                self._revoke()
            return run
        run.is_in_block = True
        run.start()
        if run.is_cancelled:
            request.update(_run=run)  # its end is reported
            self._revoke()
        run.mark_running()
        return run

    def _revoke(self) -> NoReturn:
        """Leave the task as Celery itself leaves one that is revoked."""
        request = self.request
        self.backend.mark_as_revoked(request.id, 'cancelled', request=request, store_result=not request.ignore_result)
        raise Ignore('cancelled')
