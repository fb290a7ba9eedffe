"""The tasks that a request may list, and the page that lists them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyramid.encode import urlencode

from .access import Visitor, look
from .regions import store
from .storage import StorageError
from .storage.record import Record, is_listed, public
from .words import PAGE, TASKS, localizer_of

#: How many tasks a page has: half of what one poll may ask for.
PER_PAGE = 25

#: What can be filtered by, apart from the words of an application's own.
STATUSES = ('pending', 'running', 'stalled', 'cancelling', 'finished')


@dataclass(frozen=True)
class TaskPage:
    """A page of tasks, newest first."""

    #: the tasks' statuses by id, without the owner except for an operator
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: the number of this page, from 1
    page: int = 1
    #: how many pages there are, at least 1
    pages: int = 1
    #: how many tasks there are on all pages
    total: int = 0


def list_tasks(request: Any, *, tag: str | None = None, status: str | None = None, page: int = 1) -> TaskPage:
    """Return what a request may list of the tasks that are on the list.

    One's own tasks; all of them with the ``progress.operator_permission``; none under ``progress.access = id``, where
    to know an id is to have a right.

    :param request: the current request
    :param tag: only tasks with this tag
    :param status: only tasks that readers see with this status
    :param page: which page; the last one, if there are fewer
    :raises pyramid_progress.storage.StorageError: where the store does not answer
    """
    storage = store().storage
    visitor = Visitor(request)
    records: dict[str, Record] = {}
    if visitor.is_operator or (visitor.userid is not None and visitor.access != 'id'):
        records = storage.read(list(storage.tasks()))
    found = [
        (record['started'], progress_id)
        for progress_id, record in records.items()
        if is_listed(record)  # it may have ended in the meantime
        and (visitor.is_operator or visitor.owns({'owner': json.loads(record['owner'])}))
        and (tag is None or _has_tag(record, tag))
        and (status is None or public(record, storage.now)['status'] == status)
    ]
    found.sort(reverse=True)  # `started` is ISO 8601 in UTC: as text it sorts by time
    pages = max(math.ceil(len(found) / PER_PAGE), 1)
    page = min(page, pages)
    tasks = {}
    for _, progress_id in found[(page - 1) * PER_PAGE : page * PER_PAGE]:
        tasks[progress_id] = shown = public(records[progress_id], storage.now)
        if not visitor.is_operator:
            del shown['owner']
    return TaskPage(tasks, page, pages, len(found))


def _has_tag(record: Record, tag: str) -> bool:
    tags = json.loads(record['tags'])
    return tags == tag or (isinstance(tags, (list, dict)) and tag in tags)


@dataclass(frozen=True)
class Listing:
    """What the macro ``tasks`` draws."""

    #: the statuses on this page by id
    tasks: dict[str, dict[str, Any]]
    #: whether the store did not answer
    is_down: bool
    #: what is filtered by, '' for everything
    tag: str
    status: str
    #: values and words of the statuses to choose from
    choices: list[tuple[str, str]]
    #: the URL of this list as JSON, for the script; None for another page than the newest, which stays as it is
    src: str | None
    #: URLs of the pages beside this one, or None
    newer: str | None
    older: str | None
    #: names and values of what else the page's own query string has
    other: list[tuple[str, str]]
    #: the words around all this
    words: Mapping[str, str]


def wanted(request: Any) -> dict[str, Any]:
    """Return the arguments for :func:`list_tasks` that a query string has: ``tag``, ``status`` and ``page``.

    What cannot be a page is the first.
    """
    query = request.GET
    page = query.get('page', '')
    return {
        'tag': query.get('tag') or None,
        'status': query.get('status') or None,
        'page': max(int(page), 1) if page.isascii() and page.isdigit() and len(page) < 10 else 1,
    }


def listing(request: Any) -> Listing:
    """Return what the macro ``tasks`` draws, for the ``tag``, ``status`` and ``page`` in the page's query string."""
    arguments = wanted(request)
    try:
        found = list_tasks(request, **arguments)
        tasks, is_down = look(request, list(found.tasks)), False
    except StorageError:
        found, tasks, is_down = TaskPage(), {}, True
    translate = localizer_of(request).translate
    own = arguments['status'] or ''
    choices = [(status, translate(PAGE['waiting' if status == 'pending' else status])) for status in STATUSES]

    def url(page: int) -> str | None:
        if not 1 <= page <= found.pages:
            return None
        kept = [(name, value) for name, value in request.GET.items() if name != 'page']
        return f'?{urlencode([*kept, ("page", page)])}'

    filters = {name: value for name, value in arguments.items() if name != 'page' and value}
    return Listing(
        tasks=tasks,
        is_down=is_down,
        tag=arguments['tag'] or '',
        status=own,
        choices=choices if own in ('', *STATUSES) else [*choices, (own, own)],
        src=request.route_path('progress_tasks', _query=filters) if found.page == 1 else None,
        newer=url(found.page - 1),
        older=url(found.page + 1),
        other=[item for item in request.GET.items() if item[0] not in ('tag', 'status', 'page')],
        words={name: translate(word) for name, word in TASKS.items()},
    )
