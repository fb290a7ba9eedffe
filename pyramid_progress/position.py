"""Where a work stands: spans, and iterators that count at next to no cost."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import chain, compress
from operator import length_hint
from threading import RLock
from typing import Any, TypeVar

T = TypeVar('T')

#: How many steps a track takes before it comes back to Python code.
_BATCH = 4096

#: Held, shortly, while spans are summed up or tracks end. One for all, so that a forked child can have a new one; and
#: reentrant, because an iterator may be dropped, and so its track end, while this thread is in the middle of it.
_lock = RLock()


def _renew_lock() -> None:
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)


class Span:
    """A task, or a stage of one: how long it is, and how much of it is done.

    :param length: how much there is to do; None where that is not known
    :param label: what the stage is called
    :param weight: how much of the enclosing span's length a stage is worth
    """

    __slots__ = ('_tracks', 'adds_up', 'label', 'length', 'message', 'position', 'tracked', 'weight')

    def __init__(self, length: float | None, label: Any = None, weight: float = 0) -> None:
        self.label = label
        self.weight = weight
        self.length = length
        self.message: Any = None
        #: What was counted by hand.
        self.position: float = 0
        #: What tracks counted that are over.
        self.tracked = 0
        self._tracks: set[Track] = set()
        #: Whether the lengths of what is tracked add up to this span's.
        self.adds_up = length is None

    @property
    def done(self) -> float:
        """How much is done, by hand and by tracks."""
        with _lock:
            return self.position + self.tracked + sum([track.completed for track in tuple(self._tracks)])

    @done.setter
    def done(self, value: float) -> None:
        with _lock:
            self.position += value - self.done

    def track(self, iterable: Iterable[T], ticks: list[bool], check: Callable[[], None]) -> Iterator[T]:
        """Return an iterator over *iterable* that counts the steps it completed.

        Where the span has no length of its own, the lengths of what is tracked add up to it.

        :param ticks: what :func:`make_ticks` gave, for all tracks of a task; once it is empty, the next step of each
            comes to *check*
        :param check: called at each step from then on; what it raises is raised in the loop
        """
        if self.adds_up and isinstance(iterable, Sized):
            self.length = (self.length or 0) + len(iterable)
        track = Track(ticks, check)
        with _lock:
            self._tracks.add(track)
        # compress() takes one tick a step, in C; another thread can see from the ticks left how many it took.
        return compress(chain(iterable, _End(self, track)), chain.from_iterable(track))

    def end(self, track: 'Track') -> None:
        """Keep what a track has counted, once it is over."""
        with _lock:
            if track in self._tracks:
                self._tracks.remove(track)
                self.tracked += track.completed

    def freeze(self) -> None:
        """Keep the position of each track where it is: its ticks are about to be taken away."""
        with _lock:
            for track in tuple(self._tracks):
                track.freeze()


class Track:
    """The batches of ticks that an iterator takes its steps by."""

    def __init__(self, ticks: list[bool], check: Callable[[], None]) -> None:
        self._ticks = ticks
        self._check = check
        # One tuple, so that a reader in another thread never sees half a change: the ticks up to the end of this
        # batch, and the iterator that says how many of them are left.
        self._batch: tuple[int, Iterator[bool]] = (0, iter(()))
        self._frozen: int | None = None
        self.is_exhausted = False

    def __iter__(self) -> Iterator[Iterator[bool]]:
        return self

    def __next__(self) -> Iterator[bool]:
        if not self._ticks:
            # What is raised here ends chain() for good. What its part raises, it raises at every later step as well.
            return _Checks(self._check)
        batch = iter(self._ticks)
        self._batch = (self._batch[0] + _BATCH, batch)
        return batch

    @property
    def completed(self) -> int:
        """How many steps are completed. The one that the loop is in is not.

        Nor is the last one where the iterable raises: that cannot be told from a loop that was left.
        """
        if self._frozen is not None:
            return self._frozen
        end, batch = self._batch
        taken = end - length_hint(batch)
        return taken if self.is_exhausted else max(taken - 1, 0)

    def freeze(self) -> None:
        """Stay where it is."""
        self._frozen = self.completed


class _Checks:
    """An iterator that comes to a check at each step, once the ticks of a task are taken away."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def __iter__(self) -> Iterator[bool]:
        return self

    def __next__(self) -> bool:
        self._check()
        return True


class _End:
    """What comes after the last item, and goes when the iterator is dropped before it."""

    def __init__(self, span: Span, track: Track) -> None:
        self._span = span
        self._track = track

    def __iter__(self) -> Iterator[Any]:
        self._track.is_exhausted = True
        self._span.end(self._track)
        return iter(())

    def __del__(self) -> None:
        self._span.end(self._track)


def make_ticks() -> list[bool]:
    """Return the ticks of a task."""
    return [True] * _BATCH


def overall(spans: Sequence[Span]) -> float:
    """Return how much of the first span is done, given the stages inside it, each in the one before.

    A stage counts, by its weight, for as much as is done of its own length.
    """
    done = part = 0.0
    for span in reversed(spans):
        done = span.done
        if span.length is None:
            part = 0.0  # what is inside has no weight here, and this has none outside
            continue
        if part:
            done += part
        part = span.weight * (min(max(done / span.length, 0.0), 1.0) if span.length else 1.0)
    return done
