"""The task object: slow work, and the status that tells of it."""

import json
import logging
import math
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from types import TracebackType
from typing import Any, TypeVar
from weakref import finalize

from . import publisher
from .position import Span, make_ticks, overall
from .progress import new_record
from .regions import store
from .storage import StorageError
from .storage.record import BEAT, BEAT_INTERVAL, CANCELLABLE, Record
from .values import check_id, encode, encode_number
from .words import INTERRUPTED, UNEXPECTED

log = logging.getLogger(__name__)

T = TypeVar('T')

#: The tasks whose blocks this thread, or asynchronous task, is in; the innermost is the last.
current_tasks: ContextVar[tuple['Task', ...]] = ContextVar('current_tasks', default=())


class ProgressError(Exception):
    """An error whose text is for the visitor: the bar of a task that it ends shows it."""


class TaskCancelled(Exception):
    """Somebody asked the task to stop. It is raised at the work's next step, and at every later one."""


def new_progress_id() -> str:
    """Return an id of 128 random bits, which cannot be guessed."""
    return secrets.token_hex(16)


def start_task(
    label: Any,
    *,
    owner: Any = None,
    length: float | None = None,
    tags: Any = None,
    progress_id: str | None = None,
    cancellable: bool = True,
) -> 'Task':
    """Start a task. It exists from this call on, and ends with its ``with`` block or with :meth:`Task.finish`.

    A store that does not answer stops nothing: the task appears when it does.

    :param label: what the task is called: a string
    :param owner: who may see it, as ``request.authenticated_userid`` knows him; None for nobody in particular
    :param length: how much there is to do, in the task's own unit; None where that is not known (yet)
    :param tags: any JSON value, usually a list of strings
    :param progress_id: its id, if it must be a certain one
    :param cancellable: whether somebody may ask it to stop
    :return: the task
    :raises TypeError: for a value that JSON does not know, naming the argument
    :raises ValueError: for an id that cannot be one or is in use by another owner, NaN and infinities
    """
    return open_task(
        'running', label, owner=owner, length=length, tags=tags, progress_id=progress_id, cancellable=cancellable
    )


def open_task(status: str, label: Any, **options: Any) -> 'Task':
    """Do what :func:`start_task` does, with a first *status*: 'running', or 'pending' until :meth:`Task.begin`."""
    return Task(State(label, **options).start(status))


def current_task() -> 'Task | None':
    """Return the task whose ``with`` block this thread, or asynchronous task, is in: the innermost, or None."""
    tasks = current_tasks.get()
    return tasks[-1] if tasks else None


class Task:
    """Work that a progress bar tells of. :func:`start_task` and ``request.progress.start`` make them.

    ::

        with start_task('Importing customers', length=len(rows)) as task:
            for row in task.track(rows):
                task.message = row.name
                load(row)

    Leaving the block finishes the task. An exception makes it failed and goes on up: the bar shows the text of a
    :class:`ProgressError`, and of any other only that there was one. Methods may be called from any thread.
    """

    def __init__(self, state: 'State') -> None:
        self._state = state
        # A task that nobody holds any more, and that has not ended, never will.
        finalize(self, state.end, 'failed', INTERRUPTED, at_once=False)

    @property
    def id(self) -> str:
        """The progress id."""
        return self._state.id

    def advance(self, n: float = 1) -> None:
        """Count *n* more as done.

        :raises TaskCancelled: if somebody asked the task to stop
        """
        state = self._state
        if state.is_cancelled:
            raise TaskCancelled
        state.span.position += n

    def track(self, iterable: Iterable[T]) -> Iterator[T]:
        """Return an iterator over *iterable* that counts each step as it is completed, at next to no cost.

        A task without a length takes that of the iterable, if it has one; several add up.

        :raises TaskCancelled: in the loop, if somebody asked the task to stop
        """
        state = self._state
        return state.span.track(iterable, state.ticks(), self._check)

    @property
    def current(self) -> float:
        """How much is done; of the stage, in a stage."""
        return self._state.span.done

    @current.setter
    def current(self, value: float) -> None:
        encode_number('current', value)
        self._check()
        self._state.span.done = value

    @property
    def length(self) -> float | None:
        """How much there is to do, None where that is not known; of the stage, in a stage."""
        return self._state.span.length

    @length.setter
    def length(self, value: float | None) -> None:
        encode_number('length', value)
        span = self._state.span
        span.length = value
        span.adds_up = value is None

    @property
    def message(self) -> Any:
        """What the work is doing; of the stage, in a stage."""
        return self._state.span.message

    @message.setter
    def message(self, value: Any) -> None:
        # A copy, where it could change while the publisher looks at it.
        self._state.span.message = value if type(value) is str else json.loads(encode('message', value))

    @contextmanager
    def stage(self, label: Any, weight: float = 0) -> Iterator[None]:
        """Make what happens in the block a part of the task, with a position and a length of its own.

        Stages nest, and follow one another: two threads that are in stages of one task at the same time would not. The
        message begins with the labels of those that are being done.

        :param label: what the stage is called
        :param weight: how much it is worth, in units of the ``length`` around it; without one, it has no effect
        :raises TypeError, ValueError: for a label or weight that will not do
        """
        label = json.loads(encode('label', label))
        encode_number('weight', weight)
        self._check()
        state = self._state
        span = Span(None, label, weight)
        state.enter(span)
        is_done = False
        try:
            yield
            is_done = True
        finally:
            state.leave(span, is_done)

    def finish(self, message: Any = None, result: dict[str, Any] | None = None) -> None:
        """End the task as finished. After its end, none of this has any effect.

        :param message: what there is to say of it
        :param result: where the outcome is: a dict with ``url``, ``text``, or both, which the bar shows as a link
        :raises TypeError: for a value that JSON does not know, or a result that is no dict, naming the argument
        """
        if result is not None and not isinstance(result, dict):
            raise TypeError(f"result must be a dict with 'url' or 'text', not {result!r}")
        self._state.end('finished', message, result)

    def begin(self) -> bool:
        """Turn a pending task into one that runs; return False where it has ended before that."""
        return self._state.begin()

    def __enter__(self) -> 'Task':
        current_tasks.set((*current_tasks.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Not by a token: a generator may leave its block in another context than it entered it in, or in another order.
        current_tasks.set(tuple(task for task in current_tasks.get() if task is not self))
        self._state.end_with(error)

    def _check(self) -> None:
        if self._state.is_cancelled:
            raise TaskCancelled


class State:
    """What a task is, apart from the object that its user holds: the publisher may hold this without keeping that."""

    def __init__(
        self,
        label: Any,
        owner: Any = None,
        length: float | None = None,
        tags: Any = None,
        progress_id: str | None = None,
        cancellable: bool = True,
    ) -> None:
        self.id = new_progress_id() if progress_id is None else check_id(progress_id)
        self.span = Span(length)
        self.is_cancelled = False
        self._spans: tuple[Span, ...] = (self.span,)
        self._ticks: list[bool] | None = None
        self._fixed = new_record(owner, label, tags, length, 0)
        if cancellable:
            self._fixed[CANCELLABLE] = 'true'
        self._status = 'pending'
        self._end: Record = {}
        self._known: Record = {}
        self._next_beat = 0.0
        self._lock = RLock()
        self._publisher = publisher.current()

    def start(self, status: str) -> 'State':
        """Put the task into the store, with that status."""
        self._status = status
        try:
            storage, expire, _ = store()
            changes = self.changes(storage.now())
            if not storage.start(self.id, self.record() | changes, expire):
                raise ValueError(f'progress_id {self.id!r} is in use by another owner')
            self.published(changes)
        except StorageError as error:
            log.warning('Task %s starts, but the store of progress does not answer: %s', self.id, error)
        self._publisher.watch(self)
        return self

    def begin(self) -> bool:
        """Turn a pending task into one that runs; return False where it has ended before that."""
        with self._lock:
            if self._end:
                return False
            self._status = 'running'
            return True

    def ticks(self) -> list[bool]:
        """Return the ticks of the task's tracks."""
        with self._lock:
            if self._ticks is None:
                self._ticks = [] if self.is_cancelled else make_ticks()
            return self._ticks

    def enter(self, span: Span) -> None:
        """Make a stage the innermost span."""
        with self._lock:
            self._spans = (*self._spans, span)
            self.span = span

    def leave(self, span: Span, is_done: bool) -> None:
        """Leave a stage; if it is done, it counts in full."""
        with self._lock:
            if span not in self._spans:
                return  # left with the one around it, in another thread
            place = self._spans.index(span)
            outer = self._spans[place - 1]
            self._spans = self._spans[:place]
            self.span = outer
            if is_done and outer.length is not None:
                outer.position += span.weight

    def end_with(self, error: BaseException | None) -> None:
        """End the task as a block ends that *error* leaves, or none does."""
        if error is None:
            self.end('finished')
        elif isinstance(error, TaskCancelled):
            self.end('cancelled')
        elif isinstance(error, ProgressError):
            self.end('failed', str(error))
        elif isinstance(error, Exception):
            log.error('Task %s failed', self.id, exc_info=error)
            self.end('failed', UNEXPECTED)
        else:
            self.interrupt()

    def end(self, status: str, message: Any = None, result: Any = None, *, at_once: bool = True) -> None:
        """End the task, unless it has ended, or this is a forked child, whose parent goes on with it."""
        if self._publisher is not publisher.current():
            return
        end = {'status': encode('status', status), 'message': encode('message', message)}
        if result is not None:
            end['result'] = encode('result', result)
        with self._lock:
            if self._end:
                return
            self._end = end
        self._publisher.end(self, at_once=at_once)

    def changes(self, now: float) -> Record:
        """Return what the store does not know yet, with a heartbeat where one is due."""
        changes = {name: text for name, text in self._moving().items() if self._known.get(name) != text}
        if time.monotonic() >= self._next_beat:
            changes[BEAT] = repr(now)
        return changes

    def published(self, changes: Record) -> None:
        """Take note that the store knows these *changes* now."""
        self._known = self._known | changes
        if BEAT in changes:
            self._next_beat = time.monotonic() + BEAT_INTERVAL

    def record(self) -> Record:
        """Return all that the store should know."""
        beat = {BEAT: self._known[BEAT]} if BEAT in self._known else {}
        return self._fixed | beat | self._moving()

    def _moving(self) -> Record:
        """Return the members that change as the work goes on."""
        spans = self._spans
        words = [span.label for span in spans[1:]]
        if spans[-1].message is not None or not words:
            words.append(spans[-1].message)
        message = words[0] if len(words) == 1 else ': '.join(map(str, words))
        return {
            'status': encode('status', self._status),
            'message': encode('message', message),
            'length': encode_number('length', spans[0].length),
            'current': _encode_position(overall(spans)),
        } | self._end

    def cancel(self) -> None:
        """Make the work stop at its next step."""
        with self._lock:
            if self.is_cancelled or CANCELLABLE not in self._fixed:
                return
            self.is_cancelled = True
            for span in self._spans:
                span.freeze()
            if self._ticks:
                self._ticks.clear()
        if self._status == 'pending':
            self.end('cancelled', at_once=False)

    def interrupt(self) -> None:
        """End the task, because its process ends."""
        self.end('failed', INTERRUPTED, at_once=False)


def _encode_position(value: Any) -> str:
    """Return the JSON text of what a work has counted, in whatever numbers (numpy's, fractions, …) it counts."""
    try:
        number = value if isinstance(value, (int, float)) else float(value)
        return encode_number('current', number) if math.isfinite(number) else 'null'
    except (TypeError, ValueError, OverflowError):
        return 'null'
