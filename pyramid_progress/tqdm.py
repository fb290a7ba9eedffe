"""tqdm's bars, feeding the current task (:func:`pyramid_progress.current_task`) as well as the terminal.

A bar counts as :meth:`.Task.track` does: into the stage that runs, if there is one; and a task without a length takes
the bar's total, several adding up. Of bars inside one another the outermost counts; the description of the innermost
is the message. A disabled bar feeds too: that hides it from the terminal, which is usual where there is none. When
somebody cancels the task, the next step raises :class:`.TaskCancelled`.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from numbers import Integral
from threading import Lock
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from tqdm.auto import tqdm as tqdm_auto
from tqdm.std import tqdm as tqdm_std

from .position import Span
from .task import Task, TaskCancelled, current_task, current_tasks

__all__ = ['feeding', 'tqdm', 'trange']


class _Feed:
    """What a bar tells a task. It holds neither, so that either may be dropped."""

    def __init__(self, task: Task, bar: Any) -> None:
        self._state = task._state
        self._stage = self._state.span
        is_outermost = _outermost.setdefault(id(self._stage), self) is self
        # What an inner bar counts is counted into a span that belongs to no task.
        self._span = self._stage if is_outermost else Span(None)
        self._adds_up = is_outermost and self._stage.adds_up
        self._is_tracking = False
        self._n: float = 0
        self._total: float = 0
        self._message: str | None = None
        self._message_before = self._stage.message
        self.follow(bar)

    def track(self, bar: Any, iterable: Iterable[Any]) -> Iterator[Any]:
        """Return an iterator that counts, at less cost and more often than the bar does."""
        self._move(bar)
        self._is_tracking = True
        # iter(), because the length is the bar's affair.
        return self._span.track(iter(iterable), self._state.ticks(), self.check)

    def step(self, bar: Any) -> None:
        """Take over the bar's position; raise :class:`.TaskCancelled` if somebody cancelled the task."""
        n = bar.n
        if type(n) is int and not self._is_tracking:  # as in _move(), at less cost
            self._span.position += n - self._n
            self._n = n
        else:
            self._move(bar)
        if self._state.is_cancelled:
            raise TaskCancelled

    def follow(self, bar: Any) -> None:
        """Take over all that the bar tells."""
        self._move(bar)
        total = _number(bar.total)
        if self._adds_up and total is not None:
            self._stage.length = (self._stage.length or 0) + total - self._total
            self._total = total
        message = str(getattr(bar, 'desc', None) or '').removesuffix(': ')
        if message and message != self._message:
            self._stage.message = self._message = message

    def end(self, bar: Any) -> None:
        """Take over what the bar told last, and make way for the next."""
        self._move(bar)
        if self._span is self._stage:
            _outermost.pop(id(self._stage), None)
        if self._message is not None and self._stage.message == self._message:
            self._stage.message = self._message_before

    def check(self) -> None:
        """Raise :class:`.TaskCancelled` if somebody cancelled the task."""
        if self._state.is_cancelled:
            raise TaskCancelled

    def _move(self, bar: Any) -> None:
        if self._is_tracking:
            return
        n = _number(bar.n)
        if n is not None:
            self._span.position += n - self._n
            self._n = n


#: The outermost bar of each span, by the span's ``id()``: a feed holds its span.
_outermost: WeakValueDictionary[int, _Feed] = WeakValueDictionary()


def _number(value: Any) -> float | None:
    """Return a number as JSON knows it. tqdm takes any, numpy's too; what is none, NaN and infinities are None."""
    try:
        number = int(value) if isinstance(value, Integral) else float(value)
        return number if math.isfinite(number) else None
    except (TypeError, ValueError, OverflowError):
        return None


class _Loop:
    """Stands for the iterable of a bar until tqdm's loop, which counts for itself, takes the first item."""

    def __init__(self, bar: Any, feed: _Feed) -> None:
        self._bar = bar
        self._feed = feed
        self._iterable = bar.iterable

    def __iter__(self) -> Iterator[Any]:
        self._bar.iterable = self._iterable
        return self._feed.track(self._bar, self._iterable)


class _Feeding(tqdm_std):  # type: ignore[misc]  # tqdm has no types
    """A bar that feeds the task which was the current one when it was made; without one, a bar like any other."""

    iterable: Any
    _feed: _Feed | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # super() in each update would cost nearly as much as tqdm's update itself.
        cls._update = super().update

    def __init__(self, *args: Any, **kwargs: Any) -> None:
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

        :raises TaskCancelled: if somebody cancelled the task
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

        :raises TaskCancelled: if somebody cancelled the task
        """
        is_shown: bool | None = super().refresh(nolock=nolock, lock_args=lock_args)
        feed = self._feed
        if feed is not None:
            feed.follow(self)
            if not nolock:  # tqdm's own thread, and other bars' loops, come with nolock
                feed.check()
        return is_shown

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
    """Make the bars of libraries feed the current task: those that this block makes, whatever class of tqdm's they are.

    ::

        with start_task('Training') as task, feeding():
            model.fit(rows)

    Bars that other threads make feed nothing, even those of threads that the block starts.

    :param task: the task that is the current one in the block; by default, the one that is it anyway
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
    """A change of tqdm's class: where somebody is feeding, it makes bars that feed.

    It is there while at least one block of any thread needs it. It is one method of the class itself, so that it does
    not matter under which names a library imported it, or inherits from it.
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
