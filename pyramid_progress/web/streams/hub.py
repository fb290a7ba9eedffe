"""The hub: it watches the store for all streams of a process."""

import json
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Lock
from time import monotonic
from typing import Any, Protocol

from ...model.status import UNKNOWN, decode, stalls_at, to_status
from ...runtime import Store
from ..description import describe, is_cancellable
from .decisions import Decisions, Identity, identity_of

log = logging.getLogger(__name__)

#: Seconds between two reads while the store does not answer.
_TROUBLE_PAUSE = 1.0

#: The pause after a read is at least this many times its duration, so that the hub uses at most a fifth of a processor.
_REST = 4


def event(progress_id: str, status: Mapping[str, Any]) -> bytes:
    """Return a status as a server-sent event."""
    return b'data: ' + json.dumps({'id': progress_id, **status}).encode('ascii') + b'\n\n'


class TaskState:
    """The state of a task at a time, which its streams share. It does not change.

    :param progress_id: the id of the task
    :param text: its record as JSON text; None if there is none
    :param now: the time by the store's clock, in seconds
    """

    __slots__ = ('_events', '_is_cancellable', '_members', '_progress_id', 'identity', 'stalls_at', 'status', 'text')

    def __init__(self, progress_id: str, text: str | None, now: float) -> None:
        self._progress_id = progress_id
        self._events: dict[tuple[str, bool], bytes] = {}
        self.text = text
        self.status = UNKNOWN
        self._is_cancellable = False
        #: None if the task is not known.
        self.identity: Identity | None = None
        #: When it will be stalled if its record does not change, by the store's clock.
        self.stalls_at = math.inf
        if text is not None:
            self._members = members = decode(text)
            self._is_cancellable = is_cancellable(members)
            self.identity = identity_of(members)
            self.status = to_status(members, lambda: now)
            if self.status['status'] != 'stalled':
                self.stalls_at = stalls_at(members)

    def looks_like(self, other: 'TaskState') -> bool:
        """Return whether users see no difference: a heartbeat, for example, changes the record only."""
        return (
            self.status == other.status
            and self.identity == other.identity
            and self._is_cancellable == other._is_cancellable
        )

    def event(self, localizer: Any, *, may_cancel: bool) -> bytes:
        """Return the event for a user who may see the task. Users with the same language and rights share it."""
        may_cancel = may_cancel and self._is_cancellable
        key = (localizer.locale_name, may_cancel)
        if key not in self._events:
            described = describe(self._members, self.status, lambda: localizer, may_cancel=may_cancel)
            self._events[key] = event(self._progress_id, described)
        return self._events[key]


class Subscriber(Protocol):
    """A stream, as the hub knows it."""

    progress_ids: Sequence[str]
    #: Called if there is something to send.
    wake: Callable[[], None]


class _Watched:
    """A task that streams watch."""

    __slots__ = ('state', 'streams')

    def __init__(self, state: TaskState) -> None:
        self.state = state
        self.streams: set[Subscriber] = set()


class Hub:
    """Reads the records of all tasks that streams watch, and gives each stream the latest state of those that changed.

    It runs when :meth:`tick` is called. All methods may be called in any thread.

    :param store: returns the store of the application
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self._lock = Lock()
        self._tasks: dict[str, _Watched] = {}
        #: The streams, each with the ids of its tasks that have changed since it last asked. An id stands there once,
        #: however often the task changes: a slow client needs no more memory than a fast one.
        self._changed: dict[Subscriber, set[str]] = {}
        #: Whether the store did not answer the last read.
        self.is_troubled = False
        #: Seconds until the next read should begin.
        self.pause = 0.0

    @property
    def number_of_tasks(self) -> int:
        """How many tasks it watches."""
        return len(self._tasks)

    def add(self, stream: Subscriber, decisions: Decisions) -> None:
        """Watch the tasks of a stream.

        :param stream: the stream, all of whose tasks count as changed
        :param decisions: what its user may do with them, with their records
        """
        with self._lock:
            if not self._changed:
                self.is_troubled = False  # nothing was read since the last stream left
            for progress_id in stream.progress_ids:
                watched = self._tasks.get(progress_id)
                if watched is None:
                    state = TaskState(progress_id, decisions.texts.get(progress_id), decisions.now)
                    watched = self._tasks[progress_id] = _Watched(state)
                watched.streams.add(stream)
            self._changed[stream] = set(stream.progress_ids)

    def remove(self, stream: Subscriber) -> None:
        """Forget a stream, and the tasks that no other one watches. It need not be known."""
        with self._lock:
            if self._changed.pop(stream, None) is None:
                return
            for progress_id in stream.progress_ids:
                watched = self._tasks.get(progress_id)
                if watched is not None:
                    watched.streams.discard(stream)
                    if not watched.streams:
                        del self._tasks[progress_id]

    def take(self, stream: Subscriber) -> dict[str, TaskState]:
        """Return the states of those tasks of a stream that have changed since the last call, by id."""
        with self._lock:
            changed = self._changed.get(stream)
            if not changed:
                return {}
            self._changed[stream] = set()
            return {id: self._tasks[id].state for id in stream.progress_ids if id in changed}

    def show_again(self, stream: Subscriber, progress_ids: Collection[str]) -> None:
        """Count some tasks of a stream as changed."""
        with self._lock:
            if stream in self._changed:
                self._changed[stream].update(progress_ids)

    def tick(self) -> Collection[Subscriber]:
        """Read the watched records once, and return the streams that have something to send."""
        with self._lock:
            watched = dict(self._tasks)
        if not watched:
            return ()
        started = monotonic()
        try:
            storage = self._store().storage
            texts = storage.get_many_serialized(list(watched))
            now = storage.now()
            states = {
                progress_id: TaskState(progress_id, texts.get(progress_id), now)
                for progress_id, task in watched.items()
                if texts.get(progress_id) != task.state.text or now > task.state.stalls_at
            }
        except Exception as error:  # noqa: BLE001  (whatever it is, the hub goes on)
            self.pause = _TROUBLE_PAUSE
            return self._note_trouble(error)
        self.pause = max(storage.watch_interval, _REST * (monotonic() - started))
        woken: set[Subscriber] = set()
        with self._lock:
            for progress_id, state in states.items():
                old, watched[progress_id].state = watched[progress_id].state, state
                if state.looks_like(old):
                    continue
                woken |= watched[progress_id].streams
                for stream in watched[progress_id].streams:
                    self._changed[stream].add(progress_id)
            if self.is_troubled:
                self.is_troubled = False
                for stream, changed in self._changed.items():
                    changed.update(stream.progress_ids)
                woken.update(self._changed)
        return woken

    def _note_trouble(self, error: Exception) -> Collection[Subscriber]:
        if self.is_troubled:
            return ()
        self.is_troubled = True
        log.warning('The tasks of event streams cannot be read: %s', error)
        with self._lock:
            return list(self._changed)
