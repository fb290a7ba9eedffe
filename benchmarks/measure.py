"""How things are timed: in turn, in batches, by the median of the rounds."""

import gc
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from time import perf_counter_ns
from typing import NamedTuple

#: How often the contenders take turns.
ROUNDS = 15

#: Microseconds that a batch takes at least, so that the scheduler has little effect.
BATCH = 25_000


def _nothing() -> None:
    pass


class Contender(NamedTuple):
    """One of the things that are compared.

    :param run: does it a number of times
    :param before: is called before each batch, and not timed
    :param after: is called after each batch, and not timed
    """

    run: Callable[[int], object]
    before: Callable[[], object] = _nothing
    after: Callable[[], object] = _nothing


class Comparison(NamedTuple):
    """The results of each round.

    :param unit: of what was measured
    :param ours: what ours took, or did
    :param theirs: the same of theirs
    """

    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Ours by theirs, round by round."""
        return [our / their for our, their in zip(self.ours, self.theirs, strict=True)]


def compare(ours: Contender, theirs: Contender) -> Comparison:
    """Return how many microseconds each takes to do it once."""
    return Comparison('µs', *time_in_turn(ours, theirs))


def time_in_turn(*contenders: Contender) -> list[list[float]]:
    """Return how many microseconds each takes to do it once, round by round."""
    return take_turns(*(partial(_timed, contender, _calibrated(contender)) for contender in contenders))


def take_turns(*turns: Callable[[], float], rounds: int = ROUNDS) -> list[list[float]]:
    """Return what each turn gives, round by round."""
    results: list[list[float]] = [[] for _ in turns]
    order = list(zip(turns, results, strict=True))
    for _ in range(rounds):
        for turn, its_results in order:
            its_results.append(turn())
        order.reverse()  # The order alternates, so that being first in a round favours no contender.
    return results


def _calibrated(contender: Contender) -> int:
    """Warm up, and return the number of calls that fill a batch."""
    count = 1
    while True:
        time = _timed(contender, count) * count
        if time >= BATCH:
            return count
        count = min(count * 8, ceil(count * BATCH / time * 1.1))


def _timed(contender: Contender, count: int) -> float:
    """Return the mean time of one call, in microseconds."""
    contender.before()
    # A collection that falls into one batch and not into the other is noise.
    gc.collect()
    gc.disable()
    try:
        start = perf_counter_ns()
        contender.run(count)
        time = perf_counter_ns() - start
    finally:
        gc.enable()
    contender.after()
    return time / count / 1000
