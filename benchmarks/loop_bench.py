"""What a loop pays for its progress, against what it pays for tqdm's."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import pyramid_progress
from pyramid_progress import Task, TaskCancelled, get_progress_status, start_task
from pyramid_progress.model.record import CANCEL
from pyramid_progress.runtime import current_store

from . import missing
from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, Contender, compare, time_in_turn

#: Seconds in which a reader must see where a loop is, and a loop that it is cancelled.
_MAX_DELAY = 1


def _track(environment: Environment) -> Comparison:
    def bare(count: int) -> None:
        for _ in range(count):
            pass

    def ours(count: int) -> None:
        for _ in task.track(range(count)):
            pass

    def theirs(count: int) -> None:
        for _ in tqdm(range(count), file=nowhere):
            pass

    with _task(environment) as task, _tqdm() as (tqdm, nowhere):
        bare_times, our_times, their_times = time_in_turn(Contender(bare), Contender(ours), Contender(theirs))
    return Comparison('µs', _less(our_times, bare_times), _less(their_times, bare_times))


def _advance(environment: Environment) -> Comparison:
    def ours(count: int) -> None:
        for _ in range(count):
            task.advance()

    def theirs(count: int) -> None:
        bar = tqdm(total=count, file=nowhere)
        for _ in range(count):
            bar.update()
        bar.close()

    with _task(environment) as task, _tqdm() as (tqdm, nowhere):
        return compare(Contender(ours), Contender(theirs))


@contextmanager
def _tqdm() -> Iterator[tuple[Any, Any]]:
    """Give tqdm, and a file for it to write to."""
    tqdm = missing.module('tqdm', 'tqdm').tqdm
    with Path(os.devnull).open('w') as nowhere:
        yield tqdm, nowhere


@contextmanager
def _task(environment: Environment) -> Iterator[Task]:
    """Give a task, and make sure that what the block counted is published, and that it can be cancelled."""
    pyramid_progress.configure(environment.settings('memory', 'memory'))
    try:
        with start_task('Counting') as task:
            yield task
            deadline = time.monotonic() + _MAX_DELAY
            while get_progress_status(task.id)['current'] != task.current or not task.current:
                if time.monotonic() > deadline:
                    raise RuntimeError(f'the loop is at {task.current}, and readers see {get_progress_status(task.id)}')
                time.sleep(0.01)
            current_store().storage.update_active({task.id: {CANCEL: 'true'}}, expire=60)
            for _ in task.track(repeat(None)):
                if time.monotonic() > deadline + _MAX_DELAY:
                    raise RuntimeError('the loop was cancelled, and goes on')
    except TaskCancelled:
        pass


def _less(times: list[float], bare: list[float]) -> list[float]:
    return [time - bare for time, bare in zip(times, bare, strict=True)]


FIGURES = [
    Figure('what task.track() adds to an iteration', 'what tqdm adds', at_most(0.15), _track),
    Figure('task.advance()', 'tqdm.update()', at_most(0.6), _advance),
]
