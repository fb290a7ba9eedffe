"""Eight processes that update eight tasks: how much they do together in a second."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import pyramid_progress
from pyramid_progress import init_progress_status, set_progress_status

from .children import child
from .environment import Environment
from .figure import Figure, at_least
from .measure import Comparison, take_turns
from .programs import Ours
from .sqlite_bench import Raw

PROCESSES = 8

#: Seconds that a turn takes.
_TURN = 0.5

#: Seconds between the announcement of a turn and its start.
_START_DELAY = 0.05


def _sqlite(environment: Environment) -> Comparison:
    settings = environment.settings('sqlite', 'processes')
    value = Ours(settings).stored()
    file = environment.directory('processes') / 'raw.db'
    with _Workers(_update, settings) as ours, _Workers(_upsert, file, value) as theirs:
        return Comparison('/s', *take_turns(partial(ours.work, PROCESSES), partial(theirs.work, PROCESSES)))


def _redis(environment: Environment) -> Comparison:
    with _Workers(_update, environment.settings('ext:redis', 'processes')) as crew:
        return Comparison('/s', *take_turns(partial(crew.work, PROCESSES), partial(crew.work, 1)))


class _Workers:
    """Processes that do the same at the same time.

    :param make: a function that each process calls with its number and the arguments. It returns the function to
        measure, which gets the number of its earlier calls
    """

    def __init__(self, make: Callable[..., Callable[[int], object]], *arguments: Any) -> None:
        self._make = make
        self._arguments = arguments

    def __enter__(self) -> '_Workers':
        self._until_the_end = ExitStack()
        self._pipes = [
            self._until_the_end.enter_context(child(_work, self._make, (number, *self._arguments)))
            for number in range(PROCESSES)
        ]
        for pipe in self._pipes:
            pipe.recv()
        return self

    def __exit__(self, *error: object) -> None:
        self._until_the_end.close()

    def work(self, processes: int) -> float:
        """Run a turn in some of the processes; return their total calls per second."""
        start = perf_counter() + _START_DELAY
        for pipe in self._pipes[:processes]:
            pipe.send(start)
        counts: list[int] = [pipe.recv() for pipe in self._pipes[:processes]]
        return sum(counts) / _TURN


def _work(make: Callable[..., Callable[[int], object]], arguments: tuple[Any, ...], pipe: Connection) -> None:
    once = make(*arguments)
    once(0)
    pipe.send(None)
    while True:
        # The clock is one for all processes.
        start = pipe.recv()
        sleep(max(0, start - perf_counter()))
        count = 0
        while perf_counter() < start + _TURN:
            once(count)
            count += 1
        pipe.send(count)


def _update(number: int, settings: dict[str, str]) -> Callable[[int], object]:
    pyramid_progress.configure(settings)
    progress_id = f'task-{number}'
    init_progress_status(progress_id, 'editor', 'Importing customers', ['import'], 1_000_000, 0)

    def update(count: int) -> None:
        set_progress_status(progress_id, message='Importing row', length=1_000_000, current=count)

    return update


def _upsert(number: int, file: Path, value: str) -> Callable[[int], object]:
    raw = Raw(file, value)
    return lambda count: raw.put(f'task-{number}', (count,))


FIGURES = [
    Figure(f'{PROCESSES} processes, sqlite, a second', f'{PROCESSES} of raw upserts', at_least(0.7), _sqlite),
    Figure(f'{PROCESSES} processes, Redis, a second', 'one process', at_least(1.5), _redis),
]
