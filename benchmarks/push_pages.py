"""The delay and the requests of a page with a stream, compared with a page that polls."""

import time
from functools import cache
from statistics import median, quantiles
from typing import NamedTuple

from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison
from .pages import Page, Server, Shown, against, browsing, serving

#: Seconds that a task takes, and how many steps it makes in each.
MINUTE = 60.0
_PACE = 20

#: Pages that follow a task of their own each: as many with a stream as without.
_PAGES = 4

#: Pages with a stream and many bars, whose tasks end one after the other in the last 45 s, and make so many steps in a
#: second.
_LISTS = 4
_BARS = 25
_SLOW_PACE = 1

#: Seconds after the last page is opened during which delays are not counted.
_WARM_UP = 2.0


class _Results(NamedTuple):
    """What came of the pages with streams, and of those that poll.

    :param ends: for each page with many bars: until each end showed, in seconds
    """

    asked: list[int]
    asked_by_polls: list[int]
    shown: list[Shown]
    shown_by_polls: list[Shown]
    ends: list[list[float]]


@cache
def _results(environment: Environment) -> _Results:
    """Let all the pages follow their tasks, at the same time."""
    with serving(_PAGES + _LISTS) as push, serving() as polls, browsing() as browser:
        lists = {}
        for number in range(_LISTS):
            durations = {
                f'list-{number}-{bar}': MINUTE * (1 + 3 * (bar + number / _LISTS) / _BARS) / 4 for bar in range(_BARS)
            }
            push.start(durations, _SLOW_PACE)
            lists[Page(browser, push, list(durations))] = durations
        pages = {}
        for number in range(_PAGES):
            for server in (push, polls):
                name = f'minute-{number}'
                server.start({name: MINUTE}, _PACE)
                pages[server, name] = Page(browser, server, [name])
        # The browser is busy as long as it opens pages.
        since = time.time() + _WARM_UP
        times = {push: push.times(), polls: polls.times()}
        for page in (*pages.values(), *lists):
            page.wait()

        def minutes(server: Server) -> tuple[list[int], list[Shown]]:
            its = {name: page for (one, name), page in pages.items() if one is server}
            asked = [len(page.asked) for page in its.values()]
            return asked, [page.judge(name, *times[server][name], since) for name, page in its.items()]

        (asked, shown), (asked_by_polls, shown_by_polls) = minutes(push), minutes(polls)
        ends = [[page.judge(name, *times[push][name]).end for name in names] for page, names in lists.items()]
        return _Results(asked, asked_by_polls, shown, shown_by_polls, ends)


def _requests(environment: Environment) -> Comparison:
    results = _results(environment)
    return Comparison('requests', results.asked, results.asked_by_polls)


def _behind(environment: Environment) -> Comparison:
    results = _results(environment)
    return Comparison('s', [one.behind for one in results.shown], [one.behind for one in results.shown_by_polls])


def _most_requests(environment: Environment) -> Comparison:
    return against('requests', _results(environment).asked, 2)


def _most_behind(environment: Environment) -> Comparison:
    return against('s', [shown.behind for shown in _results(environment).shown], 0.6)


def _end(environment: Environment) -> Comparison:
    return against('ms', [median(ends) * 1000 for ends in _results(environment).ends], 200)


def _last_end(environment: Environment) -> Comparison:
    return against(
        'ms', [quantiles(ends, n=100, method='inclusive')[-1] * 1000 for ends in _results(environment).ends], 500
    )


FIGURES = [
    Figure('push: requests of a page, a task of a minute', 'polling', at_most(0.06), _requests),
    Figure('requests of that page', '2', at_most(1), _most_requests),
    Figure('push: most that its bar is behind', 'polling', at_most(0.35), _behind),
    Figure('most that its bar is behind', '0.6 s', at_most(1), _most_behind),
    Figure('push: until an end shows', '200 ms', at_most(1), _end),
    Figure('99 % of the ends show within', '500 ms', at_most(1), _last_end),
]
