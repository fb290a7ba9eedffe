"""A run of a part of a task: what one worker does, as the publisher writes it to the store.

A part is stored by itself beside its task, and changes it by the rules of :mod:`.model.parts`: no process coordinates
the workers. What a worker publishes of its part is one atomic step of the store.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import ClassVar

from pyramid.config import global_registries

from ..model.messages import message_members
from ..model.record import HEARTBEAT, RUN, Activity, Record, Start
from ..model.values import encode, encode_number
from ..runtime import REGISTRY_KEY, Runtime
from ..statuses import request_cancel
from ..storage import Storage, StorageError
from .errors import is_expected
from .events import TaskEnded, announce
from .parts import PartValue, step_of
from .position import overall, share
from .published import PartEnd, PublishedPart, TaskMissing
from .publisher import publisher
from .run import TaskRun

log = logging.getLogger(__name__)

#: Seconds for which a task may be missing from the store before it counts as lost: the process that started it may be
#: about to write it.
_LOST_AFTER = 1.0

#: What the store has of a part that has just been started.
_STARTED: Record = {'status': '"running"', 'message': 'null', 'current': '0'}


class PartRun(TaskRun, PublishedPart):
    """A run of a part. The publisher writes it by itself, and not together with the tasks of the process.

    :param part: the part
    """

    #: A part that is released is not pending: its task goes on.
    _released: ClassVar[Record] = {}

    def __init__(self, part: PartValue) -> None:
        super().__init__(part.label, part.owner, tags=part.tags, progress_id=part.progress_id)
        if REGISTRY_KEY not in self.registry:
            # A thread or process of its own. Whichever application the process has made is to know of the end.
            self.registry = global_registries.last or self.registry
        self.part = part
        self.span.weight = part.weight
        self._writer = _Writer(part, self.runtime)

    def start(self, status: str = 'running', mode: Start = Start.ANY) -> 'PartRun':
        """Start the part. A store that does not answer does not stop the work."""
        self._status = status
        self._known = dict(_STARTED)
        try:
            storage, expire, _ = self.runtime.store()
            now = storage.now()
            self._begin_run(now)
            self._writer.number = self.number
            activity = self._writer.start(storage, expire)
            self.published({HEARTBEAT: repr(now)})
            if activity is None:
                self.note_loss()
            else:
                self.follow(activity)
        except StorageError as error:
            if not self.number:  # otherwise the store may have taken this run, although it did not say so
                self._begin_run(time.time())
                self._writer.number = self.number
            self.note_loss()
            log.warning('A part of task %s starts, but the store of progress does not answer: %s', self.id, error)
        publisher.publish(self)
        return self

    def mark_running(self) -> None:
        """Make the task running, if it is pending."""
        try:
            storage, expire, _ = self.runtime.store()
            storage.update_active({self.id: {'status': '"running"'}}, expire, {self.id: self.part.run})
        except StorageError as error:
            log.warning('The store of progress did not take the status of task %s: %s', self.id, error)

    def request_cancel(self) -> bool:
        """Ask the whole task to stop; return whether it is cancellable."""
        if self._end:
            return False
        try:
            storage, expire, _ = self.runtime.store()
            is_asked = request_cancel(storage, self.id, expire, self.part.run)
        except StorageError as error:
            log.warning('The store of progress did not take the cancel request of task %s: %s', self.id, error)
            return False
        if is_asked:
            self.cancel()
        return is_asked

    def announce_end(self) -> None:
        """Log a failure of the part; and if it was the last one, announce the end of the task."""
        error, self._error = self._error, None
        if error is not None and self._end.get('status') == '"failed"':
            is_expected_error = is_expected(error) or not isinstance(error, Exception)
            log.log(
                logging.WARNING if is_expected_error else logging.ERROR,
                'Part %d of %d of task %s (%s) has failed',
                self.part.number + 1,
                self.part.total,
                self.id,
                self.label,
                exc_info=None if is_expected_error else error,
            )
        if self._writer.is_last:
            self._announce_task()

    def _announce_task(self) -> None:
        try:
            storage, _, _ = self.runtime.store()
            record = storage.get_many([self.id]).get(self.id, {})
        except StorageError as failure:
            log.warning('The end of task %s cannot be read: %s', self.id, failure)
            record = {}
        variable = {name: json.loads(record.get(name, 'null')) for name in ('status', 'message', 'current', 'length')}
        duration = datetime.now(timezone.utc) - datetime.fromisoformat(self.part.started)
        event = TaskEnded(
            progress_id=self.id,
            label=self.label,
            owner=self.owner,
            tags=self.tags,
            duration=max(duration.total_seconds(), 0.0),
            **variable,
        )
        announce(event, self.registry)

    # The publisher uses what follows.

    def write(self, changes: Record) -> Activity | None:
        """Write changes of the part, in one step; return no activity if the task is missing."""
        storage, expire, _ = self.runtime.store()
        return self._writer.write(storage, expire, changes, self.record)

    def write_end(self) -> Activity:
        """Write the end, and what the end of the part does to its task."""
        return self.ended().write_end()

    def ended(self) -> 'EndedPart':
        """Return what is needed to write the end again."""
        result = {name: text for name, text in self._end.items() if name == 'result'}
        return EndedPart(self._writer, self.record() | result)

    def follow(self, activity: Activity) -> None:
        """Do what an activity asks for."""
        if activity & Activity.CANCELLING or (activity & Activity.ENDED and self._is_task_cancelled()):
            self.cancel()

    def note_loss(self) -> None:
        """Note that the store does not have the part."""
        self._known = dict(_STARTED)
        self._next_heartbeat = 0.0

    def record(self) -> Record:
        """Return what the store has of the part, if it has all."""
        return {name: text for name, text in self._variable().items() if name in _STARTED or name[0] == '_'}

    def _is_task_cancelled(self) -> bool:
        storage, _, _ = self.runtime.store()
        return storage.get_many([self.id]).get(self.id, {}).get('status') == '"cancelled"'

    def _position(self) -> Record:
        weight = self.part.weight
        if self._end.get('status') == '"finished"':
            return {'current': _encode(weight)}
        spans = self._spans
        done = spans[0].done if len(spans) == 1 else overall(spans)
        length = spans[0].length
        if length is None or length < 0:
            return {'current': '0'}
        if done >= length:
            return {'current': _encode(weight)}
        if not done > 0:  # it is not a number if infinite floats were added
            return {'current': '0'}
        try:
            completed = weight * (done / length)
        except OverflowError:  # an int is too large for a float
            completed = share(spans[0], done)
        step = step_of(self.part.length)
        return {'current': _encode(math.floor(completed / step) * step)}


def _encode(completed: float) -> str:
    return encode_number('current', int(completed) if completed.is_integer() else completed)


class _Writer:
    """Writes a run of a part to the store.

    :param part: the part
    :param runtime: that of the process
    """

    def __init__(self, part: PartValue, runtime: Runtime) -> None:
        self.part = part
        self.runtime = runtime
        #: the number of the run of the part
        self.number = ''
        #: whether the end of this part has ended the task
        self.is_last = False
        self._missing_since: float | None = None

    @property
    def _runs(self) -> dict[str, str]:
        return {'task_run': self.part.run, 'part_run': self.number}

    def start(self, storage: Storage, expire: float) -> Activity | None:
        """Start the part, at 0; return no activity if the task is missing."""
        heartbeat = repr(storage.now())
        part = self.part
        return storage.start_part(part.progress_id, part.number, heartbeat=heartbeat, expire=expire, **self._runs)

    def write(self, storage: Storage, expire: float, changes: Record, record: Callable[[], Record]) -> Activity | None:
        """Write changes. If the store does not have the part, start it again, and write all that *record* returns.

        A task that stays missing is written as failed.
        """
        part = self.part
        activity = storage.update_part(part.progress_id, part.number, changes, expire=expire, **self._runs)
        if activity is None:
            activity = self.start(storage, expire)
            if activity is not None and not activity & (Activity.ENDED | Activity.SUPERSEDED):
                changes = record() | changes
                activity = storage.update_part(part.progress_id, part.number, changes, expire=expire, **self._runs)
        if activity is not None:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = time.monotonic()
        elif time.monotonic() >= self._missing_since + _LOST_AFTER:
            self._fail_task(storage, expire)
            activity = Activity.ENDED
        return activity

    def _fail_task(self, storage: Storage, expire: float) -> None:
        part = self.part
        record = {
            'status': '"failed"',
            'owner': encode('owner', part.owner),
            'label': encode('label', part.label),
            'tags': encode('tags', part.tags),
            'length': encode_number('length', part.length),
            'current': 'null',
            'started': encode('started', part.started),
            RUN: part.run,
            **message_members('lost'),
        }
        if storage.start(part.progress_id, record, expire, Start.RESTORE):  # otherwise a newer run is there
            log.error('Task %s (%s) has failed: the store has lost it', part.progress_id, part.label)


class EndedPart(PartEnd):
    """What is needed to write the end of a part again, without references to objects of the calling code."""

    def __init__(self, writer: _Writer, record: Record) -> None:
        self.id = writer.part.progress_id
        self.runtime = writer.runtime
        self._writer = writer
        self._record = record

    def record(self) -> Record:
        """Return the last state."""
        return self._record

    def ended(self) -> 'EndedPart':
        """Return this."""
        return self

    def write_end(self) -> Activity:
        """Write the end.

        :raises TaskMissing: if it is to be written again
        """
        storage, expire, _ = self.runtime.store()
        activity = self._writer.write(storage, expire, self._record, dict)
        if activity is None:
            raise TaskMissing
        if activity & Activity.LAST:
            self._writer.is_last = True
        return activity
