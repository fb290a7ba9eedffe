"""The regions in memory: what the functions themselves cost."""

from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, compare
from .programs import Ours, Pyams


def _set(environment: Environment) -> Comparison:
    ours = Ours(environment.settings('memory', 'memory'))
    return compare(ours.contender('set'), Pyams('memory').contender('set'))


FIGURES = [Figure('set on memory', 'pyams_utils on memory', at_most(0.5), _set)]
