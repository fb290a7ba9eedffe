"""What the publisher needs of what it publishes."""

from abc import ABC, abstractmethod
from typing import Protocol

from ..model.record import Activity, Record
from ..runtime import Runtime


class TaskMissing(Exception):
    """The store does not have the task of a part. The process that started it may be about to write it."""


class Published(Protocol):
    """The run of a task."""

    id: str
    #: the number of the run (:func:`.record.new_run`)
    number: str
    runtime: Runtime
    #: whether a newer run of the id exists; set by the publisher
    is_superseded: bool

    def changes(self, now: float) -> Record:
        """Return the members that the store does not have yet, with a heartbeat if one is due."""

    def published(self, changes: Record) -> None:
        """Note that the store has these *changes* now."""

    def last_changes(self) -> Record:
        """Return what is written at the end."""

    def record(self) -> Record:
        """Return the whole record."""

    def lose(self) -> bool:
        """End the task, because the store has lost it, if it cannot be written again; return whether that is so."""

    def cancel(self) -> None:
        """Make the work stop at its next step."""

    def interrupt(self) -> None:
        """End the task, because its process ends."""

    def announce_end(self) -> None:
        """Log the end, and notify its subscribers."""


class PartEnd(ABC):
    """The end of a part, which may be written several times."""

    id: str
    runtime: Runtime
    is_superseded: bool = False

    @abstractmethod
    def record(self) -> Record:
        """Return the last state of the part."""

    @abstractmethod
    def write_end(self) -> Activity:
        """Write the end, and what the end of the part does to its task.

        :raises TaskMissing: if it is to be written again
        """

    @abstractmethod
    def ended(self) -> 'PartEnd':
        """Return what is needed to write the end again, without references to objects of the calling code."""


class PublishedPart(PartEnd, Published):
    """The run of a part. It is written by itself."""

    @abstractmethod
    def write(self, changes: Record) -> Activity | None:
        """Write *changes*, in one step; return no activity if the task is missing in the store."""

    @abstractmethod
    def follow(self, activity: Activity) -> None:
        """Make the work stop, if an activity says so."""

    @abstractmethod
    def note_loss(self) -> None:
        """Note that the store does not have the part."""
