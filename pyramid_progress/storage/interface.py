"""The interface of storage drivers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..model.record import Activity, Record, Start, load


class StorageError(Exception):
    """The store does not answer, or cannot be used; the driver's own error is chained to it."""


class Entry(NamedTuple):
    """A task in an index. Sorted in descending order, the newest task comes first."""

    #: when its run started, in milliseconds by the store's clock (:func:`.record.start_time`)
    start: int
    progress_id: str


class Storage(ABC):
    """The records of tasks and of their parts, and the indexes of tasks, in one Beaker region.

    Every method is atomic among the threads and processes that the region's type serves (see the guide on regions),
    and raises :class:`.StorageError` if the store does not answer within the timeout. Lifetimes are in seconds. Records
    change by the rules of :mod:`.model.record` and :mod:`.model.parts`, in whatever language a driver implements them.
    Methods that only read work where the store can be read but not written.

    A driver is constructed with three arguments:

    :param region: options of the region that determine its location, with its ``type``
    :param namespace: the prefix that separates the keys of one application from those of others
    :param timeout: seconds to wait for a store that does not answer
    :raises ValueError: if an option is missing or invalid, naming it
    :raises OSError: if a directory or file of the region cannot be used
    """

    #: Seconds that an acknowledged task stays by default; None for as long as any other record.
    default_linger: float | None = None

    #: Seconds between two reads by which event streams watch the store.
    watch_interval: float = 0.2

    @property
    def broke_at(self) -> float | None:
        """When the connection to the store last broke, by :func:`time.monotonic`; minus infinity if it never did.

        Writes that the store accepted shortly before may be lost. None if the store does not lose accepted writes.
        """
        return None

    @abstractmethod
    def start(self, progress_id: str, record: Record, expire: float, mode: Start = Start.ANY) -> bool:
        """Store the *record* of a new run for *expire* seconds, and index it (:func:`.record.index_keys`).

        Return False, and change nothing, if :func:`.record.may_start` does not allow the start. Parts of an earlier run
        are removed, or are not found any more.
        """

    @abstractmethod
    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        """Merge *changes* into a record and keep it for another *expire* seconds (:func:`.record.updated`).

        An unknown id gets a record of the changes alone.
        """

    @abstractmethod
    def update_active(
        self, changes: Mapping[str, Record], expire: float, runs: Mapping[str, str] | None = None
    ) -> dict[str, Activity]:
        """Merge changes, by id, into those records that exist and have not ended (:func:`.record.updated_active`).

        :param changes: the changes by id; empty changes only return the activity
        :param expire: the lifetime of the records from now on
        :param runs: by id, the number of the run that the record must be of; an id that is missing here addresses any
            run
        :return: the :func:`.record.activity` of every id for which it is not None. Many ids cost one round trip, if the
            store can do that
        """

    @abstractmethod
    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        """Return the records of those ids that have one, as JSON texts in the form of :func:`.record.dump`."""

    def get_many(self, progress_ids: Sequence[str]) -> dict[str, Record]:
        """Return the records of those ids that have one; the caller may change them."""
        return {progress_id: load(text) for progress_id, text in self.get_many_serialized(progress_ids).items()}

    @abstractmethod
    def acknowledge(self, progress_id: str, linger: float) -> bool:
        """Mark a finished task as acknowledged and keep it for *linger* seconds; with 0, remove it.

        Return True for the one call that did it. If the task is not finished, or was acknowledged already, nothing
        changes.
        """

    @abstractmethod
    def delete(self, progress_id: str, run: str | None = None) -> bool:
        """Remove the record of an id from the store and from the indexes; return whether there was one.

        :param run: the number of the run that the record must be of; by default any
        """

    @abstractmethod
    def list_entries(self, keys: Sequence[str], limit: int, before: Entry | None = None) -> list[Entry]:
        """Return the newest tasks in some indexes, each once, in descending order.

        The cost depends on *limit*, and not on how many tasks there are. An entry may be out of date: its record may be
        gone, or belong to another owner or run.

        :param keys: keys of indexes (:func:`.record.index_keys`)
        :param limit: how many entries to return at most
        :param before: return only entries that follow this one
        """

    def prune(self, key: str, progress_ids: Sequence[str]) -> None:  # noqa: B027  (optional)
        """Remove ids from an index, unless their records belong there.

        Drivers whose indexes cannot be out of date need not do anything.
        """

    @abstractmethod
    def running_ids(self) -> set[str]:
        """Return the ids on the running list (:func:`.record.is_listed`)."""

    @abstractmethod
    def start_part(
        self, progress_id: str, number: int, *, task_run: str, part_run: str, heartbeat: str, expire: float
    ) -> Activity | None:
        """Start a part of a task (:func:`.parts.start_part`); both records are kept for another *expire* seconds."""

    @abstractmethod
    def update_part(
        self, progress_id: str, number: int, changes: Record, *, task_run: str, part_run: str, expire: float
    ) -> Activity | None:
        """Change a part of a task (:func:`.parts.update_part`); both records are kept for another *expire* seconds."""

    @abstractmethod
    def now(self) -> float:
        """Return the time by the store's clock, the same for all machines, in seconds since the epoch."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and files; the storage is not used again."""
