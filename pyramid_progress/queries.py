"""The one query behind every list of tasks: the task list, the toolbar panel and ``pprogress``."""

from collections.abc import Callable

from .model.record import is_listed
from .model.status import Status, has_tag, record_to_status
from .storage import Storage


def running_tasks(
    storage: Storage,
    *,
    tag: str | None = None,
    status: str | None = None,
    is_visible: Callable[[Status], bool] | None = None,
) -> dict[str, Status]:
    """Return the statuses of the tasks on the running list by id, newest first. Their ends are not acknowledged.

    :param storage: where they are kept
    :param tag: only tasks with this tag
    :param status: only tasks with this status, as readers see it
    :param is_visible: returns whether a status belongs to the list; by default all do
    :raises StorageError: if the store does not answer
    """
    found: list[tuple[str, str, Status]] = []
    for progress_id, record in storage.get_many(list(storage.running_ids())).items():
        if not is_listed(record):  # it has ended in the meantime
            continue
        task = record_to_status(record, storage.now)
        if (
            (tag is None or has_tag(task, tag))
            and (status is None or task['status'] == status)
            and (is_visible is None or is_visible(task))
        ):
            found.append((task['started'], progress_id, task))
    found.sort(key=lambda item: item[:2], reverse=True)  # `started` is ISO 8601 in UTC: sorted as text, sorted by time
    return {progress_id: task for _, progress_id, task in found}
