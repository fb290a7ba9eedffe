"""Celery tasks that a progress bar tells of: a base class for them. It needs the extra ``celery``.

The module of the tasks, which the workers (``celery -A shop.tasks worker``) and the web application import alike::

    import os

    import pyramid_progress
    from celery import Celery
    from plaster import get_settings
    from pyramid_progress.celery import ProgressTask

    settings = get_settings(os.environ['SHOP_INI'], 'app:main')  # the ini file that pserve runs
    pyramid_progress.configure(settings)  # statuses are kept where the web application looks for them
    app = Celery('shop', broker=settings['celery.broker'])

    @app.task(base=ProgressTask, bind=True)
    def export(self, country):
        rows = find_customers(country)
        for row in self.progress.track(rows):
            self.progress.message = row.name
            write(row)
        return {'url': f'/exports/{country}.csv', 'text': f'{len(rows)} customers'}

A view starts it for its visitor, and shows the bar of ``progress_id`` with the macro ``bar``::

    @view_config(route_name='export', request_method='POST', renderer='wait.pt')
    def start_export(request):
        result = export.apply_for(request, ['FR'], label='Customers of France')
        return {'progress_id': result.id}

Where only the workers have that module, :func:`pyramid_progress.init_progress_status` with the id, the owner and a
label comes first, and then ``app.send_task('shop.tasks.export', ['FR'], task_id=progress_id)``.

The id of the Celery task is the progress id. ``self.progress`` is a :class:`pyramid_progress.Task`, and the one that
:mod:`pyramid_progress.tqdm` feeds. What becomes of the task in Celery shows in its status:

- sent: ``pending``. There is no heartbeat: a task may stay in a queue for as long as it likes, and is not stalled.
- begun: ``running``, from 0. A worker that dies leaves it ``stalled``; one that gets it again (``acks_late``) turns it
  back into ``running``.
- returned: ``finished``. A dict of the strings ``url`` and ``text``, or one of them, becomes the ``result`` that the
  bar shows. ``self.progress.finish(message, result)`` does so where the task returns something else.
- to be tried again (``self.retry``, ``autoretry_for``), rejected and put back, or replaced: ``pending``, with a
  message.
- failed, by an exception, a time limit or the loss of its worker: ``failed``. The bar shows the text of a
  :class:`pyramid_progress.ProgressError`; of another error the worker's log has it, and the bar a general sentence.
- revoked: ``cancelled``, once a worker hears of it; expired: ``failed``.
- ``celery.exceptions.Ignore``: ``cancelled``.

A visitor who cancels is the other way round. In a task that runs, :class:`pyramid_progress.TaskCancelled` is raised at
the next step; one that waits in the queue is never begun. For Celery, either is as good as revoked: its result is
``REVOKED``, and the message is acknowledged. A task that is asked to stop is not tried again, whatever it catches.

Called like a function, such a task is one of its own, with an id that nobody knows. A store that is down never breaks
a task; no task starts where :func:`pyramid_progress.configure` was not called.
"""

import json
import logging
from typing import Any, NoReturn

from celery import signals, states
from celery.app.task import Task as CeleryTask
from celery.exceptions import Ignore, WorkerLostError
from celery.utils import uuid

from . import publisher
from .regions import store
from .storage import StorageError
from .storage.record import BEAT, CANCEL, has_ended
from .task import ProgressError, State, Task, TaskCancelled, current_tasks, start_task
from .values import encode
from .words import INTERRUPTED, UNEXPECTED

log = logging.getLogger(__name__)

#: What a visitor is told of a task that waits for another run.
AGAIN = 'This task waits for its next run.'
EXPIRED = 'This task was not started in time.'

#: The header of a message that carries what :meth:`ProgressTask.apply_async` was told, as JSON text.
_HEADER = 'pyramid_progress'

#: The heartbeat of a task that no process runs: one that is never missing. JSON has no infinity, but numbers beyond all
#: that a float can hold.
_AT_REST = '1e999'


class ProgressTask(CeleryTask):  # type: ignore[misc]
    """The base class of Celery tasks that a progress bar tells of: ``@app.task(base=ProgressTask, bind=True)``."""

    @property
    def progress(self) -> Task:
        """The task whose bar this is, while the function of the task runs.

        :raises RuntimeError: at any other time
        """
        try:
            task: Task = self.request._progress
        except AttributeError:
            raise RuntimeError(f'{self.name} does not run here, and has no progress') from None
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
        **options: Any,
    ) -> Any:
        """Send the task for the user of a request: its owner is ``str(request.authenticated_userid)``.

        :param request: the current request of Pyramid
        :param args: the positional arguments of the task
        :param kwargs: the keyword arguments of the task
        :param label: what the task is called; None for its name
        :param tags: any JSON value, usually a list of strings
        :param cancellable: whether somebody may ask it to stop
        :param options: other arguments of :meth:`apply_async`
        :return: the :class:`celery.result.AsyncResult`, whose ``id`` is the progress id
        :raises: what :meth:`apply_async` raises
        """
        userid = request.authenticated_userid
        progress = {
            'label': self.name if label is None else label,
            'owner': None if userid is None else str(userid),
            'tags': tags,
            'cancellable': cancellable,
        }
        return self.apply_async(args, kwargs, progress=progress, **options)

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
        """Do what :meth:`celery.app.task.Task.apply_async` does. From here on, the task is pending.

        :param progress: arguments of :func:`pyramid_progress.start_task`: ``label`` (the name of the task, where it is
            missing), ``owner`` (the owner of the task that sends it, if one does), ``tags``, ``cancellable``. In a
            workflow: ``export.s('FR').set(progress={…})``
        :raises TypeError: for another argument, or a value that JSON does not know
        :raises ValueError: for a ``task_id`` that cannot be a progress id or is in use by another owner
        """
        task_id = task_id or uuid()
        sender = self.app.current_worker_task
        run: _Run | None = getattr(sender.request, '_run', None) if sender else None
        told = {'label': self.name, 'owner': run and run.owner} | _told(headers) | (progress or {})
        sent = _Run(task_id, **told)
        if run and run.id == task_id:
            run.hand_over()
        elif options.get('retries'):
            _tell(task_id, 'pending', AGAIN)
        else:
            sent.wait()
        headers = (headers or {}) | {_HEADER: encode('progress', told)}
        try:
            return super().apply_async(args, kwargs, task_id, headers=headers, **options)
        except Exception:
            _tell(task_id, 'failed', UNEXPECTED)
            raise

    def retry(self, *args: Any, **options: Any) -> Any:
        """Do what :meth:`celery.app.task.Task.retry` does, unless somebody asked the task to stop.

        :raises pyramid_progress.TaskCancelled: if somebody did; an ``except Exception`` may have caught the first one
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
        run = _Run(request.id, **{'label': self.name} | _told(request.headers))
        if not run.take_up():
            self._revoke()
        task = Task(run)
        request.update(_run=run, _progress=task)
        outer = current_tasks.set((*current_tasks.get(), task))
        try:
            return self.run(*args, **kwargs)
        except TaskCancelled:
            self._revoke()
        finally:
            current_tasks.reset(outer)

    def _revoke(self) -> NoReturn:
        """Leave the task as Celery itself leaves one that is revoked."""
        request = self.request
        self.backend.mark_as_revoked(request.id, 'cancelled', request=request, store_result=not request.ignore_result)
        raise Ignore('cancelled')


class _Run(State):
    """A task that goes from process to process by way of a queue, in one of them."""

    def __init__(
        self, progress_id: str, label: Any, owner: Any = None, tags: Any = None, cancellable: bool = True
    ) -> None:
        super().__init__(label, owner, None, tags, progress_id, cancellable)

    @property
    def owner(self) -> Any:
        """Who may see the task."""
        return json.loads(self._fixed['owner'])

    def wait(self) -> None:
        """Put the task into the store, for whichever process takes it up."""
        try:
            storage, expire, _ = store()
            if not storage.start(self.id, self.record() | {BEAT: _AT_REST}, expire):
                raise ValueError(f'task_id {self.id!r} is in use by another owner')
        except StorageError as error:
            log.warning('Task %s is sent, but the store of progress does not answer: %s', self.id, error)

    def take_up(self) -> bool:
        """Go on with a task that another process put into the store; return False where it was asked to stop."""
        self._status = 'running'
        try:
            storage, expire, _ = store()
            record = storage.read((self.id,)).get(self.id, {})
            if CANCEL in record or record.get('status') == '"cancelled"':
                _tell(self.id, 'cancelled')
                return False
            # Who put the task into the store decides who owns it, what it is called and when it started.
            self._fixed |= {name: record[name] for name in self._fixed if name in record}
            changes = self.changes(storage.now())
            if not record or has_ended(record):
                storage.start(self.id, self.record() | changes, expire)
            else:
                storage.amend({self.id: changes}, expire)  # and not start it anew: it may be asked to stop just now
            self.published(changes)
        except StorageError as error:
            log.warning('Task %s begins, but the store of progress does not answer: %s', self.id, error)
        self._publisher.watch(self)
        return True

    def hand_over(self) -> None:
        """Leave the task, unless it has ended, to the process that takes it up next."""
        with self._lock:
            if self._end:
                return
            self._end = {'status': '"pending"', 'message': encode('message', AGAIN), BEAT: _AT_REST}
        self._publisher.hand_over(self)


def _told(headers: dict[str, Any] | None) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((headers or {}).get(_HEADER, '{}'))
    return told


def _tell(progress_id: str, status: str, message: str | None = None, *, overrule: bool = False) -> None:
    """Change the status of a task that does not run here; *overrule* what may have been said of its end."""
    changes = {'status': encode('status', status), 'message': encode('message', message), BEAT: _AT_REST}
    try:
        storage, expire, _ = store()
        if overrule:
            storage.update(progress_id, changes, expire)
        else:
            storage.amend({progress_id: changes}, expire)
    except StorageError as error:
        log.error('The store of progress did not take that task %s is %s: %s', progress_id, status, error)


def _on_postrun(sender: CeleryTask, state: str | None, retval: Any, **_: Any) -> None:
    run: _Run | None = getattr(sender.request, '_run', None)
    if run is None:
        return
    if state == states.SUCCESS:
        run.end('finished', result=_result(retval))
    elif state == states.RETRY or (state == states.REJECTED and retval.requeue and sender.acks_late):
        run.hand_over()
    elif state == states.IGNORED:
        run.end('cancelled')
    elif state is None:
        run.interrupt()  # by SystemExit and its kind: the process is about to end
    else:
        run.end('failed', _reason(retval))


def _result(value: Any) -> dict[str, str] | None:
    """Return what a function returned, where that is a result as the bar shows it."""
    if isinstance(value, dict) and value and value.keys() <= {'url', 'text'}:
        return value if all(isinstance(text, str) for text in value.values()) else None
    return None


def _reason(error: BaseException) -> Any:
    if isinstance(error, ProgressError):
        return str(error)
    return INTERRUPTED if isinstance(error, WorkerLostError) else UNEXPECTED


def _on_failure(sender: CeleryTask, task_id: str, exception: BaseException, **_: Any) -> None:
    # Either it was not begun, or the worker's main process says so of a child that cannot.
    if isinstance(sender, ProgressTask) and not hasattr(sender.request, '_run'):
        _tell(task_id, 'failed', _reason(exception))


def _on_revoked(sender: CeleryTask, request: Any, expired: bool, **_: Any) -> None:
    if isinstance(sender, ProgressTask):
        if expired:
            _tell(request.id, 'failed', EXPIRED)
        else:
            # A child that is ended for it may have been quicker, and said that it was interrupted.
            _tell(request.id, 'cancelled', overrule=True)


def _on_process_shutdown(**_: Any) -> None:
    # A child of the pool runs no exit handlers.
    publisher.current().close()


signals.task_postrun.connect(_on_postrun)
signals.task_failure.connect(_on_failure)
signals.task_revoked.connect(_on_revoked)
signals.worker_process_shutdown.connect(_on_process_shutdown)
