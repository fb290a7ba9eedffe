"""Who may see a task, decided at each request."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pyramid.interfaces import ISecurityPolicy

from ..model.status import UNKNOWN, Status, decode, is_unacknowledged_end, to_status
from ..runtime import Store, get_runtime
from ..statuses import acknowledge_end
from .description import describe, is_cancellable
from .i18n import localizer_of


class Visitor:
    """The user of a request, and that user's access to tasks. Expensive attributes are computed once, at first use.

    :param request: the current request
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        self._runtime = get_runtime(request.registry)
        self._settings = self._runtime.settings
        #: The setting ``progress.access``.
        self.access = self._settings.access

    @property
    def store(self) -> Store:
        """The store of the application."""
        return self._runtime.store()

    def visible_statuses(self, progress_ids: Sequence[str], *, acknowledge: bool = False) -> dict[str, Status]:
        """Return what this user may see of some tasks, in one call of the store.

        :param progress_ids: ids of tasks
        :param acknowledge: whether to acknowledge finished tasks
        :return: by id, the status without its owner, and with ``cancellable: True`` if the user may cancel the task. A
            finished task is visible for ``progress.linger`` seconds after its end was acknowledged. A task
            that the user may not see has the status 'unknown', like a task that does not exist.
        :raises pyramid_progress.storage.StorageError: if the store does not answer
        """
        store = self.store
        texts = store.storage.get_many_serialized(progress_ids)
        visible = {}
        for progress_id in progress_ids:
            visible[progress_id] = dict(UNKNOWN)
            if progress_id not in texts:
                continue
            members = decode(texts[progress_id])
            status = to_status(members, store.storage.now)
            passes = self.passes_access_rule(progress_id, status)
            if passes or self.is_operator:
                visible[progress_id] = self.describe(members, status)
            # An operator does not acknowledge the ends of other users' tasks.
            if acknowledge and passes and is_unacknowledged_end(members):
                acknowledge_end(store, progress_id)
        return visible

    def describe(self, members: Mapping[str, Any], status: Status) -> Status:
        """Return the status that this user, who may see the task, gets of it.

        :param members: the decoded members of its record
        :param status: what :func:`.status.to_status` returned for them
        """
        return describe(members, status, lambda: self.localizer, may_cancel=self.can_cancel(members, status))

    def find(self, progress_id: str) -> tuple[dict[str, Any], Status] | None:
        """Return the decoded members and the status, with its owner, of a task; None if this user may not see it.

        :raises pyramid_progress.storage.StorageError: if the store does not answer
        """
        storage = self.store.storage
        text = storage.get_many_serialized([progress_id]).get(progress_id)
        if text is None:
            return None
        members = decode(text)
        status = to_status(members, storage.now)
        return (members, status) if self.may_see(progress_id, status) else None

    @cached_property
    def localizer(self) -> Any:
        """The localizer of the request's locale."""
        return localizer_of(self._request)

    @cached_property
    def userid(self) -> str | None:
        """The user's id as a string; None if there is none."""
        userid = self._request.authenticated_userid
        return None if userid is None else str(userid)

    @cached_property
    def is_operator(self) -> bool:
        """Whether this request has the ``progress.operator_permission``."""
        permission = self._settings.operator_permission
        # Without a security policy, Pyramid grants every permission.
        return permission is not None and self._has_policy and bool(self._request.has_permission(permission))

    def owns(self, status: Status) -> bool:
        """Return whether a task is this user's: owner and user are compared as strings."""
        owner = status.get('owner')
        return owner is not None and str(owner) == self.userid

    def passes_access_rule(self, progress_id: str, status: Status) -> bool:
        """Return whether ``progress.access`` lets this request see a task."""
        if callable(self.access):
            return bool(self.access(self._request, progress_id, dict(status)))
        if self.access == 'id' or (self.access == 'auto' and self._is_open(status)):
            return True
        return self.owns(status)

    def may_see(self, progress_id: str, status: Status) -> bool:
        """Return whether this request may see a task: by ``progress.access``, or as an operator."""
        return self.passes_access_rule(progress_id, status) or self.is_operator

    def may_change(self, status: Status) -> bool:
        """Return whether this request, which sees a task, may ask it to stop, or remove it once it has ended.

        Its owner may, and an operator; if it has no owner, anyone who knows its id.
        """
        return status.get('owner') is None or self.owns(status) or self.is_operator

    def can_cancel(self, members: Mapping[str, Any], status: Status) -> bool:
        """Return whether a task can be asked to stop, and this request may do that."""
        return is_cancellable(members) and self.may_change(status)

    def _is_open(self, status: Status) -> bool:
        return status.get('owner') is None or not self._has_policy

    @cached_property
    def _has_policy(self) -> bool:
        return self._request.registry.queryUtility(ISecurityPolicy) is not None
