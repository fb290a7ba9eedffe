"""The figures of the table, and their targets."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, NamedTuple

from .environment import Environment
from .measure import Comparison
from .missing import Missing


class Target(NamedTuple):
    """A ratio that is to be reached.

    :param sign: '≤' for what something costs, '≥' for what it does
    :param ratio: ours by theirs
    """

    sign: str
    ratio: float

    def is_met(self, ratio: float) -> bool:
        """Tell whether that ratio reaches it."""
        return ratio <= self.ratio if self.sign == '≤' else ratio >= self.ratio

    def __str__(self) -> str:
        return f'{self.sign} {self.ratio:g}'


def at_most(ratio: float) -> Target:
    """Return the target of a cost."""
    return Target('≤', ratio)


def at_least(ratio: float) -> Target:
    """Return the target of an output."""
    return Target('≥', ratio)


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    :param name: what of ours is measured
    :param against: what it is compared with
    :param target: what is to be reached
    :param measure: measures it; raises :class:`.Missing` if that is impossible
    """

    name: str
    against: str
    target: Target
    measure: Callable[[Environment], Comparison]

    def row(self, environment: Environment) -> dict[str, Any]:
        """Measure it; return its row, as JSON knows it."""
        row = {'figure': self.name, 'against': self.against, 'to_reach': str(self.target)}
        try:
            result = self.measure(environment)
        except Missing as reason:
            return row | {'met': None, 'skipped': str(reason)}
        return row | {
            'ratio': _rounded(median(result.ratios)),
            'quartiles': [_rounded(ratio) for ratio in quantiles(result.ratios, n=4)[::2]],
            'extremes': [_rounded(min(result.ratios)), _rounded(max(result.ratios))],
            'rounds': len(result.ratios),
            'ours': _rounded(median(result.ours)),
            'theirs': _rounded(median(result.theirs)),
            'unit': result.unit,
            'met': self.target.is_met(median(result.ratios)),
        }


def _rounded(number: float) -> float:
    return float(f'{number:.4g}')
