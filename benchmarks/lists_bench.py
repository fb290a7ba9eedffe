"""Polls in a server whose other visitors look at their lists of tasks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from threading import Event, Thread
from time import perf_counter
from typing import Any

from pyramid.config import Configurator
from pyramid.request import Request

from pyramid_progress import init_progress_status

from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, take_turns
from .programs import TASK, Ours

TASKS = 20_000
VISITORS = 8

#: Seconds between two lists of a visitor.
_INTERVAL = 2.0

#: How many polls a turn has, and the seconds between them.
_POLLS = 100
_PAUSE = 0.01


class _Visitor:
    """A security policy under which the header ``X-User`` names the user."""

    def authenticated_userid(self, request: Any) -> str | None:
        user: str | None = request.headers.get('X-User')
        return user

    def permits(self, request: Any, context: Any, permission: str) -> bool:
        return False


def _polls(environment: Environment) -> Comparison:
    settings = environment.settings('sqlite', 'lists')
    ours = Ours(settings, TASKS)
    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
        config.set_security_policy(_Visitor())
    application = config.make_wsgi_app()
    visitors = [f'visitor-{number}' for number in range(VISITORS)]
    for visitor in visitors:
        for number in range(5):
            init_progress_status(f'{visitor}-{number}', visitor, 'Importing customers', ['import'], 1_000_000, 0)

    def ask(path: str, user: str) -> Any:
        response = Request.blank(path, headers={'X-User': user, 'Accept': 'application/json'}).get_response(application)
        if response.status_code != 200:
            raise RuntimeError(f'{path}: {response.status}')
        return response.json

    def turn() -> float:
        """Return how many microseconds the median of some polls takes."""
        times = []
        for _ in range(_POLLS):
            start = perf_counter()
            ask(f'/progress_status?progress_id={TASK}', 'editor')
            times.append((perf_counter() - start) * 1e6)
            Event().wait(_PAUSE)
        return median(times)

    def turn_among_lists() -> float:
        with _repeating([partial(_list, ask, visitor) for visitor in visitors]):
            return turn()

    ours.set(1)
    turn()
    return Comparison('µs', *take_turns(turn_among_lists, turn))


def _list(ask: Callable[[str, str], Any], user: str) -> None:
    tasks = ask('/progress_tasks', user)['tasks']
    if len(tasks) != 5:
        raise RuntimeError(f'{user} has 5 tasks, but the list has {len(tasks)}')


@contextmanager
def _repeating(jobs: list[Callable[[], None]]) -> Iterator[None]:
    """Do each job in a thread of its own, every two seconds, one after the other, until the end of the block."""
    is_over = Event()
    errors = []

    def repeat(number: int, job: Callable[[], None]) -> None:
        is_over.wait(number * _INTERVAL / len(jobs))
        while not is_over.is_set():
            try:
                job()
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            is_over.wait(_INTERVAL)

    threads = [Thread(target=repeat, args=item, daemon=True) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


FIGURES = [Figure(f'a poll while {VISITORS} visitors list among {TASKS:,} tasks', 'without them', at_most(1.5), _polls)]
