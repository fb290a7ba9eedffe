"""What a storage driver does. One driver a file stands behind this interface."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from .record import Record, load


class StorageError(Exception):
    """The store did not answer, or cannot be used; the driver's own error is chained to it."""


class Storage(ABC):
    """Statuses, and which of them are on the task list, in one Beaker region.

    Every method is atomic, among the threads and processes that the region's type serves (see the table in
    the README), and raises :class:`StorageError` where the store does not answer within the timeout. Lifetimes
    are in seconds. The rules by which records change are those of :mod:`.record`, whatever language a driver
    states them in.
    """

    @abstractmethod
    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        """Store the *record* of a new task for *expire* seconds.

        Return False, and change nothing, where the id is in use by another owner
        (:func:`.record.may_start`).
        """

    @abstractmethod
    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        """Merge *changes* into a record and let it live for another *expire* seconds (:func:`.record.updated`).

        An unknown id gets a record of the changes alone; a taken record stays as it is.
        """

    @abstractmethod
    def amend(self, changes: Mapping[str, Record], expire: float) -> dict[str, Record]:
        """Merge changes, by id, into those records that exist and have not ended (:func:`.record.amended`).

        Return the records as they are afterwards, of all the ids that have one. Together they cost what one does,
        where the store can do that.
        """

    @abstractmethod
    def texts(self, progress_ids: Sequence[str]) -> dict[str, str]:
        """Return the records of those ids that have one, as JSON texts in the form of :func:`.record.dump`."""

    def read(self, progress_ids: Sequence[str]) -> dict[str, Record]:
        """Return the records of those ids that have one; the caller may change them."""
        return {progress_id: load(text) for progress_id, text in self.texts(progress_ids).items()}

    @abstractmethod
    def take(self, progress_id: str, linger: float) -> bool:
        """Take a finished task off the list; its record stays for *linger* seconds, marked as taken.

        Return True for the one call that did it: where the task is not finished, or taken already,
        nothing changes.
        """

    @abstractmethod
    def discard(self, progress_id: str) -> None:
        """Remove the record of an id, if there is one."""

    @abstractmethod
    def tasks(self) -> set[str]:
        """Return the ids on the task list (:func:`.record.is_listed`)."""

    @abstractmethod
    def now(self) -> float:
        """Return the time by the store's clock, the same for all machines, in seconds since the epoch."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and files; the storage is not used again."""
