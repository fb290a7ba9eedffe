"""A base class for Celery tasks with a progress bar. It needs the extra ``celery``.

The module of the tasks, which the workers (``celery -A shop.tasks worker``) and the web application import alike::

    import os

    import pyramid_progress
    from celery import Celery
    from plaster import get_settings
    from pyramid_progress.celery import ProgressTask

    settings = get_settings(os.environ['SHOP_INI'], 'app:main')  # the ini file that pserve runs
    pyramid_progress.configure(settings)  # the regions of the web application
    app = Celery('shop', broker=settings['celery.broker'])

    @app.task(base=ProgressTask, bind=True)
    def export(self, country):
        rows = find_customers(country)
        for row in self.progress.track(rows):
            self.progress.message = row.name
            write(row)
        return {'url': f'/exports/{country}.csv', 'text': f'{len(rows)} customers'}

A view starts it for its user, and shows the bar of ``progress_id`` with the macro ``bar``::

    @view_config(route_name='export', request_method='POST', renderer='wait.pt')
    def start_export(request):
        result = export.apply_for(request, ['FR'], label='Customers of France')
        return {'progress_id': result.id}

If only the workers have that module, :func:`pyramid_progress.init_progress_status` with the id, the owner and a
label comes first, and then ``app.send_task('shop.tasks.export', ['FR'], task_id=progress_id)``.

The id of the Celery task is the progress id. ``self.progress`` is a :class:`pyramid_progress.Task`, and the one that
:mod:`pyramid_progress.tqdm` feeds. The status follows the state of the task in Celery:

- sent: ``pending``, without heartbeats: a task that stays in the queue for a long time is not stalled.
- begun: ``running``, from 0. If its worker dies it becomes ``stalled``; if it is delivered again (``acks_late``) it
  becomes ``running`` again.
- returned: ``finished``. A dict of the strings ``url`` and ``text``, or one of them, becomes the ``result`` that the
  bar shows. If the task returns something else, ``self.progress.finish(message, result)`` sets the result.
- retried (``self.retry``, ``autoretry_for``), rejected and requeued, or replaced: ``pending``, with a message.
- failed, by an exception, a time limit or the loss of its worker: ``failed``. The bar shows the text of a
  :class:`pyramid_progress.ProgressError`; any other error is in the worker's log, and the bar shows a general sentence.
  A group of exceptions counts as for :class:`pyramid_progress.Task`.
- revoked: ``cancelled``, as soon as a worker receives that; expired: ``failed``.
- ``celery.exceptions.Ignore``: ``cancelled``.

If a visitor cancels a running task, :class:`pyramid_progress.TaskCancelled` is raised at its next step; a task that
waits in the queue is not begun. In both cases its state in Celery becomes ``REVOKED``, and the message is acknowledged.
A task that was asked to stop is not retried, whatever it catches.

A task that is called like a function is a task of its own, with a new id. A store that is down never breaks a task. If
:func:`pyramid_progress.configure` was not called, no task starts.
"""

import json
import logging
import sys
from functools import partial
from typing import Any, NoReturn

from celery import signals, states
from celery.app.task import Task as CeleryTask
from celery.exceptions import Ignore, WorkerLostError
from celery.utils import uuid

from .model.values import encode
from .system import process
from .work.errors import End, end_of, is_cancel
from .work.origin import Origin
from .work.run import TaskRun, result_of, set_resting_status
from .work.task import Task, current_tasks, open_task, start_task
from .work.transactions import active_transaction, start_after_commit

log = logging.getLogger(__name__)

#: The header of a message that contains the ``progress`` options of :meth:`ProgressTask.apply_async`, as JSON text.
_HEADER = 'pyramid_progress'

#: The header with the :class:`.Origin` of a message that :meth:`ProgressTask.apply_for` sends.
_ORIGIN_HEADER = 'pyramid_progress_origin'


class _Node:
    """The Celery worker that this process belongs to."""

    #: its name, such as ``celery@host``; None if this process belongs to none
    name: str | None = None


_node = _Node()


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
        headers = (options.pop('headers', None) or {}) | {_ORIGIN_HEADER: Origin.of(request).dump()}
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
        headers[_HEADER] = encode('progress', progress)
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
        progress = {'label': self.name, 'owner': run and run.owner} | _progress_of(headers) | (progress or {})
        sent = TaskRun(progress_id=task_id, **progress)
        if run and run.id == task_id:
            run.release('retry')
        elif options.get('retries'):
            set_resting_status(task_id, 'pending', code='retry')
        else:
            sent.enqueue()
        headers = (headers or {}) | {_HEADER: encode('progress', progress)}
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
        run = TaskRun(progress_id=request.id, **{'label': self.name} | _progress_of(request.headers))
        origin = (request.headers or {}).get(_ORIGIN_HEADER)
        run.origin = Origin.load(origin) if origin else None
        if not run.resume(_node.name):
            self._revoke()
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

    def _revoke(self) -> NoReturn:
        """Leave the task as Celery itself leaves one that is revoked."""
        request = self.request
        self.backend.mark_as_revoked(request.id, 'cancelled', request=request, store_result=not request.ignore_result)
        raise Ignore('cancelled')


def _progress_of(headers: dict[str, Any] | None) -> dict[str, Any]:
    """Return the ``progress`` options in the headers of a message."""
    progress: dict[str, Any] = json.loads((headers or {}).get(_HEADER, '{}'))
    return progress


def _on_worker_start(sender: Any, **_: Any) -> None:
    # The worker's main process, before it forks: what it reports of its children must not apply to other workers.
    _node.name = str(sender)


def _on_postrun(sender: CeleryTask, state: str | None, retval: Any, **_: Any) -> None:
    run: TaskRun | None = getattr(sender.request, '_run', None)
    if run is None:
        return
    if state == states.SUCCESS:
        run.end('finished', result=result_of(retval))
    elif state == states.RETRY or (state == states.REJECTED and retval.requeue and sender.acks_late):
        run.release('retry')
    elif state == states.IGNORED:
        run.end('cancelled')
    elif state is None:
        # An exception leaves Celery: SystemExit or the like, and with task_eager_propagates any other.
        run.end_with(sys.exc_info()[1] or SystemExit())
    else:
        end = _failure_of(retval)
        run.end(end.status, end.message, code=end.code, error=retval)


def _failure_of(error: BaseException) -> End:
    """Return how an exception that Celery counts as a failure ends the task."""
    return End('failed', code='interrupted') if isinstance(error, WorkerLostError) else end_of(error)


def _on_failure(sender: CeleryTask, task_id: str, exception: BaseException, **_: Any) -> None:
    # Either it was not begun, or this is the worker's main process, and its child cannot report any more.
    if isinstance(sender, ProgressTask) and not hasattr(sender.request, '_run'):
        end = _failure_of(exception)
        set_resting_status(task_id, end.status, end.message, code=end.code, node=_node.name)


def _on_revoked(sender: CeleryTask, request: Any, expired: bool, **_: Any) -> None:
    if isinstance(sender, ProgressTask):
        if expired:
            set_resting_status(request.id, 'failed', code='expired', node=_node.name)
        else:
            # A child that is terminated for it may have reported first that it was interrupted.
            set_resting_status(request.id, 'cancelled', node=_node.name, overrule=True)


def _on_process_shutdown(**_: Any) -> None:
    # A child of the pool runs no exit handlers.
    process.stop()


signals.celeryd_init.connect(_on_worker_start)
signals.task_postrun.connect(_on_postrun)
signals.task_failure.connect(_on_failure)
signals.task_revoked.connect(_on_revoked)
signals.worker_process_shutdown.connect(_on_process_shutdown)
