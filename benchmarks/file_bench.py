"""Beaker's own region type ``file``, with as many tasks as a busy application has."""

from functools import cache, partial

from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, compare
from .programs import OPERATIONS, Ours, Pyams

TASKS = 1_000


@cache
def _programs(environment: Environment) -> tuple[Ours, Pyams]:
    return Ours(environment.settings('file', 'file'), TASKS), Pyams('file', TASKS)


def _operation(operation: str, environment: Environment) -> Comparison:
    ours, theirs = _programs(environment)
    return compare(ours.contender(operation), theirs.contender(operation))


FIGURES = [
    Figure(
        f'{operation} on file, {TASKS:,} tasks',
        f'pyams_utils on file, {TASKS:,} tasks',
        at_most(0.5),
        partial(_operation, operation),
    )
    for operation in OPERATIONS
]
