"""The widget in a real browser: its requests, its delay behind the task, and its cost for the page."""

from functools import cache

from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison
from .pages import Page, Shown, against, browsing, serving

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

#: Seconds before the first measurement, seconds of each measurement, and the number of measurements.
_WARM = 15.0
_MEASUREMENT = 8.0
_MEASUREMENTS = 5


@cache
def _minute(environment: Environment) -> tuple[list[int], list[Shown]]:
    """Let some pages follow a task of a minute each; return the number of requests and the delay of each page."""
    with serving() as server, browsing() as browser:
        pages = {}
        for number in range(_PAGES):
            name = f'minute-{number}'
            server.start({name: MINUTE}, _STEPS / _PAGES)
            pages[name] = Page(browser, server, [name])
        times = server.times()
        for page in pages.values():
            page.wait()
        asked = [len(page.asked) for page in pages.values()]
        return asked, [page.judge(name, *times[name]) for name, page in pages.items()]


def _requests(environment: Environment) -> Comparison:
    return against('requests', _minute(environment)[0], 40)


def _behind(environment: Environment) -> Comparison:
    return against('s', [shown.behind for shown in _minute(environment)[1]], 2)


def _end(environment: Environment) -> Comparison:
    return against('ms', [shown.end * 1000 for shown in _minute(environment)[1]], 500)


def _crowd(environment: Environment) -> Comparison:
    """Let pages with many bars and pages with few follow tasks that end one after the other, at the same time."""
    tasks = {f'task-{number}': MINUTE * (1 + number / (MANY - 1)) / 2 for number in range(MANY)}
    names = list(tasks)
    with serving() as server, browsing() as browser:
        server.start(tasks, _STEPS / MANY)
        pages = [
            (Page(browser, server, names), Page(browser, server, names[:: MANY // FEW - 1][:FEW]))
            for _ in range(_LISTS)
        ]
        server.times()
        for pair in pages:
            for page in pair:
                page.wait()
        many, few = ([len(page.asked) for page in side] for side in zip(*pages, strict=True))
    return Comparison('requests', many, few)


@cache
def _thread(environment: Environment) -> list[dict[str, float]]:
    """Measure the main thread of a page with many bars; return the seconds per poll, by metric."""
    names = [f'task-{number}' for number in range(MANY)]
    with serving() as server, browsing() as browser:
        server.start(dict.fromkeys(names, MINUTE), _STEPS / MANY)
        page = Page(browser, server, names)
        devtools = page.page.context.new_cdp_session(page.page)
        devtools.send('Performance.enable')

        def metrics() -> dict[str, float]:
            return {item['name']: item['value'] for item in devtools.send('Performance.getMetrics')['metrics']}

        page.page.wait_for_timeout(_WARM * 1000)
        rounds = []
        for _ in range(_MEASUREMENTS):
            before, count = metrics(), len(page.asked)
            page.page.wait_for_timeout(_MEASUREMENT * 1000)
            after = metrics()
            polls = (len(page.asked) - count) / 2  # of fifty ids each
            rounds.append({name: (after[name] - before[name]) / polls for name in after})
        return rounds


def _script(environment: Environment) -> Comparison:
    return against('ms', [one['ScriptDuration'] * 1000 for one in _thread(environment)], 5)


def _tasks(environment: Environment) -> Comparison:
    return against('ms', [one['TaskDuration'] * 1000 for one in _thread(environment)], 5)


FIGURES = [
    Figure(f'requests of a page, {MANY} bars', f'{FEW} bars', at_most(2), _crowd),
    Figure('requests, a task of a minute', '40', at_most(1), _requests),
    Figure('most that its bar is behind', '2 s', at_most(1), _behind),
    Figure('until its end shows', '500 ms', at_most(1), _end),
    Figure(f'script, a poll of {MANY} bars', '5 ms', at_most(1), _script),
    Figure('main thread, layout and all', '5 ms', at_most(1), _tasks),
]
