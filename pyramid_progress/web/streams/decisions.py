"""Which tasks of a stream its user may see: decided by a request, and valid for some time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ...model.record import CANCELLABLE, RUN
from ...model.status import decode, to_status
from ...storage import StorageError
from ..access import Visitor

#: The run and the owner of a task. A decision is about one run: the next one may have another owner.
Identity = tuple[Any, Any]

#: The key of an :class:`AccessCheck` in the WSGI environment of a request that asks for decisions and for no stream.
#: Clients cannot set it: names of headers begin with ``HTTP_`` there (PEP 3333).
CHECK_KEY = 'pyramid_progress.access_check'


class Grant(NamedTuple):
    """What a user may do with a task."""

    identity: Identity
    may_see: bool
    #: Whether the user may ask it to stop, as long as it can be asked.
    may_cancel: bool


class Decisions(NamedTuple):
    """What the user of a stream may do with its tasks."""

    #: the localizer of the user's locale
    localizer: Any
    #: by id, of the tasks that exist
    grants: Mapping[str, Grant]
    #: the records that they are about, as JSON texts
    texts: Mapping[str, str]
    #: the time by the store's clock, in seconds
    now: float


class AccessCheck:
    """Carries the ids of a stream to the view, and the view's decisions back.

    :param progress_ids: the ids of the stream
    """

    def __init__(self, progress_ids: Sequence[str]) -> None:
        self.progress_ids = progress_ids
        self._answer: Decisions | StorageError | None = None

    def answer(self, visitor: Visitor) -> None:
        """Decide, with the user of the request that carries this."""
        try:
            self._answer = decide(visitor, self.progress_ids)
        except StorageError as error:
            self._answer = error

    @property
    def decisions(self) -> Decisions | None:
        """The decisions; None if the application refused the request.

        :raises StorageError: if the store did not answer, so that nothing was decided
        """
        if isinstance(self._answer, StorageError):
            raise self._answer
        return self._answer


#: Decides again, with a new request of the stream's headers. It may raise :class:`.StorageError`.
Check = Callable[[], Decisions | None]


def identity_of(members: Mapping[str, Any]) -> Identity:
    """Return the run and the owner of a task.

    :param members: the decoded members of its record
    """
    return members.get(RUN), members.get('owner')


def decide(visitor: Visitor, progress_ids: Sequence[str]) -> Decisions:
    """Return what a user may do with some tasks. No end is acknowledged.

    :raises pyramid_progress.storage.StorageError: if the store does not answer
    """
    storage = visitor.store.storage
    texts = storage.get_many_serialized(progress_ids)
    grants = {}
    for progress_id, text in texts.items():
        members = decode(text)
        status = to_status(members, storage.now)
        may_see = visitor.may_see(progress_id, status)
        may_cancel = may_see and CANCELLABLE in members and visitor.may_change(status)
        grants[progress_id] = Grant(identity_of(members), may_see, may_cancel)
    return Decisions(visitor.localizer, grants, texts, storage.now())
