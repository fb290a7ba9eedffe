"""Groups and chords of Celery with one progress bar."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from celery import chord, group
from celery.canvas import Signature
from celery.result import GroupResult
from celery.utils import uuid

from ..work.origin import Origin
from ..work.run import TaskRun
from ..work.task import open_task
from ..work.transactions import active_transaction, start_after_commit
from . import headers
from .headers import Share
from .task import ProgressTask


def apply_group(
    request: Any,
    signatures: Iterable[Any],
    *,
    label: Any,
    callback: Any = None,
    tags: Any = None,
    cancellable: bool = True,
    after_commit: bool = True,
) -> Any:
    """Send a group of tasks, or a chord, as one task with one bar, for the user of a request.

    Each task is a part of equal weight, and so is the callback, which is called with the results of all others once
    they have succeeded. A dict that the callback returns is the result of the whole. If a task is retried or delivered
    again, its part starts again. If one does not succeed, the callback is never called, and the whole has failed, or
    was cancelled, when the last of the others has ended. A cancel stops those that run, and those that wait are not
    begun. As with :meth:`.ProgressTask.apply_for`, the messages are sent after the commit, if pyramid_tm manages a
    transaction of the request.

    :param request: the current request of Pyramid
    :param signatures: signatures of tasks whose base class is :class:`.ProgressTask`, at least one
    :param label: the name of the whole, for visitors
    :param callback: the signature of such a task, or None; a chord needs a result backend
    :param tags: any JSON value, usually a list of strings
    :param cancellable: whether the whole can be asked to stop
    :param after_commit: False to send the messages at once in any case
    :return: a :class:`celery.result.GroupResult`, whose ``id`` is the progress id. Its ``results`` are those of the
        tasks in their order; that of the callback is the last
    :raises TypeError: if a signature is not that of such a task, or for a value that is not a JSON value
    :raises ValueError: if there is no signature
    :raises: what Celery raises while sending; the task has then failed
    """
    tasks = [_checked(signature) for signature in signatures]
    if not tasks:
        raise ValueError('a group needs at least one signature')
    if callback is not None:
        tasks.append(_checked(callback))
    app = tasks[0].app
    userid = request.authenticated_userid
    owner = None if userid is None else str(userid)
    task = open_task('pending', label, owner=owner, tags=tags, cancellable=cancellable, progress_id=uuid())
    parts = task.parts(len(tasks))
    origin = Origin.of(request).dump()
    for number, (signature, part) in enumerate(zip(tasks, parts, strict=True)):
        is_callback = callback is not None and number == len(tasks) - 1
        share = Share(part, parts[-1] if callback is not None and not is_callback else None, is_callback)
        given = signature.options.get('headers') or {}
        signature.set(task_id=uuid(), headers=given | {headers.SHARE: share.dump(), headers.ORIGIN: origin})
    body = tasks[-1] if callback is not None else None
    send = partial(_send, task.run, tasks if body is None else tasks[:-1], body, app)
    transaction = active_transaction(request) if after_commit else None
    if transaction is None:
        send()
    else:
        start_after_commit(request, transaction, task, send, is_here=app.conf.task_always_eager)
    return GroupResult(task.id, [app.AsyncResult(signature.options['task_id']) for signature in tasks], app=app)


def _checked(signature: Any) -> Any:
    """Return a copy of a signature, which must be that of a single task with progress."""
    if not isinstance(signature, Signature) or not isinstance(signature.type, ProgressTask):
        raise TypeError(f'a group with one bar consists of tasks with the base class ProgressTask, not {signature!r}')
    return signature.clone()


def _send(run: TaskRun, tasks: list[Any], body: Any, app: Any) -> None:
    """Send the messages of a task that is pending in this process, unless it was cancelled there."""
    if run.is_cancelled:
        return
    whole = group(tasks, app=app)
    try:
        if body is None:
            whole.apply_async(task_id=run.id)
        else:
            chord(whole, body, app=app).apply_async()
    except Exception as error:
        run.end_with(error)
        raise
    run.rest()
