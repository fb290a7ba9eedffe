"""The interface of storage drivers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from ..model.record import Activity, Record, load


class StorageError(Exception):
    """The store does not answer, or cannot be used; the driver's own error is chained to it."""


class Storage(ABC):
    """The statuses, and which of them are on the running list, in one Beaker region.

    Every method is atomic among the threads and processes that the region's type serves (see the table in the README),
    and raises :class:`StorageError` if the store does not answer within the timeout. Lifetimes are in seconds. Records
    change by the rules of :mod:`.model.record`, in whatever language a driver implements them.

    A driver is constructed with three arguments:

    :param region: options of the region that say where it keeps things, with its ``type``
    :param namespace: the prefix that separates the keys of one application from those of others
    :param timeout: seconds to wait for a store that does not answer
    :raises ValueError: if an option is missing or invalid, naming it
    :raises OSError: if a directory or file of the region cannot be used
    """

    @abstractmethod
    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        """Store the *record* of a new task for *expire* seconds.

        Return False, and change nothing, if the id is in use by another owner (:func:`.record.may_start`).
        """

    @abstractmethod
    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        """Merge *changes* into a record and keep it for another *expire* seconds (:func:`.record.updated`).

        An unknown id gets a record of the changes alone; an acknowledged record stays as it is.
        """

    @abstractmethod
    def update_active(self, changes: Mapping[str, Record], expire: float) -> dict[str, Activity]:
        """Merge changes, by id, into those records that exist and have not ended (:func:`.record.updated_active`).

        Return the :class:`~.record.Activity` of every id that has a record. Many ids cost one round trip, if the store
        can do that.
        """

    @abstractmethod
    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        """Return the records of those ids that have one, as JSON texts in the form of :func:`.record.dump`."""

    def get_many(self, progress_ids: Sequence[str]) -> dict[str, Record]:
        """Return the records of those ids that have one; the caller may change them."""
        return {progress_id: load(text) for progress_id, text in self.get_many_serialized(progress_ids).items()}

    @abstractmethod
    def acknowledge(self, progress_id: str, linger: float) -> bool:
        """Take a finished task off the running list; its record stays for *linger* seconds, marked as acknowledged.

        Return True for the one call that did it. If the task is not finished, or was acknowledged already, nothing
        changes.
        """

    @abstractmethod
    def delete(self, progress_id: str) -> None:
        """Remove the record of an id, if there is one."""

    @abstractmethod
    def running_ids(self) -> set[str]:
        """Return the ids on the running list (:func:`.record.is_listed`)."""

    @abstractmethod
    def now(self) -> float:
        """Return the time by the store's clock, the same for all machines, in seconds since the epoch."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and files; the storage is not used again."""
