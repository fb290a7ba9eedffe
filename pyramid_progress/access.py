"""Who may see a task, decided anew at each request."""

from collections.abc import Sequence
from typing import Any

from pyramid.interfaces import ISecurityPolicy

from .progress import UNKNOWN
from .regions import store
from .settings import Settings
from .storage.record import can_take, public


def look(request: Any, progress_ids: Sequence[str], *, take: bool = False) -> dict[str, dict[str, Any]]:
    """Return what a request may see of some tasks.

    :param request: the current request
    :param progress_ids: ids of tasks
    :param take: whether this tells a visitor of the end, and so takes finished tasks off the list; what only shows a
        state does not
    :return: by id, the status without its owner. A finished task is there for ``progress.linger`` seconds after its
        end was taken. What may not be seen is as unknown as what does not exist.
    :raises pyramid_progress.storage.StorageError: where the store does not answer
    """
    storage, _, settings = store()
    records = storage.read(progress_ids)
    seen = {}
    for progress_id in progress_ids:
        record = records.get(progress_id)
        status = public(record, storage.now) if record else dict(UNKNOWN)
        if record and not _may_see(request, progress_id, status):
            record, status = None, dict(UNKNOWN)
        status.pop('owner', None)
        seen[progress_id] = status
        if take and can_take(record):
            storage.take(progress_id, settings.linger)
    return seen


def _may_see(request: Any, progress_id: str, status: dict[str, Any]) -> bool:
    rule = request.registry.get('pyramid_progress', Settings()).access
    if callable(rule):
        return bool(rule(request, progress_id, dict(status)))
    owner = status.get('owner')
    if rule == 'id' or (rule == 'auto' and (owner is None or not _has_policy(request))):
        return True
    userid = request.authenticated_userid
    return owner is not None and userid is not None and str(owner) == str(userid)


def _has_policy(request: Any) -> bool:
    return request.registry.queryUtility(ISecurityPolicy) is not None
