"""Many tasks, and tasks of many parts: what each of them costs must not depend on how many there are."""

from functools import cache, partial

from pyramid_progress import get_progress_status, init_progress_status
from pyramid_progress.model.record import RUN, Record
from pyramid_progress.queries import list_tasks
from pyramid_progress.runtime import current_store

from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, Contender, compare
from .programs import OPERATIONS, TASK, Ours

TASKS = 100_000

#: The numbers of tasks of other owners that the store has while a list is measured.
OTHERS = (1_000, 10_000, TASKS)

#: Untimed calls before each batch. They open again what the turn of the other contender closed.
_WARM_UP = 50


@cache
def _program(environment: Environment, kind: str, tasks: int) -> Ours:
    """Return a store with so many tasks."""
    return Ours(environment.settings(kind, f'{kind.removeprefix("ext:")}-{tasks}-tasks'), tasks)


def _operation(kind: str, operation: str, environment: Environment) -> Comparison:
    many, one = _program(environment, kind, TASKS), _program(environment, kind, 1)
    return compare(_in_turn(many, operation), _in_turn(one, operation))


def _in_turn(ours: Ours, operation: str) -> Contender:
    contender = ours.contender(operation)

    def before() -> None:
        ours.use()
        contender.run(_WARM_UP)
        contender.after()

    return contender._replace(before=before)


def _list(kind: str, others: int, environment: Environment) -> Comparison:
    """Compare a list of a user's five tasks beside so many tasks of another user, and beside one."""

    def contender(ours: Ours) -> Contender:
        def run(count: int) -> None:
            for _ in range(count):
                list_tasks(owner='reader')

        def before() -> None:
            ours.use()
            run(_WARM_UP)

        ours.use()
        for number in range(5):
            init_progress_status(f'read-{number}', 'reader', 'Importing customers', ['import'], 1_000_000, 0)
        return Contender(run, before)

    return compare(*(contender(_program(environment, kind, tasks)) for tasks in (others, 1)))


class _Parts:
    """A plain task, and one with parts of which 20 are active, in one store."""

    _RUN = '"1700000000000-00000000"'
    _HEARTBEAT = '1700000000.123456'

    def __init__(self, kind: str, parts: int, environment: Environment) -> None:
        self._ours = Ours(environment.settings(kind, f'{kind.removeprefix("ext:")}-{parts}-parts'))
        self._storage, self._expire, _ = current_store()
        self._parts = parts
        record = self._storage.get_many([TASK])[TASK]
        record |= {RUN: self._RUN, '_heartbeat': self._HEARTBEAT, '_parts': str(parts), '_ended': '0'}
        for progress_id in ('plain', 'parts'):
            self._storage.start(progress_id, record, self._expire)
        for number in range(parts):
            self._storage.start_part(
                'parts',
                number,
                task_run=self._RUN,
                part_run=self._RUN,
                heartbeat=self._HEARTBEAT,
                expire=self._expire,
            )
            if number < parts - 20:
                self._change(number, {'status': '"finished"'})

    def _change(self, number: int, changes: Record) -> None:
        self._storage.update_part('parts', number, changes, task_run=self._RUN, part_run=self._RUN, expire=self._expire)

    def update(self) -> Comparison:
        def update_part(count: int) -> None:
            for number in range(count):
                self._change(self._parts - 1 - number % 20, {'current': str(number), 'message': '"Importing row"'})

        def update_plain(count: int) -> None:
            for number in range(count):
                changes = {'current': str(number), 'message': '"Importing row"'}
                self._storage.update_active({'plain': changes}, self._expire, {'plain': self._RUN})

        return compare(Contender(update_part), Contender(update_plain))

    def get(self) -> Comparison:
        def get(progress_id: str, count: int) -> None:
            for _ in range(count):
                get_progress_status(progress_id)

        self._ours.use()
        return compare(Contender(partial(get, 'parts')), Contender(partial(get, 'plain')))


@cache
def _parts(kind: str, parts: int, environment: Environment) -> _Parts:
    return _Parts(kind, parts, environment)


def _update_part(kind: str, parts: int, environment: Environment) -> Comparison:
    return _parts(kind, parts, environment).update()


def _get_parts(kind: str, environment: Environment) -> Comparison:
    return _parts(kind, 1_000, environment).get()


_KINDS = (('sqlite', 'sqlite'), ('ext:redis', 'Redis'))

FIGURES = [
    Figure(
        f'{operation} on {name}, {TASKS:,} tasks',
        'the same with 1 task',
        at_most(1.2),
        partial(_operation, kind, operation),
    )
    for kind, name in _KINDS
    for operation in OPERATIONS
]
FIGURES += [
    Figure(
        f'list of 5 tasks on {name}, {others:,} of others',
        'the same with 1',
        at_most(1.2),
        partial(_list, kind, others),
    )
    for kind, name in _KINDS
    for others in OTHERS
]
FIGURES += [
    Figure(
        f'update of one of {parts:,} parts on {name}',
        'of a plain task',
        at_most(1.35),
        partial(_update_part, kind, parts),
    )
    for kind, name in _KINDS
    for parts in (20, 1_000)
]
FIGURES += [
    Figure(f'get of a task with 1,000 parts on {name}', 'of a plain task', at_most(ratio), partial(_get_parts, kind))
    for (kind, name), ratio in zip(_KINDS, (2, 1.5), strict=True)
]
