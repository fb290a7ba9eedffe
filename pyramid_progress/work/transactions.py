"""The transaction of a request, as pyramid_tm manages it: work that starts after its commit."""

import logging
from collections.abc import Callable
from typing import Any

from .task import Task

try:
    from transaction.interfaces import NoTransaction
except ImportError:  # then no transaction is ever active

    class NoTransaction(Exception):  # type: ignore[no-redef]
        """Takes the place of the class of the package ``transaction``."""


log = logging.getLogger(__name__)


def active_transaction(request: Any) -> Any:
    """Return the transaction of a request that pyramid_tm manages at this moment; None if there is none."""
    # What pyramid_tm.is_tm_active() returns. Elsewhere, request.tm.get() would begin a transaction that never ends.
    if not request.environ.get('tm.active'):
        return None
    try:
        return request.tm.get()
    except NoTransaction:  # the view has ended it, and an explicit manager begins no other
        return None


def start_after_commit(
    request: Any, transaction: Any, task: Task, start: Callable[[], object], *, is_here: bool
) -> None:
    """Start the work of a pending task once a transaction has committed.

    If it does not commit, for whatever reason, the task is discarded. If *start* raises, the task has failed: hooks of
    a transaction swallow exceptions.

    :param request: the request
    :param transaction: its :func:`active_transaction`
    :param task: the pending task
    :param start: starts its work
    :param is_here: whether *start* does the work itself. Then it is called after the request's transaction has ended,
        when the request is finished, and its exceptions propagate
    """
    outcome = _Outcome(task, (lambda: request.add_finished_callback(lambda _: start())) if is_here else start)
    transaction.addAfterCommitHook(outcome.settle)
    transaction.addAfterAbortHook(outcome.settle, (False,))
    request.add_finished_callback(outcome.on_finished_request)


class _Outcome:
    """Starts or discards a task, once. A commit that fails calls both hooks."""

    def __init__(self, task: Task, start: Callable[[], object]) -> None:
        self._task: Task | None = task
        self._start: Callable[[], object] | None = start

    def settle(self, is_committed: bool) -> None:
        """Start the task, or discard it. No exception propagates."""
        task, self._task = self._task, None
        start, self._start = self._start, None
        if task is None or start is None:
            return
        if not is_committed:
            log.info('Task %s is discarded: its transaction was not committed', task.id)
            task.run.discard()
            return
        try:
            start()
        except Exception as error:  # noqa: BLE001  (the end of the task is logged with it)
            task.run.end_with(error)

    def on_finished_request(self, request: Any) -> None:
        """Discard the task if the transaction ended without calling its hooks: those of other code may raise.

        If pyramid_tm is still active at this moment, another request or a test manages the transaction.
        """
        if not request.environ.get('tm.active'):
            self.settle(False)
