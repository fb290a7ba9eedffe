"""tqdm's bars, which feed the current task (:func:`pyramid_progress.current_task`) as well as the terminal.

A bar counts as :meth:`.Task.track` does: into the current stage, if there is one; and a task without a length takes
the bar's total, and those of several bars add up. Of bars inside one another, the outermost counts; the description of
the innermost is the message. A disabled bar feeds too: ``disable`` only hides it from the terminal. If the task is
cancelled, the next step raises :class:`.TaskCancelled`.

A bar is inside another, or inside a loop of :meth:`.Task.track`, if it is made while that is open in the same thread
and asynchronous task, or in a context that was copied meanwhile. Two bars of one context are beside one another all the
same, and add up, if both are loops, and the second was made before the first began, as in ``zip(tqdm(a), tqdm(b))``; or
if both are updated by hand, and the second moves again after the first has moved, unless the second is ever reset.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from numbers import Integral
from threading import Lock
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm as tqdm_auto
from tqdm.std import tqdm as tqdm_std

from .work.nesting import Counter, enter
from .work.position import Span
from .work.task import Task, current_task, current_tasks

__all__ = ['feeding', 'tqdm', 'trange']


class _Feed(Counter):
    """The connection of a bar to a task. It references neither, so that each can be garbage-collected."""

    def __init__(self, task: Task, bar: Any) -> None:
        self._run = task.run
        self._stage = self._run.span
        super().__init__(self._stage, bar.iterable is not None)
        self._is_tracking = False
        self._has_ended = False
        self._n: float = 0
        self._initial: float = 0
        self._total: float = 0
        self._message: str | None = None
        self._message_before = self._stage.message
        around = enter(self)
        # A bar inside another counts into a span that belongs to no task.
        self._span = self._stage if self.counts else Span(None)
        self._outer = self._possibly_beside(around)
        self._outer_n = self._outer._n if self._outer else 0
        self.follow(bar)
        self._initial = self._n

    def _possibly_beside(self, around: list[Counter]) -> '_Feed | None':
        """Return the open bar that this bar may be inside or beside: only later steps of both bars decide which.

        Return None if there is no such bar, or if this bar or one around it is a loop, which decides it at once.
        """
        if self.is_loop or any(counter.is_loop for counter in around):
            return None
        return next((counter for counter in around if counter.counts and isinstance(counter, _Feed)), None)

    @property
    def has_begun(self) -> bool:
        # An asynchronous loop calls update().
        return self._is_tracking or self._n != self._initial

    @property
    def is_open(self) -> bool:
        return not self._has_ended

    def track(self, bar: Any, iterable: Iterable[Any]) -> Iterator[Any]:
        """Return an iterator that counts at less cost, and more often, than the bar does."""
        self._move(bar)
        self._is_tracking = True
        return self._span.count(iterable, self._run.cancel_flag)

    def step(self, bar: Any) -> None:
        """Take over the bar's position; raise :class:`.TaskCancelled` if the task was asked to stop."""
        n = bar.n
        if type(n) is int and not self._is_tracking:  # as in _move(), at less cost
            self._span.position += n - self._n
            self._n = n
            if self._outer is not None:
                self._join(bar)
        else:
            self._move(bar)
        self._run.check()

    def follow(self, bar: Any) -> None:
        """Take over the bar's position, total and description."""
        self._move(bar)
        self._follow_total(bar)
        message = str(getattr(bar, 'desc', None) or '').removesuffix(': ')
        if message and message != self._message:
            self._stage.message = self._message = message

    def stay_inside(self) -> None:
        """Decide that the bar is inside another, if it is open: a bar that starts anew at 0 is the inner one."""
        self._outer = None

    def end(self, bar: Any) -> None:
        """Take over the bar's last state."""
        self._move(bar)
        self._has_ended = True
        self._outer = None
        if self._message is not None and self._stage.message == self._message:
            self._stage.message = self._message_before

    def check(self) -> None:
        """Raise :class:`.TaskCancelled` if the task was asked to stop."""
        self._run.check()

    def _move(self, bar: Any) -> None:
        if self._is_tracking:
            return
        n = _number(bar.n)
        if n is not None and n != self._n:
            self._span.position += n - self._n
            self._n = n
            if self._outer is not None:
                self._join(bar)

    def _join(self, bar: Any) -> None:
        """Count beside the outer bar if that moved while this one was open, and this one has moved again."""
        outer = self._outer
        if outer is None or outer._n == self._outer_n:
            return
        self._outer = None
        self.counts = outer.counts
        outer._span.position += self._span.position
        self._span = outer._span
        self._follow_total(bar)

    def _follow_total(self, bar: Any) -> None:
        total = _number(bar.total)
        if self.counts and self._stage.adds_up and total is not None:
            self._stage.add_length(total - self._total)
            self._total = total


def _number(value: Any) -> float | None:
    """Return an int or a float for any number that tqdm takes; None for anything else, NaN and infinities."""
    try:
        number = int(value) if isinstance(value, Integral) else float(value)
        return number if math.isfinite(number) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _can_tell_length(iterable: Any) -> bool:
    """Return whether tqdm can ask an iterable for its length: it handles only two of the exceptions that may raise."""
    with suppress(Exception):
        with suppress(TypeError, AttributeError):
            len(iterable)
        return True
    return False


class _Loop:
    """Replaces the iterable of a bar until tqdm's loop, which counts for itself, takes the first item."""

    def __init__(self, bar: Any, feed: _Feed) -> None:
        self._bar = bar
        self._feed = feed
        self._iterable = bar.iterable

    def __iter__(self) -> Iterator[Any]:
        self._bar.iterable = self._iterable
        return self._feed.track(self._bar, self._iterable)


class _Feeding(tqdm_std):  # type: ignore[misc]  # tqdm has no types
    """A bar that feeds the task that was current when the bar was made, if there was one."""

    iterable: Any
    _feed: _Feed | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # super() in each update would cost nearly as much as tqdm's update itself.
        cls._update = super().update

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        iterable = args[0] if args else kwargs.get('iterable')
        if len(args) < 3 and kwargs.get('total') is None and not _can_tell_length(iterable):
            kwargs['total'] = math.inf  # tqdm takes it for an unknown total, and does not ask the iterable
        super().__init__(*args, **kwargs)
        task = current_task()
        if task is not None:
            if self.disable:  # then tqdm keeps no description
                self.desc = args[1] if len(args) > 1 else kwargs.get('desc')
            self._feed = _Feed(task, self)

    def __iter__(self) -> Iterator[Any]:
        feed = self._feed
        if feed is not None:
            if self.disable:
                return self._walk(feed)
            if not isinstance(self.iterable, _Loop):
                self.iterable = _Loop(self, feed)
        steps: Iterator[Any] = super().__iter__()
        return steps

    def _walk(self, feed: _Feed) -> Iterator[Any]:
        try:
            yield from feed.track(self, self.iterable)
        finally:
            self.close()

    def update(self, n: float = 1) -> bool | None:
        """See tqdm.

        :raises TaskCancelled: if the task was asked to stop
        """
        is_shown: bool | None = self._update(n)
        feed = self._feed
        if feed is not None:
            if self.disable:  # then tqdm does not count
                self.n += n
            feed.step(self)
        return is_shown

    def refresh(self, nolock: bool = False, lock_args: Any = None) -> bool | None:
        """See tqdm.

        :raises TaskCancelled: if the task was asked to stop
        """
        is_shown: bool | None = super().refresh(nolock=nolock, lock_args=lock_args)
        feed = self._feed
        if feed is not None:
            feed.follow(self)
            if not nolock:  # with nolock, this is tqdm's own thread or another bar's loop
                feed.check()
        return is_shown

    def reset(self, total: float | None = None) -> None:
        """See tqdm."""
        if self._feed is not None:
            self._feed.stay_inside()
        super().reset(total)

    def close(self) -> None:
        """See tqdm."""
        try:
            super().close()
        finally:
            feed, self._feed = self._feed, None
            if feed is not None:
                feed.end(self)


class tqdm(_Feeding, tqdm_auto):  # type: ignore[misc]
    """tqdm's bar, with tqdm's arguments, which feeds the current task too.

    ::

        with start_task('Importing customers'):
            for row in tqdm(rows):
                load(row)
    """


def trange(*args: int, **kwargs: Any) -> tqdm:
    """Return ``tqdm(range(*args), **kwargs)``."""
    return tqdm(range(*args), **kwargs)


@contextmanager
def feeding(task: Task | None = None) -> Iterator[None]:
    """Make the bars of libraries feed the current task: all bars that are made in the block, of any class of tqdm's.

    ::

        with start_task('Training') as task, feeding():
            model.fit(rows)

    Bars that are made in other threads feed nothing, even if the block started the thread.

    :param task: the task that is current in the block; by default, the one that already is
    """
    tasks = current_tasks.get()
    task_token = current_tasks.set(tasks if task is None else (*tasks, task))
    token = _is_feeding.set(True)
    try:
        with _patch:
            yield
    finally:
        _is_feeding.reset(token)
        current_tasks.reset(task_token)


_is_feeding: ContextVar[bool] = ContextVar('is_feeding', default=False)


class _Patch:
    """A patch of tqdm's class: in a :func:`feeding` block, it makes bars that feed.

    It is applied while at least one thread is in such a block. It replaces one method of the class itself, so that it
    works whatever name a library imported the class under, and for subclasses.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks = 0

    def __enter__(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1:
                self._original = vars(tqdm_std)['__new__']
                tqdm_std.__new__ = staticmethod(self._new)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                tqdm_std.__new__ = self._original

    def _new(self, kind: type, *args: Any, **kwargs: Any) -> Any:
        bar = self._original(kind, *args, **kwargs)
        if _is_feeding.get() and not isinstance(bar, _Feeding):
            bar.__class__ = _feeding_kind(kind)
        return bar


_patch = _Patch()


@cache
def _feeding_kind(kind: type) -> type:
    return type(kind.__name__, (_Feeding, kind), {'__module__': kind.__module__, '__doc__': kind.__doc__})
