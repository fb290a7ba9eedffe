"""The one query behind every list of tasks: the functions, the task page, the toolbar panel and ``pprogress``."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from .model.record import ALL_KEYS, RUNNING_KEY, TERMINAL_STATUSES, index_keys, is_listed, load, owner_key, start_time
from .model.status import Status, decode, has_tag, to_status
from .model.values import check_id, encode
from .runtime import current_store
from .storage import Entry, Storage, StorageError

log = logging.getLogger(__name__)

#: How many records one query reads at most.
MAX_RECORDS = 2000

#: How many records are read in one call of the store.
BATCH = 200


class _Any:
    """The type of :data:`ANY`."""

    def __repr__(self) -> str:
        return 'ANY'


#: Stands for the tasks of all owners.
ANY = _Any()


class Found(NamedTuple):
    """A task that a query found."""

    entry: Entry
    #: the decoded members of its record, internal ones included
    members: dict[str, Any]
    #: its status, as readers get it
    status: Status
    #: whether it is on the running list
    is_listed: bool

    @property
    def progress_id(self) -> str:
        """The task's id."""
        return self.entry.progress_id


class Page(NamedTuple):
    """The answer of a query."""

    #: newest first
    tasks: list[Found]
    #: where to go on; None if there are no more
    next: Entry | None


def find_tasks(
    storage: Storage,
    *,
    owner: Any = ANY,
    status: str | None = None,
    tag: str | None = None,
    with_ended: bool = True,
    limit: int = 100,
    before: Entry | None = None,
    is_visible: Callable[[Found], bool] | None = None,
) -> Page:
    """Return tasks, running and ended, newest first. Their ends are not acknowledged.

    Tasks are ordered by the start of their run, by the store's clock, and then by id: a task that starts between two
    pages is on neither. One call reads at most :data:`MAX_RECORDS` records, and may then find fewer than *limit* tasks,
    or none, although there are more: :attr:`Page.next` says where to go on.

    :param storage: where they are kept
    :param owner: only tasks of this owner, None for tasks without owner
    :param status: only tasks with this status, as readers see it
    :param tag: only tasks with this tag
    :param with_ended: whether to return tasks that are not on the running list, too
    :param limit: how many tasks to return at most
    :param before: only tasks that follow this entry
    :param is_visible: returns whether a task belongs to the answer; by default all do
    :raises StorageError: if the store does not answer
    """
    if not isinstance(owner, _Any):
        keys: tuple[str, ...] = (owner_key(encode('owner', owner)),)
    elif status is None:
        keys = ALL_KEYS if with_ended else (RUNNING_KEY,)
    else:
        keys = (status,) if status in TERMINAL_STATUSES else (RUNNING_KEY,)
    # Without a filter, every record that is read is returned.
    is_filtered = bool(tag or is_visible or (status and keys[0] != status) or not with_ended)
    tasks: list[Found] = []
    read = 0
    # The last task that was read. The list cannot be continued after an entry that is out of date.
    last: Entry | None = None
    while True:
        # One more than the limit, to know whether there are more.
        # The first call assumes that all match.
        size = min(BATCH if is_filtered and read else limit + 1 - len(tasks), MAX_RECORDS - read)
        entries = storage.list_entries(keys, size, before)
        read += len(entries)
        for found in _read(storage, keys, entries):
            last = found.entry
            if (
                (status is None or found.status['status'] == status)
                and (tag is None or has_tag(found.status, tag))
                and (with_ended or found.is_listed)
                and (is_visible is None or is_visible(found))
            ):
                if len(tasks) == limit:
                    return Page(tasks, tasks[-1].entry)
                tasks.append(found)
        if len(entries) < size:
            return Page(tasks, None)
        before = entries[-1]
        if read >= MAX_RECORDS:
            if last is not None:
                return Page(tasks, last)
            read = 0  # all entries were out of date, and no record was read


def _read(storage: Storage, keys: tuple[str, ...], entries: list[Entry]) -> list[Found]:
    """Return the tasks of entries, without those that are out of date, which are removed from the indexes."""
    texts = storage.get_many_serialized([entry.progress_id for entry in entries])
    found, stale = [], []
    for entry in entries:
        text = texts.get(entry.progress_id)
        record = load(text) if text else {}
        if text and record and start_time(record) == entry.start and set(keys) & set(index_keys(record)):
            members = decode(text)
            found.append(Found(entry, members, to_status(members, storage.now), is_listed(record)))
        else:
            stale.append(entry.progress_id)
    if stale:
        try:
            for key in keys:
                storage.prune(key, stale)
        except StorageError:
            log.debug('Index entries that are out of date cannot be removed', exc_info=True)
    return found


class TaskList(list[Status]):
    """The answer of :func:`list_tasks`: statuses, each with its ``progress_id``, newest first."""

    #: the argument ``before`` that continues the list; None at its end
    next: str | None = None


def list_tasks(
    *,
    owner: Any = ANY,
    status: str | None = None,
    tag: str | None = None,
    limit: int = 100,
    before: str | None = None,
) -> TaskList:
    """Return the statuses of tasks, running and ended, newest first, each with its ``progress_id``.

    Their ends are not acknowledged. A finished task is listed for ``progress.linger`` seconds after its end was
    acknowledged. One call reads at most 2,000 records: if ``next`` of the answer is not None, a call with
    that as *before* continues the list.

    :param owner: only the tasks of this owner; None for tasks without owner; by default all tasks
    :param status: only tasks with this status, as readers see it
    :param tag: only tasks with this tag
    :param limit: how many tasks to return at most, at least 1
    :param before: the id of a task: only those that follow it in the list
    :raises TypeError: if *owner* is not a JSON value, or *limit* not an int
    :raises ValueError: if *limit* is less than 1, or there is no task with the id *before*
    """
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f'limit must be an int, not {limit!r}')
    if limit < 1:
        raise ValueError(f'limit must be at least 1, not {limit!r}')
    storage = current_store().storage
    entry = None
    if before is not None:
        record = storage.get_many([check_id(before)]).get(before)
        if record is None:
            raise ValueError(f'before: there is no task {before!r}')
        entry = Entry(start_time(record), before)
    page = find_tasks(storage, owner=owner, status=status, tag=tag, limit=limit, before=entry)
    tasks = TaskList({'progress_id': found.progress_id} | found.status for found in page.tasks)
    tasks.next = page.next.progress_id if page.next else None
    return tasks
