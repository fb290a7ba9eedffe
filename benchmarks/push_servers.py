"""What event streams need of a server, beside polls."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, cycle, islice
from multiprocessing.connection import Connection
from statistics import quantiles
from typing import Any, NamedTuple

from pyramid.i18n import make_localizer

from pyramid_progress.model.status import decode
from pyramid_progress.runtime import current_store
from pyramid_progress.web.streams.decisions import Decisions, Grant, identity_of
from pyramid_progress.web.streams.hub import Hub
from pyramid_progress.web.streams.stream import Stream

from . import missing
from .changes import RATE, changing_tasks
from .children import child
from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, take_turns
from .programs import TASK, Ours
from .sites import Site, events_site, web_site
from .visitors import POLL_INTERVAL, hold_streams, open_pages, poll, watch

STREAMS = 1_000

#: kB
MEMORY = 64

#: Server threads of an application, without those that hold streams.
THREADS = 4

#: Pages with a bar, and how many of them can have a stream.
VISITORS = 50
PLACES = 2

#: Seconds during which streams are opened. Each checks access again after 24 to 30 s: so the checks are spread evenly.
_OPENING = 27.0

#: Seconds of a turn, and how many there are.
_TURN = 4.0
_TURNS = 5

#: How much of the events and answers must arrive in a turn, and how often it is repeated if they do not.
_MIN_SHARE = 0.7
_ATTEMPTS = 3

#: The numbers of streams whose memory is compared, the seconds in which they are opened, and the pause afterwards.
_MIN_STREAMS, _MAX_STREAMS = 100, 2_000
_FILLING = 6.0
_REST = 1.0

#: Pages in a second: each takes a thread 25 ms, so that three of ten threads are busy on average.
_PAGES = 0.3 * THREADS / 0.025

#: Seconds of a turn in which pages are opened.
_PAGES_TURN = 5.0

#: The tasks that few streams and many watch, and how often a hub looks for changes in a turn.
_WATCHED = 10
_LOOKS = 10


#: All visitors have one address.
_LIMIT = {'progress.max_streams_per_client': str(_MAX_STREAMS)}


def _settings(environment: Environment) -> dict[str, str]:
    return environment.settings('sqlite', 'push') | _LIMIT


class _Load(NamedTuple):
    """Visitors, and the server that they visit.

    :param rate: how many events or answers they should get in a second
    """

    site: Site
    visitors: Connection
    rate: float

    def counted(self) -> tuple[float, float, int]:
        """Return the time, the processor time of the server, and how often it answered since the last call."""
        self.visitors.send(None)
        answers: int = self.visitors.recv()
        return time.perf_counter(), self.site.usage().processor, answers


def _processor(environment: Environment) -> Comparison:
    """Return how many ms of processor time streams need in a second, and polls at the same time."""
    settings = _settings(environment)
    with ExitStack() as stack:
        ids = stack.enter_context(changing_tasks(settings, STREAMS))
        events = stack.enter_context(events_site(settings, environment.directory('push')))
        web = stack.enter_context(web_site(settings, THREADS))
        streams = stack.enter_context(child(hold_streams, events.port, ids, _OPENING))
        streams.recv()
        polls = stack.enter_context(child(poll, web.port, ids))
        polls.recv()
        time.sleep(POLL_INTERVAL)  # until each page has asked once
        loads = _Load(events, streams, RATE * STREAMS), _Load(web, polls, STREAMS / POLL_INTERVAL)
        results = [_turn(loads) for _ in range(_TURNS)]
    ours, theirs = zip(*results, strict=True)
    return Comparison('ms/s', ours, theirs)


def _turn(loads: Sequence[_Load]) -> list[float]:
    """Return how many ms of processor time each server needs in a second.

    :raises missing.Missing: if other programs leave too little for so many events and answers
    """
    for _ in range(_ATTEMPTS):
        before = [load.counted() for load in loads]
        time.sleep(_TURN)
        after = [load.counted() for load in loads]
        turns = [
            (end - start, used - used_before, answers)
            for (start, used_before, _), (end, used, answers) in zip(before, after, strict=True)
        ]
        if all(answers > _MIN_SHARE * load.rate * time for load, (time, _, answers) in zip(loads, turns, strict=True)):
            return [used / time * 1000 for time, used, _ in turns]
    raise missing.Missing('the machine is too busy')


def _memory(environment: Environment) -> Comparison:
    """Return how many kB a stream needs."""
    settings = _settings(environment)
    with ExitStack() as stack:
        ids = stack.enter_context(changing_tasks(settings, STREAMS))
        events = stack.enter_context(events_site(settings, environment.directory('push')))
        if not events.usage().memory:
            raise missing.Missing('the memory of a process cannot be read on this system')
        stack.enter_context(child(hold_streams, events.port, ids[:_MIN_STREAMS], _REST)).recv()
        time.sleep(_REST)
        before = events.usage().memory
        more = [ids[number % STREAMS] for number in range(_MIN_STREAMS, _MAX_STREAMS)]
        stack.enter_context(child(hold_streams, events.port, more, _FILLING)).recv()
        results = []
        for _ in range(_TURNS):
            time.sleep(_REST)
            results.append((events.usage().memory - before) / len(more) / 1000)
    return Comparison('kB', results, [MEMORY] * len(results))


def _reads(environment: Environment) -> Comparison:
    """Return how many commands a Redis server gets while a hub looks for changes a number of times."""
    redis = missing.module('redis', 'redis')
    settings = environment.settings('ext:redis', 'push')
    ours = Ours(settings, _WATCHED)
    ids = [TASK, *(f'{TASK}-{number}' for number in range(1, _WATCHED))]
    storage = current_store().storage
    texts = storage.get_many_serialized(ids)
    grants = {progress_id: Grant(identity_of(decode(text)), True, True) for progress_id, text in texts.items()}
    decisions = Decisions(make_localizer('en', []), grants, texts, storage.now())

    def turn(client: Any, number: int) -> float:
        hub = Hub(current_store)
        now = time.monotonic()
        streams = [
            Stream(hub, [progress_id], decisions, lambda: None, now) for progress_id in islice(cycle(ids), number)
        ]
        for stream in streams:
            hub.add(stream, decisions)
            stream.step(now)
        commands = 0
        for look in range(_LOOKS):
            for progress_id in ids:
                ours.set(look + 1, progress_id)
            before = client.info('stats')['total_commands_processed']
            woken = hub.tick()
            commands += client.info('stats')['total_commands_processed'] - before - 1  # without INFO
            if set(woken) != set(streams) or not all(isinstance(stream.step(now), bytes) for stream in streams):
                raise RuntimeError('a stream has not got the change of its task')
        return commands

    with redis.Redis.from_url(settings['cache.url']) as client:
        return Comparison(
            'commands', *take_turns(partial(turn, client, STREAMS), partial(turn, client, _WATCHED), rounds=_TURNS)
        )


def _latency(environment: Environment) -> Comparison:
    """Return the 95th percentile of how many ms a page takes among visitors with and without streams."""
    settings = _settings(environment)
    with ExitStack() as stack:
        ids = stack.enter_context(changing_tasks(settings, VISITORS))

        def site(places: int) -> Callable[[int], float]:
            its = settings | {'progress.streams': str(places)}
            web = stack.enter_context(web_site(its, THREADS + places))
            visitors = stack.enter_context(child(watch if places else poll, web.port, ids))
            visitors.recv()
            time.sleep(_REST)
            if places:
                visitors.send(None)
                if (streams := visitors.recv()) != places:
                    raise RuntimeError(f'{streams} of the visitors have a stream, and not {places}')
            pages = stack.enter_context(child(open_pages, web.port, _PAGES))

            def turn(seed: int) -> float:
                pages.send((seed, _PAGES_TURN))
                return quantiles(pages.recv(), n=20)[-1] * 1000

            return turn

        turns = site(PLACES), site(0)
        for turn in turns:
            turn(0)  # to warm up
        ours, theirs = (count(1) for _ in turns)
        results = take_turns(lambda: turns[0](next(ours)), lambda: turns[1](next(theirs)), rounds=_TURNS)
    return Comparison('ms', *results)


FIGURES = [
    Figure(
        f'push: {STREAMS:,} streams on {STREAMS:,} tasks, processor',
        f'{STREAMS:,} pages polling every {POLL_INTERVAL} s',
        at_most(0.35),
        _processor,
    ),
    Figure('memory of a stream', f'{MEMORY} kB', at_most(1), _memory),
    Figure(f'reads for {STREAMS:,} streams on {_WATCHED} tasks', f'for {_WATCHED} streams', at_most(1), _reads),
    Figure(
        f'push: 95 % of pages, {PLACES} streams and {VISITORS - PLACES} polls',
        f'{VISITORS} polls',
        at_most(1.2),
        _latency,
    ),
]
