"""Which loops and bars are inside others: of those, only the outermost counts."""

from abc import ABC, abstractmethod
from contextvars import ContextVar


class Counter(ABC):
    """A loop, or a bar that is updated by hand, that counts the steps of a task or of a stage.

    :param stage: the :class:`.position.Span` of the task or the stage
    :param is_loop: whether it is a loop
    """

    def __init__(self, stage: object, is_loop: bool) -> None:
        self.stage = stage
        self.is_loop = is_loop
        #: Whether it counts for the stage, because it is inside no other.
        self.counts = True

    @property
    @abstractmethod
    def has_begun(self) -> bool:
        """Whether it has begun to take items, if it is a loop."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether it has not ended."""

    def encloses(self, other: 'Counter') -> bool:
        """Return whether *other*, which is newer and of the same context, is inside this one.

        Two loops follow one another, or take turns as in ``zip()``, if the first has not begun.
        """
        return self.has_begun or not (self.is_loop and other.is_loop)


#: The counters that were made in this context and have not ended, the oldest first. A new thread or asynchronous task
#: has none, or those of the context that it was given a copy of.
_counters: ContextVar[tuple[Counter, ...]] = ContextVar('counters', default=())


def enter(counter: Counter) -> list[Counter]:
    """Add a new counter to this context, and determine whether it counts.

    :return: the counters of the same stage that it is inside, the outermost first
    """
    counters = [other for other in _counters.get() if other.is_open]
    _counters.set((*counters, counter))
    around = [other for other in counters if other.stage is counter.stage and other.encloses(counter)]
    counter.counts = not any(other.counts for other in around)
    return around
