"""The widget in a real browser: what it asks of a server, how near to the truth it is, and what it costs the page."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from . import missing
from .children import child
from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison

#: Seconds that a task takes.
MINUTE = 60.0

#: Pages that follow a task of their own each, and pages with all the tasks of a list, at the same time.
_PAGES = 9
_LISTS = 3

#: Bars of a long list, and of a short one.
MANY = 100
FEW = 2

#: Steps that the tasks make in a second, together with those that run beside them.
_STEPS = 200

#: Seconds until a page's script is warm; then for how long its main thread is watched, and how often.
_WARM = 15.0
_WATCH = 8.0
_WATCHES = 5

#: Keeps when each bar showed what, by the clock of the machine.
_RECORD = """
window.shown = [];
addEventListener('progress:update', ({ target, detail }) => {
    shown.push([target.progressId, Date.now() / 1000, target.querySelector('progress').value, detail.status]);
});
"""


class Run(NamedTuple):
    """What came of a page that followed one task."""

    requests: int
    #: seconds
    behind: float
    end: float


class _Server:
    """An application whose tasks really run, as the browser and the bench see it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()

    def start(self, tasks: dict[str, float]) -> None:
        """Start tasks that take so many seconds each."""
        self._pipe.send(tasks)
        self._pipe.recv()

    def times(self) -> dict[str, tuple[float, float]]:
        """Return when each task started and ended, by the clock of the machine, once all have."""
        self._pipe.send(None)
        times: dict[str, tuple[float, float]] = self._pipe.recv()
        return times


def _serve(pipe: Connection) -> None:
    from pyramid.config import Configurator
    from pyramid.response import Response
    from waitress.server import create_server

    from pyramid_progress import start_task

    def show(request: Any) -> Any:
        bars = ''.join(request.progress.bar(name) for name in request.GET.getall('id'))
        return Response(f'<!DOCTYPE html><html lang="en"><head>{request.progress.assets()}</head><body>{bars}</body>')

    with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
        config.include('pyramid_progress')
        config.add_route('page', '/page')
        config.add_view(show, route_name='page')
    logging.getLogger('waitress').setLevel(logging.ERROR)
    server = create_server(config.make_wsgi_app(), host='127.0.0.1', port=0, threads=8)
    threading.Thread(target=server.run, daemon=True).start()
    pipe.send(f'http://127.0.0.1:{server.effective_port}')

    times: dict[str, tuple[float, float]] = {}

    def work(name: str, duration: float, pace: float) -> None:
        steps = int(duration * pace)
        start = time.time()
        with start_task(f'Import of {name}', progress_id=name, length=steps) as task:
            for step in task.track(range(steps)):
                task.message = f'Row {step}'
                time.sleep(max(0.0, start + (step + 1) / pace - time.time()))
        times[name] = start, time.time()

    threads: list[threading.Thread] = []
    while True:
        tasks = pipe.recv()
        if tasks is None:
            for thread in threads:
                thread.join()
            pipe.send(times)
        else:
            fresh = [
                threading.Thread(target=work, args=(name, duration, _STEPS / max(len(tasks), _PAGES)), daemon=True)
                for name, duration in tasks.items()
            ]
            for thread in fresh:
                thread.start()
            threads += fresh
            pipe.send(None)


@contextmanager
def _world() -> Iterator[tuple[Any, _Server]]:
    """Give a browser and a server."""
    playwright = missing.module('playwright.sync_api', 'playwright')
    chromium = missing.program('chromium')
    with ExitStack() as stack:
        server = _Server(stack.enter_context(child(_serve)))
        driver = stack.enter_context(playwright.sync_playwright())
        browser = driver.chromium.launch(executable_path=chromium, args=['--no-sandbox', '--disable-gpu'])
        stack.callback(browser.close)
        yield browser, server


def _open(browser: Any, server: _Server, names: list[str], *, is_recorded: bool = False) -> tuple[Any, list[float]]:
    """Open a page with the bars of some tasks; return it, and a list that gets the times of its requests."""
    page = browser.new_context().new_page()
    if is_recorded:
        page.add_init_script(_RECORD)
    asked: list[float] = []
    page.on('request', lambda request: asked.append(time.time()) if '/progress_status' in request.url else None)
    page.goto(f'{server.url}/page?' + '&'.join(f'id={name}' for name in names))
    return page, asked


@cache
def _minute(environment: Environment) -> list[Run]:
    """Let some pages follow a task of a minute each."""
    with _world() as (browser, server):
        pages = {}
        for number in range(_PAGES):
            name = f'minute-{number}'
            server.start({name: MINUTE})
            pages[name] = _open(browser, server, [name], is_recorded=True)
        times = server.times()
        runs = []
        for name, (page, asked) in pages.items():
            page.wait_for_selector('pyramid-progress[state=finished]')
            runs.append(_judge(len(asked), page.evaluate('shown'), *times[name]))
        return runs


def _judge(requests: int, shown: list[Any], start: float, end: float) -> Run:
    """Compare what a page showed with what was true: its task went on at an even pace."""
    behind = 0.0
    percent = 0.0
    for _, at, value, _ in shown:
        # So long was the work further than what the bar showed until now.
        behind = max(behind, at - (start + percent / 100 * (end - start)))
        percent = value
    _, at, _, status = shown[-1]
    if status != 'finished':
        raise RuntimeError(f'the last that a page showed is {shown[-1]}')
    return Run(requests, behind, at - end)


def _requests(environment: Environment) -> Comparison:
    return _against('requests', [run.requests for run in _minute(environment)], 40)


def _behind(environment: Environment) -> Comparison:
    return _against('s', [run.behind for run in _minute(environment)], 2)


def _end(environment: Environment) -> Comparison:
    return _against('ms', [run.end * 1000 for run in _minute(environment)], 500)


def _against(unit: str, measured: list[float], limit: float) -> Comparison:
    return Comparison(unit, measured, [limit] * len(measured))


def _crowd(environment: Environment) -> Comparison:
    """Let pages with many bars and pages with few follow tasks that end one after the other, at the same time."""
    tasks = {f'task-{number}': MINUTE * (1 + number / (MANY - 1)) / 2 for number in range(MANY)}
    names = list(tasks)
    with _world() as (browser, server):
        server.start(tasks)
        pages = [
            (_open(browser, server, names), _open(browser, server, names[:: MANY // FEW - 1][:FEW]))
            for _ in range(_LISTS)
        ]
        server.times()
        for pair in pages:
            for page, _ in pair:
                page.wait_for_function("!document.querySelector('pyramid-progress:not([state=finished])')")
        many, few = ([len(asked) for _, asked in side] for side in zip(*pages, strict=True))
    return Comparison('requests', many, few)


@cache
def _thread(environment: Environment) -> list[dict[str, float]]:
    """Watch what a page with many bars needs of its main thread; return seconds a poll, by what for."""
    with _world() as (browser, server):
        server.start({f'task-{number}': MINUTE for number in range(MANY)})
        page, asked = _open(browser, server, [f'task-{number}' for number in range(MANY)])
        devtools = page.context.new_cdp_session(page)
        devtools.send('Performance.enable')

        def metrics() -> dict[str, float]:
            return {item['name']: item['value'] for item in devtools.send('Performance.getMetrics')['metrics']}

        page.wait_for_timeout(_WARM * 1000)
        rounds = []
        for _ in range(_WATCHES):
            before, count = metrics(), len(asked)
            page.wait_for_timeout(_WATCH * 1000)
            after = metrics()
            polls = (len(asked) - count) / 2  # of fifty ids each
            rounds.append({name: (after[name] - before[name]) / polls for name in after})
        return rounds


def _script(environment: Environment) -> Comparison:
    return _against('ms', [one['ScriptDuration'] * 1000 for one in _thread(environment)], 5)


def _tasks(environment: Environment) -> Comparison:
    return _against('ms', [one['TaskDuration'] * 1000 for one in _thread(environment)], 5)


FIGURES = [
    Figure(f'requests of a page, {MANY} bars', f'{FEW} bars', at_most(2), _crowd),
    Figure('requests, a task of a minute', '40', at_most(1), _requests),
    Figure('most that its bar is behind', '2 s', at_most(1), _behind),
    Figure('until its end shows', '500 ms', at_most(1), _end),
    Figure(f'script, a poll of {MANY} bars', '5 ms', at_most(1), _script),
    Figure('main thread, layout and all', '5 ms', at_most(1), _tasks),
]
