"""The position of a task: spans, and loops that count at almost no cost."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain, compress, islice, repeat
from operator import length_hint
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from ..system import process
from .errors import TaskCancelled
from .nesting import Counter, enter

T = TypeVar('T')

#: The maximum number of steps that a loop counts. A loop goes on after them.
MAX_STEPS = sys.maxsize

#: Held while a position is read or a loop is added. It is one for all spans, so that a forked child can replace it.
_lock = Lock()


class _LockReset(process.Participant):
    def after_fork_in_child(self) -> None:
        global _lock
        _lock = Lock()


_lock_reset = _LockReset()
process.register(_lock_reset)


class CancelFlag:
    """What the loops of a task test for its truth at each step. After :meth:`set`, the test raises TaskCancelled.

    The test of an object is as fast as that of True only if its class does not define ``__bool__``. Hence :meth:`set`
    changes the class.
    """

    __slots__ = ()

    is_set = False

    def set(self) -> None:
        """Make each loop of the task raise :class:`.TaskCancelled` at its next step, and at every later one."""
        self.__class__ = _SetCancelFlag


class _SetCancelFlag(CancelFlag):
    __slots__ = ()

    is_set = True

    def __bool__(self) -> bool:
        raise TaskCancelled


class Span:
    """A task or a stage: its length, and how much of it is completed.

    :param length: the total amount of work; None if it is not known
    :param label: the name of a stage
    :param weight: what a stage counts for, in units of the enclosing span's length
    """

    __slots__ = ('_ended', '_loops', 'adds_up', 'label', 'length', 'message', 'position', 'weight')

    def __init__(self, length: float | None, label: Any = None, weight: float = 0) -> None:
        self.label = label
        self.weight = weight
        self.length = length
        self.message: Any = None
        #: What was counted by hand.
        self.position: float = 0
        self._loops: list[Loop] = []
        # The steps of the loops that have ended.
        self._ended = 0
        #: Whether the lengths of loops and bars add up to the span's length, because it has none of its own.
        self.adds_up = length is None

    @property
    def done(self) -> float:
        """The completed amount: what was counted by hand, and the steps of loops."""
        with _lock:
            return add(self.position, self._count_loops())

    @done.setter
    def done(self, value: float) -> None:
        with _lock:
            self.position = add(value, -self._count_loops())

    def _count_loops(self) -> int:
        """Return the completed steps of all loops. The lock must be held."""
        counts = [(loop, loop.count) for loop in self._loops]
        self._loops = [loop for loop, count in counts if not isinstance(count, int)]
        self._ended += sum([count for _, count in counts if isinstance(count, int)])
        return self._ended + sum([count.completed for _, count in counts if not isinstance(count, int)])

    def add_length(self, length: float) -> None:
        """Add the length of a loop or a bar."""
        with _lock:
            self.length = add(self.length or 0, length)

    def track(self, iterable: Iterable[T], flag: CancelFlag, keep: Any = None) -> Iterator[T]:
        """Return an iterator over *iterable* that counts the steps it completed, unless it is inside a loop or a bar.

        If the span has no length of its own, the lengths of the iterables add up to it.

        :param flag: the flag of the task
        :param keep: an object that lives at least as long as the iterator
        """
        steps = _Steps(iterable, flag, self, keep)
        enter(steps.loop)
        if steps.loop.counts:
            self._add(steps.loop)
            length = _length_of(iterable) if self.adds_up else None
            if length is not None:
                self.add_length(length)
        return steps

    def count(self, iterable: Iterable[T], flag: CancelFlag) -> Iterator[T]:
        """Return an iterator as :meth:`track` does, but count it wherever it is, and do not add its length."""
        steps = _Steps(iterable, flag, self)
        self._add(steps.loop)
        return steps

    def _add(self, loop: 'Loop') -> None:
        with _lock:
            self._count_loops()  # so that the list does not grow with every loop that has ended
            self._loops.append(loop)

    def freeze(self) -> None:
        """Keep the count of each loop as it is now."""
        with _lock:
            for loop in self._loops:
                loop.end()


class _LiveCount(NamedTuple):
    """The iterators of a loop that has not ended. Their length hints say how many items they have left."""

    #: The iterator of the items, and an empty one after it.
    parts: Iterator[Iterable[Any]]
    #: One tick for each step that the loop can count.
    ticks: Iterator[CancelFlag]

    @property
    def has_begun(self) -> bool:
        """Whether the loop has asked for its first item."""
        return length_hint(self.parts) < 2

    @property
    def is_exhausted(self) -> bool:
        """Whether there are no more items."""
        return not length_hint(self.parts)

    @property
    def completed(self) -> int:
        """The number of completed steps. The last one that was taken is completed if there are no more items.

        It is not if the iterable raised an exception: a loop that was left for another reason looks the same.
        """
        taken = MAX_STEPS - length_hint(self.ticks)
        return taken if self.is_exhausted else max(taken - 1, 0)


class Loop(Counter):
    """A loop over an iterator of :class:`Span`.

    :param stage: the span
    :param count: its live count
    """

    def __init__(self, stage: Span, count: _LiveCount) -> None:
        super().__init__(stage, True)
        #: The live count, or, once the loop has ended, the number of completed steps.
        self.count: _LiveCount | int = count

    @property
    def has_begun(self) -> bool:
        count = self.count
        return isinstance(count, int) or count.has_begun

    @property
    def is_open(self) -> bool:
        count = self.count
        return not isinstance(count, int) and not count.is_exhausted

    def end(self) -> None:
        """Keep the count as it is now, and drop what belongs to the loop."""
        count = self.count
        if not isinstance(count, int):
            self.count = count.completed


class _Steps(compress):  # type: ignore[type-arg]  # in Python 3.10, it takes no parameters at run time
    """The iterator of a loop: at each step, it takes an item, and then a tick, whose truth it tests.

    It consists of iterators that CPython implements in C, so that each step takes exactly one tick, whichever threads
    draw from it, and whatever they do meanwhile.
    """

    def __new__(cls, iterable: Iterable[Any], flag: CancelFlag, stage: Span, keep: Any = None) -> '_Steps':
        # chain() calls the __iter__ of a part, which must not be Python code: it could switch to another thread.
        items = islice(iterable, None)
        parts = iter((items, ()))
        ticks = repeat(flag, MAX_STEPS)
        steps = super().__new__(cls, chain.from_iterable(parts), chain(ticks, repeat(flag)))
        # chain() drops a part that is exhausted, even if another thread is still drawing from it.
        steps._kept = items, keep
        steps.loop = Loop(stage, _LiveCount(parts, ticks))
        return steps

    _kept: tuple[Any, ...]
    loop: Loop

    def __del__(self) -> None:
        self.loop.end()


def _length_of(iterable: Iterable[Any]) -> int | None:
    """Return the length of an iterable, None if it has none or cannot determine it."""
    with suppress(Exception):
        return len(iterable)  # type: ignore[arg-type]
    return None


def add(a: float, b: float) -> float:
    """Return the sum of two numbers. A float does not change an int that is too large for a float."""
    try:
        return a + b
    except OverflowError:
        return max(a, b, key=abs)


def overall(spans: Sequence[Span]) -> float:
    """Return how much of the first span is completed, counting the stages inside it.

    :param spans: a span and the stages that are being done, each inside the one before
    """
    done: float = 0
    part: float = 0
    for span in reversed(spans):
        # If the length is not known, the weights of the stages inside have no meaning.
        done = span.done if span.length is None else add(span.done, part)
        part = share(span, done)
    return done


def share(span: Span, done: float) -> float:
    """Return what a stage counts for: its weight, multiplied by the completed fraction of its length, from 0 to 1.

    :param span: the stage; without a length, it counts for nothing
    :param done: its completed amount
    """
    length, weight = span.length, span.weight
    if length is None or length < 0:
        return 0
    if done >= length:
        return weight
    if not done > 0:  # it is not a number if infinite floats were added
        return 0
    # Fractions, because an int may be too large for a float.
    part = weight * (Fraction(done) / Fraction(length))
    try:
        return float(part)
    except OverflowError:
        return int(part)
