"""The tasks that a request may list, and what the macro ``tasks`` draws of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from pyramid.encode import urlencode

from ..model.messages import BAR, TASKS
from ..model.record import CHANGED, TERMINAL_STATUSES
from ..model.status import Status
from ..queries import ANY, Found, find_tasks
from ..storage import Entry, StorageError
from .access import Visitor
from .format import Translate, format_elapsed
from .i18n import localizer_of

#: How many tasks a page has: half of what one poll may ask for.
PER_PAGE = 25

#: The statuses to filter by, apart from an application's own words, with their words.
STATUSES = {
    'pending': TASKS['pending'],
    'running': BAR['running'],
    'stalled': TASKS['stalled'],
    'cancelling': BAR['cancelling'],
    'finished': BAR['finished'],
    'failed': BAR['failed'],
    'cancelled': BAR['cancelled'],
}

#: The statuses of tasks that can be removed.
REMOVABLE_STATUSES = TERMINAL_STATUSES | {'stalled'}


@dataclass(frozen=True)
class TaskPage:
    """A page of tasks, newest first."""

    #: the tasks' statuses by id, without the owner except for an operator; with ``duration``, in seconds, for a task
    #: that has ended, and ``removable: True`` if the user may remove it
    tasks: dict[str, Status] = field(default_factory=dict)
    #: the parameter ``before`` of the next page; None if this is the last one
    next: str | None = None


@dataclass(frozen=True)
class Filters:
    """What a query string asks of a task list."""

    #: only tasks with this tag
    tag: str | None = None
    #: only tasks with this status, as readers see it
    status: str | None = None
    #: only tasks that follow this entry
    before: Entry | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> 'Filters':
        """Return the ``tag``, ``status`` and ``before`` in a query string. An invalid ``before`` is ignored."""
        start, _, progress_id = query.get('before', '').partition('.')
        is_valid = start.isascii() and start.isdigit() and len(start) < 16 and progress_id
        return cls(
            tag=query.get('tag') or None,
            status=query.get('status') or None,
            before=Entry(int(start), progress_id) if is_valid else None,
        )


def list_visible(visitor: Visitor, filters: Filters) -> TaskPage:
    """Return what a user may list: one's own tasks that ``progress.access`` lets one see, or, for an operator, all.

    Under ``progress.access = id`` a user lists nothing, because access then requires knowledge of the id.

    :param visitor: the user
    :param filters: which of the tasks
    :raises pyramid_progress.storage.StorageError: if the store does not answer
    """
    if not visitor.is_operator and (visitor.userid is None or visitor.access == 'id'):
        return TaskPage()

    def is_visible(found: Found) -> bool:
        return visitor.passes_access_rule(found.progress_id, found.status)

    page = find_tasks(
        visitor.store.storage,
        owner=ANY if visitor.is_operator else visitor.userid,
        status=filters.status,
        tag=filters.tag,
        limit=PER_PAGE,
        before=filters.before,
        is_visible=None if visitor.is_operator else is_visible,
    )
    tasks = {found.progress_id: _to_status(visitor, found) for found in page.tasks}
    return TaskPage(tasks, page.next and f'{page.next.start}.{page.next.progress_id}')


def _to_status(visitor: Visitor, found: Found) -> Status:
    """Return the status of a task in a list."""
    status = visitor.describe(found.members, found.status)
    if visitor.is_operator:
        status['owner'] = found.status['owner']
    if status['status'] in TERMINAL_STATUSES and CHANGED in found.members:
        status['duration'] = max(found.members[CHANGED] - found.entry.start // 1000, 0)
    if status['status'] in REMOVABLE_STATUSES and visitor.may_change(found.status):
        status['removable'] = True
    return status


@dataclass(frozen=True)
class ListedTask:
    """What stands beside a bar in a list, as text."""

    #: the user whose task it is, or ''; shown to operators only
    owner: str
    #: its tags, each with the URL of the tasks with this tag
    tags: list[tuple[str, str]]
    #: its start, in UTC: as the ``datetime`` attribute of a ``<time>`` element, and readable
    started: str
    started_text: str
    #: how long it ran, '' if it has not ended
    duration: str
    #: whether this user may remove it from the list
    is_removable: bool


@dataclass(frozen=True)
class Choice:
    """A status to filter by."""

    word: str
    #: the URL of the tasks with this status
    href: str
    #: whether the list has this filter
    is_chosen: bool


@dataclass(frozen=True)
class TaskList:
    """What the macro ``tasks`` draws."""

    #: the statuses on this page by id, for the bars
    statuses: dict[str, Status]
    #: what stands beside the bars, by id
    tasks: dict[str, ListedTask]
    #: why there are no tasks on this page, or ''
    note: str
    #: all tasks, and the statuses to choose from
    choices: list[Choice]
    #: the tag to filter by, or ''
    tag: str
    #: the URL of this list as JSON, for the script; None if this is not the first page, which does not change
    src: str | None
    #: URLs of the first page and of the page after this one, or None
    newest: str | None
    older: str | None
    #: names and values of the other parameters in the page's query string
    other: list[tuple[str, str]]
    #: the words around the list
    words: Mapping[str, str]


def task_list(request: Any, visitor: Visitor) -> TaskList:
    """Return what the macro ``tasks`` draws, for the ``tag``, ``status`` and ``before`` in the page's query string."""
    try:
        query: Mapping[str, str] = request.GET
    except UnicodeDecodeError:
        query = {}
    filters = Filters.parse(query)
    translate = localizer_of(request).translate
    words = {name: translate(word) for name, word in TASKS.items()}
    try:
        page = list_visible(visitor, filters)
        note = '' if page.tasks else words['none-here' if page.next or filters.before else 'none']
    except StorageError:
        page, note = TaskPage(), words['trouble']

    def url(**changes: str) -> str:
        """Return the URL of this page with other parameters; '' removes one."""
        parameters = [item for item in query.items() if item[0] not in ('before', *changes)]
        # Without parameters, the URL must still replace the query string.
        encoded: str = urlencode([*parameters, *((name, value) for name, value in changes.items() if value)])
        return f'?{encoded}'

    statuses = {'': words['all']} | {status: translate(word) for status, word in STATUSES.items()}
    chosen = filters.status or ''
    if chosen not in statuses:
        statuses[chosen] = chosen
    wanted = {name: value for name, value in (('tag', filters.tag), ('status', filters.status)) if value}
    return TaskList(
        statuses=page.tasks,
        tasks={progress_id: _describe(status, url, translate) for progress_id, status in page.tasks.items()},
        note=note,
        choices=[Choice(word, url(status=status), status == chosen) for status, word in statuses.items()],
        tag=filters.tag or '',
        src=request.route_path('progress_tasks', _query=wanted) if filters.before is None else None,
        newest=url() if filters.before else None,
        older=url(before=page.next) if page.next else None,
        other=[item for item in query.items() if item[0] not in ('tag', 'before')],
        words=words,
    )


def _describe(status: Status, url: Callable[..., str], translate: Translate) -> ListedTask:
    tags = status.get('tags')
    tags = tags if isinstance(tags, (list, dict)) else [tags]
    started = datetime.fromisoformat(status['started']).astimezone(timezone.utc)
    owner = status.get('owner')
    return ListedTask(
        owner='' if owner is None else str(owner),
        tags=[(tag, url(tag=tag)) for tag in tags if tag and isinstance(tag, str)],
        started=started.isoformat(timespec='milliseconds'),
        started_text=f'{started:%Y-%m-%d %H:%M} UTC',
        duration=format_elapsed(status['duration'], translate) if 'duration' in status else '',
        is_removable='removable' in status,
    )
