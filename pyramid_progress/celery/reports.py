"""Handlers of Celery's signals. They record the end of a run, also if its function was not called or did not return."""

import sys
from typing import Any

from celery import states
from celery.app.task import Task as CeleryTask
from celery.exceptions import WorkerLostError

from ..system import process
from ..work.errors import End, end_of
from ..work.part_run import PartRun
from ..work.run import TaskRun, result_of, set_resting_status
from .headers import Share, share_of
from .task import ProgressTask, node


def on_worker_start(sender: Any, **_: Any) -> None:
    """Note the name of the worker."""
    # The worker's main process, before it forks: what it reports of its children must not apply to other workers.
    node.name = str(sender)


def on_postrun(sender: CeleryTask, state: str | None, retval: Any, **_: Any) -> None:
    """Report how the function of a task has ended."""
    run: TaskRun | None = getattr(sender.request, '_run', None)
    if run is None:
        return
    share = share_of(sender.request)
    if state == states.SUCCESS:
        # In a group, only the callback sets the result of the whole task.
        run.end('finished', result=result_of(retval) if share is None or share.is_callback else None)
        return
    if state == states.RETRY or (state == states.REJECTED and retval.requeue and sender.acks_late):
        run.release('retry')
        return
    if state == states.IGNORED:
        run.end('cancelled')
    elif state is None:
        # An exception leaves Celery: SystemExit or the like, and with task_eager_propagates any other.
        run.end_with(sys.exc_info()[1] or SystemExit())
    else:
        end = _failure_of(retval)
        run.end(end.status, end.message, code=end.code, error=retval)
    _end_callback(share)


def _failure_of(error: BaseException) -> End:
    """Return how an exception that Celery counts as a failure ends the task."""
    return End('failed', code='interrupted') if isinstance(error, WorkerLostError) else end_of(error)


def on_failure(sender: CeleryTask, task_id: str, exception: BaseException, **_: Any) -> None:
    """Report a failure that the process of the task cannot report."""
    # Either it was not begun, or this is the worker's main process, and its child cannot report any more.
    if isinstance(sender, ProgressTask) and not hasattr(sender.request, '_run'):
        end = _failure_of(exception)
        share = share_of(sender.request)
        if share is not None:
            _end_part(share, end.status, end.message, code=end.code)
            return
        set_resting_status(task_id, end.status, end.message, code=end.code, node=node.name)


def on_revoked(sender: CeleryTask, request: Any, expired: bool, **_: Any) -> None:
    """Report a task that was revoked, or has expired."""
    if isinstance(sender, ProgressTask):
        share = share_of(request)
        if share is not None:
            _end_part(share, 'failed' if expired else 'cancelled', code='expired' if expired else None)
        elif expired:
            set_resting_status(request.id, 'failed', code='expired', node=node.name)
        else:
            # A child that is terminated for it may have reported first that it was interrupted.
            set_resting_status(request.id, 'cancelled', node=node.name, overrule=True)


def _end_part(share: Share, status: str, message: Any = None, *, code: str | None = None) -> None:
    """End a part that no process does any more."""
    PartRun(share.part).start().end(status, message, code=code)
    _end_callback(share)


def _end_callback(share: Share | None) -> None:
    """End the part of the callback, which Celery does not call if another task of the chord has not succeeded."""
    if share is not None and share.callback is not None:
        PartRun(share.callback).start().end('cancelled')


def on_process_shutdown(**_: Any) -> None:
    """Stop the work in progress: a child of the pool runs no exit handlers."""
    process.stop()
