"""The parts into which the work of a task is divided, and what each of them counts for."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, SupportsFloat, TypeVar

from ..model.values import to_number
from .run import TaskRun

P = TypeVar('P')

#: What workers publish of the parts of a task is a multiple of one power of two, with this number of bits at most: then
#: sums are exact.
_PRECISION = 40


@dataclass(frozen=True)
class PartValue:
    """What a worker needs to know of a part of a task; see :class:`.task.Part`."""

    #: the id of the task
    progress_id: str
    #: the number of the part, from 0
    number: int
    #: how many parts there are
    total: int
    #: what the part counts for, in units of the task's length
    weight: float
    #: the length of the task
    length: float
    #: the number of the task's run
    run: str
    #: the name, the owner, the tags and the start of the task
    label: Any
    owner: Any
    tags: Any
    started: str

    def to_dict(self) -> dict[str, Any]:
        """Return the part as a dict of JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> Any:
        """Return the part of a dict that :meth:`to_dict` returned.

        :raises TypeError: if members are missing, or there are others
        """
        return cls(**members)

    def __json__(self, request: Any = None) -> dict[str, Any]:
        """Return the part as a dict, for the JSON renderer of Pyramid, and for that of Celery."""
        return self.to_dict()


def make_parts(run: TaskRun, weights: Iterable[SupportsFloat] | int, kind: Callable[..., P]) -> list[P]:
    """Divide the work of a task into parts; see :meth:`.Task.parts`.

    :param run: the run of the task
    :param weights: what each part counts for, or how many parts there are
    :param kind: makes a part of the fields of :class:`PartValue`
    """
    if run.is_divided:
        raise ValueError('the task has parts already')
    if run.span.label is not None:
        raise ValueError('a stage cannot have parts')
    given = run.span.length
    if given is not None and given < 0:
        raise ValueError(f'a task of the negative length {given!r} cannot have parts')
    try:
        shares = _scaled(_checked(weights), None if given is None else float(given))
    except OverflowError:
        raise ValueError('the length and the weights are too far apart, or too large, for floats') from None
    length = given if given is not None else math.fsum(shares)
    if isinstance(length, float) and length.is_integer() and abs(length) < 2**53:
        length = int(length)
    if not shares:
        run.span.length = length
        return []
    started = run.divide(len(shares), length)
    return [
        kind(run.id, number, len(shares), share, float(length), run.number, run.label, run.owner, run.tags, started)
        for number, share in enumerate(shares)
    ]


def _checked(weights: Iterable[SupportsFloat] | int) -> list[float]:
    """Return weights as floats.

    :raises TypeError, ValueError: if one is not a finite number of at least 0
    """
    if isinstance(weights, bool):
        raise TypeError(f'parts must be a number of parts, or weights, not {weights!r}')
    if isinstance(weights, int):
        if weights < 0:
            raise ValueError(f'parts must be at least 0, not {weights!r}')
        return [1.0] * weights
    checked = []
    for weight in weights:
        try:
            checked.append(float(to_number('weight', weight)))
        except OverflowError:
            raise ValueError(f'weight must be a number that a float can hold, not {weight!r}') from None
        if checked[-1] < 0:
            raise ValueError(f'weight must be at least 0, not {weight!r}')
    return checked


def _scaled(weights: list[float], length: float | None) -> list[float]:
    """Return weights whose sum is the length, if there is one: multiples of one power of two, apart from the last."""
    try:
        total = math.fsum(weights)
    except OverflowError:
        raise ValueError('the sum of the weights is too large for a float') from None
    if not total and length:
        weights, total = [1.0] * len(weights), float(len(weights))
    end = total if length is None else length
    step = step_of(end)
    scale = end / total if total else 0.0
    shares, before, sums = [], 0.0, 0.0
    for number, weight in enumerate(weights, 1):
        sums += weight
        after = end if number == len(weights) else min(round(sums * scale / step) * step, end)
        shares.append(after - before)
        before = after
    return shares


def step_of(length: float) -> float:
    """Return the step of what parts publish: a power of two, at most 1."""
    return 2.0 ** max(min(0, math.frexp(length)[1] - _PRECISION), -1000)
