"""The tasks that a request may list, and what the macro ``tasks`` draws of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyramid.encode import urlencode

from ..model.messages import BAR, TASKS
from ..model.status import Status
from ..queries import running_tasks
from ..runtime import get_runtime
from ..storage import StorageError
from .access import Visitor
from .i18n import localizer_of

#: How many tasks a page has: half of what one poll may ask for.
PER_PAGE = 25

#: The statuses to filter by, apart from an application's own words.
STATUSES = ('pending', 'running', 'stalled', 'cancelling', 'finished')


@dataclass(frozen=True)
class TaskPage:
    """A page of tasks, newest first."""

    #: the tasks' statuses by id, without the owner except for an operator
    tasks: dict[str, Status] = field(default_factory=dict)
    #: the number of this page, from 1
    page: int = 1
    #: how many pages there are, at least 1
    pages: int = 1
    #: how many tasks there are on all pages
    total: int = 0


def find_tasks(request: Any, *, tag: str | None = None, status: str | None = None, page: int = 1) -> TaskPage:
    """Return what a request may list of the tasks on the running list.

    These are the user's own tasks; with the ``progress.operator_permission`` all of them; under ``progress.access =
    id`` none, because knowing an id is what permits to see a task.

    :param request: the current request
    :param tag: only tasks with this tag
    :param status: only tasks with this status, as readers see it
    :param page: which page; the last one, if there are fewer
    :raises pyramid_progress.storage.StorageError: if the store does not answer
    """
    visitor = Visitor(request)
    found: dict[str, Status] = {}
    if visitor.is_operator or (visitor.userid is not None and visitor.access != 'id'):
        found = running_tasks(
            get_runtime(request.registry).store().storage,
            tag=tag,
            status=status,
            is_visible=None if visitor.is_operator else visitor.owns,
        )
    pages = max(math.ceil(len(found) / PER_PAGE), 1)
    page = min(page, pages)
    tasks = dict(list(found.items())[(page - 1) * PER_PAGE : page * PER_PAGE])
    if not visitor.is_operator:
        for task in tasks.values():
            del task['owner']
    return TaskPage(tasks, page, pages, len(found))


def parse_filters(request: Any) -> dict[str, Any]:
    """Return the arguments for :func:`find_tasks` in a query string: ``tag``, ``status`` and ``page``.

    An invalid page is the first.
    """
    query = request.GET
    page = query.get('page', '')
    return {
        'tag': query.get('tag') or None,
        'status': query.get('status') or None,
        'page': max(int(page), 1) if page.isascii() and page.isdigit() and len(page) < 10 else 1,
    }


@dataclass(frozen=True)
class TaskList:
    """What the macro ``tasks`` draws."""

    #: the statuses on this page by id
    tasks: dict[str, Status]
    #: whether the store did not answer
    is_down: bool
    #: the filters, '' for none
    tag: str
    status: str
    #: values and words of the statuses to choose from
    choices: list[tuple[str, str]]
    #: the URL of this list as JSON, for the script; None if this is not the first page, which does not change
    src: str | None
    #: URLs of the pages before and after this one, or None
    newer: str | None
    older: str | None
    #: names and values of the other parameters in the page's query string
    other: list[tuple[str, str]]
    #: the words around the list
    words: Mapping[str, str]


def task_list(request: Any, visitor: Visitor) -> TaskList:
    """Return what the macro ``tasks`` draws, for the ``tag``, ``status`` and ``page`` in the page's query string."""
    arguments = parse_filters(request)
    try:
        found = find_tasks(request, **arguments)
        tasks, is_down = visitor.visible_statuses(list(found.tasks)), False
    except StorageError:
        found, tasks, is_down = TaskPage(), {}, True
    translate = localizer_of(request).translate
    chosen = arguments['status'] or ''
    choices = [(status, translate(BAR['waiting' if status == 'pending' else status])) for status in STATUSES]

    def url(page: int) -> str | None:
        if not 1 <= page <= found.pages:
            return None
        kept = [(name, value) for name, value in request.GET.items() if name != 'page']
        return f'?{urlencode([*kept, ("page", page)])}'

    filters = {name: value for name, value in arguments.items() if name != 'page' and value}
    return TaskList(
        tasks=tasks,
        is_down=is_down,
        tag=arguments['tag'] or '',
        status=chosen,
        choices=choices if chosen in ('', *STATUSES) else [*choices, (chosen, chosen)],
        src=request.route_path('progress_tasks', _query=filters) if found.page == 1 else None,
        newer=url(found.page - 1),
        older=url(found.page + 1),
        other=[item for item in request.GET.items() if item[0] not in ('tag', 'status', 'page')],
        words={name: translate(word) for name, word in TASKS.items()},
    )
