"""Who may see a task, decided anew at each request."""

from collections.abc import Sequence
from typing import Any

from pyramid.interfaces import ISecurityPolicy

from .progress import UNKNOWN
from .regions import store
from .settings import Settings
from .storage import Storage
from .storage.record import Record, can_cancel, can_take, public


def look(request: Any, progress_ids: Sequence[str], *, take: bool = False) -> dict[str, dict[str, Any]]:
    """Return what a request may see of some tasks.

    :param request: the current request
    :param progress_ids: ids of tasks
    :param take: whether this tells a visitor of the end, and so takes finished tasks off the list; what only shows a
        state does not
    :return: by id, the status without its owner, and with ``cancellable: True`` for one who may cancel the task. A
        finished task is there for ``progress.linger`` seconds after its end was taken. What may not be seen is as
        unknown as what does not exist.
    :raises pyramid_progress.storage.StorageError: where the store does not answer
    """
    storage, _, settings = store()
    records = storage.read(progress_ids)
    seen = {}
    for progress_id in progress_ids:
        record = records.get(progress_id)
        status = _seen(request, progress_id, record, storage) if record else None
        seen[progress_id] = dict(UNKNOWN) if status is None else status
        if take and status and can_take(record):
            storage.take(progress_id, settings.linger)
    return seen


def may_cancel(request: Any, status: dict[str, Any]) -> bool:
    """Tell whether a request that sees a task, with this *status*, may ask it to stop.

    Its owner may, and an operator; where it has no owner, whoever knows its id.
    """
    owner = status.get('owner')
    return owner is None or _is_owner(request, owner) or is_operator(request)


def is_operator(request: Any) -> bool:
    """Tell whether a request has the ``progress.operator_permission``."""
    permission = _settings(request).operator_permission
    return permission is not None and bool(request.has_permission(permission))


def _seen(request: Any, progress_id: str, record: Record, storage: Storage) -> dict[str, Any] | None:
    status = public(record, storage.now)
    if not _may_see(request, progress_id, status):
        return None
    if can_cancel(record) and may_cancel(request, status):
        status['cancellable'] = True
    status.pop('owner', None)
    return status


def _may_see(request: Any, progress_id: str, status: dict[str, Any]) -> bool:
    rule = _settings(request).access
    if callable(rule):
        return bool(rule(request, progress_id, dict(status)))
    owner = status.get('owner')
    if rule == 'id' or (rule == 'auto' and (owner is None or not _has_policy(request))):
        return True
    return owner is not None and (_is_owner(request, owner) or is_operator(request))


def _is_owner(request: Any, owner: Any) -> bool:
    userid = request.authenticated_userid
    return userid is not None and str(owner) == str(userid)


def _settings(request: Any) -> Settings:
    settings: Settings = request.registry.get('pyramid_progress') or Settings()
    return settings


def _has_policy(request: Any) -> bool:
    return request.registry.queryUtility(ISecurityPolicy) is not None
