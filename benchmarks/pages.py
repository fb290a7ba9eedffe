"""Pages with bars in a real browser, and an application whose tasks really run."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from . import missing
from .children import child
from .measure import Comparison

#: Records what each bar shows, with the time. The first record of a bar is its rendered state.
_RECORD = """
window.shown = [];
const note = (bar, status) => {
    shown.push([bar.getAttribute('progress-id'), Date.now() / 1000, bar.querySelector('progress').value, status]);
};
addEventListener('progress:update', ({ target, detail }) => note(target, detail.status));
addEventListener('DOMContentLoaded', () => {
    for (const bar of document.querySelectorAll('pyramid-progress')) note(bar, '');
});
"""


class Shown(NamedTuple):
    """The delays of a bar.

    :param behind: the most that it was behind, in seconds
    :param end: until it showed the end, in seconds
    """

    behind: float
    end: float


class Server:
    """An application whose tasks really run, as the browser and the bench see it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()

    def start(self, tasks: dict[str, float], pace: float) -> None:
        """Start tasks that take so many seconds each, and make so many steps in a second."""
        self._pipe.send((tasks, pace))
        self._pipe.recv()

    def times(self) -> dict[str, tuple[float, float]]:
        """Return when each task started and ended, by the clock of the machine, once all have."""
        self._pipe.send(None)
        times: dict[str, tuple[float, float]] = self._pipe.recv()
        return times


def _serve(streams: int, pipe: Connection) -> None:
    from pyramid.config import Configurator
    from pyramid.response import Response
    from waitress.server import create_server

    from pyramid_progress import start_task

    def show(request: Any) -> Any:
        bars = ''.join(request.progress.bar(name) for name in request.GET.getall('id'))
        return Response(f'<!DOCTYPE html><html lang="en"><head>{request.progress.assets()}</head><body>{bars}</body>')

    settings = {'cache.regions': 'default, persistent', 'cache.type': 'memory', 'progress.streams': str(streams)}
    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
        config.add_route('page', '/page')
        config.add_view(show, route_name='page')
    logging.getLogger('waitress').setLevel(logging.ERROR)
    server = create_server(config.make_wsgi_app(), host='127.0.0.1', port=0, threads=8 + streams)
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
        order = pipe.recv()
        if order is None:
            for thread in threads:
                thread.join()
            pipe.send(times)
        else:
            tasks, pace = order
            fresh = [
                threading.Thread(target=work, args=(name, duration, pace), daemon=True)
                for name, duration in tasks.items()
            ]
            for thread in fresh:
                thread.start()
            threads += fresh
            pipe.send(None)


@contextmanager
def serving(streams: int = 0) -> Iterator[Server]:
    """Serve the application during the block.

    :param streams: how many event streams it can have
    """
    missing.module('waitress', 'waitress')
    with child(_serve, streams) as pipe:
        yield Server(pipe)


@contextmanager
def browsing() -> Iterator[Any]:
    """Give a browser."""
    playwright = missing.module('playwright.sync_api', 'playwright')
    chromium = missing.program('chromium')
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=['--no-sandbox', '--disable-gpu'])
        try:
            yield browser
        finally:
            browser.close()


class Page:
    """A page with the bars of some tasks, in a profile of its own.

    :param browser: the browser
    :param server: the application
    :param names: the ids of the tasks
    """

    def __init__(self, browser: Any, server: Server, names: Sequence[str]) -> None:
        self.page = browser.new_context().new_page()
        #: When it asked for statuses, by the clock of the machine.
        self.asked: list[float] = []
        self.page.add_init_script(_RECORD)
        self.page.on('request', self._note)
        self.page.goto(f'{server.url}/page?' + '&'.join(f'id={name}' for name in names))

    def _note(self, request: Any) -> None:
        if '/progress_status' in request.url or '/progress_events' in request.url:
            self.asked.append(time.time())

    def wait(self) -> None:
        """Wait until each bar shows that its task has finished."""
        self.page.wait_for_function("!document.querySelector('pyramid-progress:not([state=finished])')")

    def judge(self, name: str, start: float, end: float, since: float = 0) -> Shown:
        """Compare what it showed with what was true.

        :param name: the id of a task, which went on at an even pace
        :param start: when it started, by the clock of the machine
        :param end: when it ended
        :param since: from when on what it showed counts
        """
        shown = [one for one in self.page.evaluate('shown') if one[0] == name]
        behind = 0.0
        percent = shown[0][2]
        for _, at, value, _ in shown[1:]:
            # The time since the work passed the position that the bar still showed.
            if at > since:
                behind = max(behind, at - (start + percent / 100 * (end - start)))
            percent = value
        _, at, _, status = shown[-1]
        if status != 'finished':
            raise RuntimeError(f'the last that a page showed is {shown[-1]}')
        return Shown(behind, at - end)


def against(unit: str, measured: Sequence[float], limit: float) -> Comparison:
    """Compare with a limit."""
    return Comparison(unit, measured, [limit] * len(measured))
