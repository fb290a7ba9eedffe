"""Who may see a task, decided anew at each request."""

from collections.abc import Sequence
from typing import Any

from pyramid.interfaces import ISecurityPolicy

from .progress import UNKNOWN
from .regions import store
from .settings import Settings
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
        seen[progress_id] = dict(UNKNOWN)
        record = records.get(progress_id)
        if record is None:
            continue
        status = public(record, storage.now)
        is_told = _may_see(request, progress_id, status)
        if is_told or is_operator(request):
            seen[progress_id] = _shown(request, record, status)
        # An operator who looks on does not take an end away from those it is for.
        if take and is_told and can_take(record):
            storage.take(progress_id, settings.linger)
    return seen


def may_cancel(request: Any, status: dict[str, Any]) -> bool:
    """Tell whether a request that sees a task, with this *status*, may ask it to stop.

    Its owner may, and an operator; where it has no owner, whoever knows its id.
    """
    owner = status.get('owner')
    return owner is None or is_owner(owner, request.authenticated_userid) or is_operator(request)


def is_operator(request: Any) -> bool:
    """Tell whether a request has the ``progress.operator_permission``."""
    permission = settings_of(request).operator_permission
    return permission is not None and bool(request.has_permission(permission))


def is_owner(owner: Any, userid: Any) -> bool:
    """Tell whether a task's *owner* is the user with this id: they are compared as strings."""
    return owner is not None and userid is not None and str(owner) == str(userid)


def settings_of(request: Any) -> Settings:
    """Return the settings of a request's application."""
    settings: Settings = request.registry.get('pyramid_progress') or Settings()
    return settings


def _shown(request: Any, record: Record, status: dict[str, Any]) -> dict[str, Any]:
    if can_cancel(record) and may_cancel(request, status):
        status['cancellable'] = True
    status.pop('owner', None)
    return status


def _may_see(request: Any, progress_id: str, status: dict[str, Any]) -> bool:
    rule = settings_of(request).access
    if callable(rule):
        return bool(rule(request, progress_id, dict(status)))
    owner = status.get('owner')
    if rule == 'id' or (rule == 'auto' and (owner is None or not _has_policy(request))):
        return True
    return owner is not None and is_owner(owner, request.authenticated_userid)


def _has_policy(request: Any) -> bool:
    return request.registry.queryUtility(ISecurityPolicy) is not None
