"""Who may see a task, decided anew at each request."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from pyramid.interfaces import ISecurityPolicy

from .progress import UNKNOWN
from .regions import store
from .settings import Settings
from .storage.record import CANCEL, CANCELLABLE, ENDS, decode, is_end, shown
from .words import MESSAGES, localizer_of


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
    visitor = Visitor(request)
    texts = storage.texts(progress_ids)
    seen = {}
    for progress_id in progress_ids:
        seen[progress_id] = dict(UNKNOWN)
        if progress_id not in texts:
            continue
        members = decode(texts[progress_id])
        status = shown(members, storage.now)
        is_told = visitor.may_see(progress_id, status)
        if is_told or visitor.is_operator:
            if _can_cancel(members) and visitor.may_cancel(status):
                status['cancellable'] = True
            status.pop('owner', None)
            if status['status'] == 'failed' and str(status.get('message')) in MESSAGES:
                status['message'] = localizer_of(request).translate(MESSAGES[status['message']])
            seen[progress_id] = status
        # An operator who looks on does not take an end away from those it is for.
        if take and is_told and is_end(members):
            storage.take(progress_id, settings.linger)
    return seen


def _can_cancel(members: dict[str, Any]) -> bool:
    return CANCELLABLE in members and CANCEL not in members and members['status'] not in ENDS


class Visitor:
    """Who makes a request, as far as tasks are concerned. What takes time to find out is found out once, if at all.

    :param request: the current request
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        self._settings: Settings = request.registry.get('pyramid_progress') or Settings()
        self.access = self._settings.access

    @cached_property
    def userid(self) -> str | None:
        """The user's id, as a string; None where there is none."""
        userid = self._request.authenticated_userid
        return None if userid is None else str(userid)

    @cached_property
    def is_operator(self) -> bool:
        """Whether this request has the ``progress.operator_permission``."""
        permission = self._settings.operator_permission
        # Without a policy, Pyramid permits everything to everybody.
        return permission is not None and self._has_policy and bool(self._request.has_permission(permission))

    def owns(self, status: dict[str, Any]) -> bool:
        """Tell whether a task is this user's: owner and user are compared as strings."""
        owner = status.get('owner')
        return owner is not None and str(owner) == self.userid

    def may_see(self, progress_id: str, status: dict[str, Any]) -> bool:
        """Tell whether ``progress.access`` lets this request see a task."""
        if callable(self.access):
            return bool(self.access(self._request, progress_id, dict(status)))
        if self.access == 'id' or (self.access == 'auto' and self._is_open(status)):
            return True
        return self.owns(status)

    def may_cancel(self, status: dict[str, Any]) -> bool:
        """Tell whether this request, which sees a task, may ask it to stop.

        Its owner may, and an operator; where it has no owner, whoever knows its id.
        """
        return status.get('owner') is None or self.owns(status) or self.is_operator

    def _is_open(self, status: dict[str, Any]) -> bool:
        return status.get('owner') is None or not self._has_policy

    @cached_property
    def _has_policy(self) -> bool:
        return self._request.registry.queryUtility(ISecurityPolicy) is not None
