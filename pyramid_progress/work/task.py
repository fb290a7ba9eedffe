"""The task object: what the code around slow work uses."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, SupportsFloat, TypeVar
from weakref import finalize

from ..model.record import Start
from ..model.values import encode, to_number
from .errors import TaskCancelled
from .part_run import PartRun
from .parts import PartValue, make_parts
from .position import Span, add
from .run import TaskRun

T = TypeVar('T')

#: The tasks whose blocks this thread, or asynchronous task, is in; the innermost is the last.
current_tasks: ContextVar[tuple['Task', ...]] = ContextVar('current_tasks', default=())


def start_task(
    label: Any,
    *,
    owner: Any = None,
    length: SupportsFloat | None = None,
    tags: Any = None,
    progress_id: str | None = None,
    cancellable: bool = True,
) -> 'Task':
    """Start a task. It exists from this call on, and ends with its ``with`` block or with :meth:`Task.finish`.

    A store that does not answer does not stop the work: the task appears when the store answers again.

    :param label: the name of the task, for visitors
    :param owner: the user whose task it is, as ``request.authenticated_userid`` returns it; None for no particular user
    :param length: the total amount of work, in the task's own unit: a number as for :attr:`Task.current`; None if it is
        not known (yet)
    :param tags: any JSON value, usually a list of strings
    :param progress_id: its id; by default a new one that cannot be guessed
    :param cancellable: whether it can be asked to stop
    :return: the task
    :raises TypeError: if a value is not a JSON value, or the length is no number, naming the argument
    :raises ValueError: for an invalid id or one in use by another owner, NaN and infinities
    """
    return open_task(
        'running', label, owner=owner, length=length, tags=tags, progress_id=progress_id, cancellable=cancellable
    )


def open_task(status: str, label: Any, *, mode: Start = Start.ANY, **options: Any) -> 'Task':
    """Start a task as :func:`start_task` does.

    :param status: 'running', or 'pending' until :meth:`.TaskRun.begin`
    :param label: the name of the task
    :param mode: which records it may replace
    :param options: other arguments of :func:`start_task`
    :raises IdInUseError: if it may not replace the record of its id
    """
    return Task(TaskRun(label, **options).start(status, mode))


def current_task() -> 'Task | None':
    """Return the task whose ``with`` block this thread, or asynchronous task, is in: the innermost, or None."""
    tasks = current_tasks.get()
    return tasks[-1] if tasks else None


class Task:
    """Work with a progress bar. :func:`start_task` and ``request.progress.start`` return one.

    ::

        with start_task('Importing customers', length=len(rows)) as task:
            for row in task.track(rows):
                task.message = row.name
                load(row)

    Leaving the block finishes the task. An exception marks it as failed and propagates: the bar shows the text of a
    :class:`.ProgressError`, and a general sentence for any other exception. :class:`.TaskCancelled` marks it as
    cancelled. A group of exceptions (:class:`ExceptionGroup`) counts as :class:`.TaskCancelled` if it contains nothing
    else, and as its first :class:`.ProgressError` if it contains nothing but both. Methods may be called from any
    thread.

    :param run: the run of the task that this object controls
    """

    def __init__(self, run: TaskRun) -> None:
        #: The run, for integrations.
        self.run = run
        # A task that is no longer referenced and has not ended cannot end any more.
        # At exit the publisher ends all tasks, after those that get time to finish have had it.
        finalize(self, run.interrupt).atexit = False

    @property
    def id(self) -> str:
        """The progress id."""
        return self.run.id

    def advance(self, n: SupportsFloat = 1) -> None:
        """Count *n* more as completed.

        :param n: any finite number, as for :attr:`current`
        :raises TaskCancelled: if the task was asked to stop
        :raises TypeError, ValueError: if *n* is not a finite number
        """
        run = self.run
        if run.is_cancelled:
            raise TaskCancelled
        if type(n) is not int:
            n = to_number('n', n)
        try:
            run.span.position += n
        except OverflowError:
            run.span.position = add(run.span.position, n)

    def track(self, iterable: Iterable[T]) -> Iterator[T]:
        """Return an iterator over *iterable* that counts each step as it is completed, at almost no cost.

        A task without a length takes that of the iterable, if it has one; several add up. Of loops inside one another,
        the outermost counts. A loop is inside another if its iterator is made while the other loop is being run in the
        same thread and asynchronous task, or in a context that was copied meanwhile (:func:`contextvars.copy_context`).
        Loops of other threads and asynchronous tasks add up. Several threads may draw from one iterator, if they may
        draw from *iterable*.

        :raises TaskCancelled: in the loop, if the task was asked to stop
        """
        run = self.run
        return run.span.track(iterable, run.cancel_flag, self)

    @property
    def current(self) -> float:
        """The completed amount; in a stage, that of the stage.

        It can be set to any finite number: an int of any size, a float, a :class:`decimal.Decimal`, or another
        :class:`numbers.Real`, such as numpy's numbers and fractions. An integral number becomes an int, any other
        number a float. The same numbers are valid for lengths, weights and :meth:`advance`; a bool is not.
        """
        return self.run.span.done

    @current.setter
    def current(self, value: SupportsFloat) -> None:
        value = to_number('current', value)
        self.run.check()
        self.run.span.done = value

    @property
    def length(self) -> float | None:
        """The total amount of work, None if it is not known; in a stage, that of the stage."""
        return self.run.span.length

    @length.setter
    def length(self, value: SupportsFloat | None) -> None:
        if value is not None:
            value = to_number('length', value)
        span = self.run.span
        span.length = value
        span.adds_up = value is None

    @property
    def message(self) -> Any:
        """What the work is doing; in a stage, what the stage is doing."""
        return self.run.span.message

    @message.setter
    def message(self, value: Any) -> None:
        # A copy, if it could change while the publisher reads it.
        self.run.span.message = value if type(value) is str else json.loads(encode('message', value))

    @contextmanager
    def stage(self, label: Any, weight: SupportsFloat = 0) -> Iterator[None]:
        """Give the work in the block a position and a length of its own.

        Stages can be nested, or follow one another, but two threads cannot be in stages of one task at the same time.
        The message begins with the labels of the stages that are being done. A stage that is left without an exception
        counts for its whole weight; one that is left by an exception counts for the share of it that was completed,
        also if the exception is caught and the work goes on.

        :param label: the name of the stage, for visitors
        :param weight: its share of the work, in units of the enclosing ``length``; without that, it has no effect
        :raises TypeError, ValueError: for an invalid label or weight
        """
        label = json.loads(encode('label', label))
        weight = to_number('weight', weight)
        self.run.check()
        run = self.run
        span = Span(None, label, weight)
        run.enter(span)
        is_done = False
        try:
            yield
            is_done = True
        finally:
            run.leave(span, is_done)

    def parts(self, weights: Iterable[SupportsFloat] | int) -> 'list[Part]':
        """Divide the work among workers: threads, processes, or machines.

        ::

            with start_task('Export') as task:
                for part, chunk in zip(task.parts([len(chunk) for chunk in chunks]), chunks):
                    pool.submit(export, part, chunk)

            def export(part, rows):
                with part.start() as task:
                    for row in task.track(rows):
                        write(row)

        The position of the task is then the sum of its parts: what this object counts has no effect on it. If the task
        has a length, the weights are scaled to it; otherwise their sum becomes its length. A part whose own length is
        not known counts for nothing until it ends.

        The task ends with the last of its parts: it has failed if one of them has, with the message of the first; it is
        cancelled if one was; otherwise it has finished. Leaving the block, or :meth:`finish`, leaves a task running
        whose parts have not all ended. An exception that leaves the block ends the task, and its parts are cancelled.
        If the store loses the task, it has failed.

        The workers need a region that they share with this process.

        :param weights: what each part counts for, numbers of at least 0; or how many parts of equal weight there are
        :return: the parts; each worker calls :meth:`.Part.start` of its own
        :raises TypeError, ValueError: for an invalid weight
        :raises ValueError: in a part, in a stage, or if the task has parts already
        """
        if isinstance(self.run, PartRun):
            raise ValueError('a part cannot have parts')
        return make_parts(self.run, weights, Part)

    def finish(self, message: Any = None, result: dict[str, Any] | None = None) -> None:
        """End the task as finished. After that, no method changes it any more.

        Inside the task's own ``with`` block, this takes effect when the block is left without an exception: an
        exception that leaves the block decides the end instead, such as that of a commit which fails after this call.
        Submitted functions, and functions of Celery tasks, are in the block from their start to their return.

        :param message: its last message
        :param result: its result: a dict with ``url``, ``text``, or both, which the bar shows as a link
        :raises TypeError: if a value is not a JSON value, or the result is not a dict, naming the argument
        """
        if result is not None and not isinstance(result, dict):
            raise TypeError(f"result must be a dict with 'url' or 'text', not {result!r}")
        self.run.finish(message, result)

    def cancel(self) -> bool:
        """Ask the task to stop, as a visitor can: :class:`.TaskCancelled` is raised at its next step.

        :return: whether the task was asked; False if it is not cancellable, or has ended
        """
        return self.run.request_cancel()

    def __enter__(self) -> 'Task':
        current_tasks.set((*current_tasks.get(), self))
        self.run.is_in_block = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the task: finished, or as the exception says that leaves the block (see :func:`.errors.end_of`)."""
        # Not with a token: a generator may leave its block in another context, or in another order, than it entered it.
        current_tasks.set(tuple(task for task in current_tasks.get() if task is not self))
        self.run.is_in_block = False
        self.run.end_with(error)


class Part(PartValue):
    """A part of a task, for the worker that does it: a small value, which can be pickled and written as JSON.

    :meth:`Task.parts` returns the parts of a task. Another program gets a part as the JSON of :meth:`to_dict`.
    """

    def start(self) -> Task:
        """Start the part, at 0, and return a task object: everything of :class:`Task` works in it.

        ::

            with part.start() as task:
                for row in task.track(rows):
                    write(row)

        Its length and position are those of the part alone. Leaving the block ends the part, and with the last part,
        the task. An earlier run of the same part is superseded: a worker that takes over a part starts it again. If the
        task was cancelled, :class:`.TaskCancelled` is raised at the first step. If it has ended, nothing is published.
        """
        return Task(PartRun(self).start())
