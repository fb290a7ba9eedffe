"""Requests that pyramid_retry repeats: what an attempt started is forgotten if another attempt follows."""

import sys
from functools import partial
from typing import Any

from ..work.task import Task
from ..work.transactions import active_transaction

try:
    from pyramid_retry import is_error_retryable, is_last_attempt
except ImportError:  # then no request is ever repeated

    def is_last_attempt(request: Any) -> bool:
        """Take the place of the function of pyramid_retry."""
        return True


def forget_if_repeated(request: Any, task: Task) -> None:
    """Forget a task of a request if pyramid_retry repeats the request, as if it had never been started.

    An error after which the request may be repeated ends the task only when the request is finished, if it is not
    repeated after all.

    :param request: the request, in its view
    :param task: the task, which has just been started
    """
    if is_last_attempt(request):
        return
    task.run.may_be_undone = partial(_is_retryable, request)
    # The callback references the task, so that it is not dropped before.
    request.add_finished_callback(partial(_settle, task))


def _is_retryable(request: Any, error: BaseException) -> bool:
    """Return whether an error that leaves the view makes pyramid_retry repeat the request."""
    if is_error_retryable(request, error):
        return True
    # pyramid_tm marks the errors that databases regard as temporary, but only when they have left the view.
    transaction = active_transaction(request)
    return transaction is not None and bool(transaction.isRetryableError(error))


def _settle(task: Task, request: Any) -> None:
    # The error that leaves the request; or the one that an exception view has answered, as pyramid_retry looks for it.
    error = sys.exc_info()[1] or getattr(request, 'exception', None)
    task.run.settle(is_undone=error is not None and is_error_retryable(request, error))
