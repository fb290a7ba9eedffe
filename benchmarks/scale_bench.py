"""Many running tasks: what each of them costs must not depend on how many there are."""

from functools import cache, partial

from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, Contender, compare
from .programs import OPERATIONS, Ours

TASKS = 100_000

#: After the turn of the other: how often to do it before it is timed, so that what was closed is open again.
_WARM_UP = 50


@cache
def _programs(environment: Environment, kind: str) -> tuple[Ours, Ours]:
    """Return two stores: one with many tasks, and one with one."""
    return (
        Ours(environment.settings(kind, f'{kind.removeprefix("ext:")}-many'), TASKS),
        Ours(environment.settings(kind, f'{kind.removeprefix("ext:")}-one')),
    )


def _operation(kind: str, operation: str, environment: Environment) -> Comparison:
    many, one = _programs(environment, kind)
    return compare(_in_turn(many, operation), _in_turn(one, operation))


def _in_turn(ours: Ours, operation: str) -> Contender:
    contender = ours.contender(operation)

    def before() -> None:
        ours.use()
        contender.run(_WARM_UP)
        contender.after()

    return contender._replace(before=before)


FIGURES = [
    Figure(
        f'{operation} on {name}, {TASKS:,} tasks',
        'the same with 1 task',
        at_most(1.2),
        partial(_operation, kind, operation),
    )
    for kind, name in (('sqlite', 'sqlite'), ('ext:redis', 'Redis'))
    for operation in OPERATIONS
]
