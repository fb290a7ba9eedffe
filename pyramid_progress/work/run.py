"""A run of a task: its position and its end, as the publisher writes them to the store."""

import json
import logging
import secrets
import time
from collections.abc import Callable
from threading import RLock
from typing import Any, ClassVar, SupportsFloat

from pyramid.threadlocal import get_current_registry

from ..model.messages import message_members
from ..model.parts import PARTS
from ..model.record import (
    CANCEL,
    CANCELLABLE,
    CHANGED,
    HEARTBEAT,
    HEARTBEAT_INTERVAL,
    RUN,
    Record,
    Start,
    has_ended,
    new_run,
)
from ..model.values import check_id, encode, encode_number, to_number
from ..runtime import get_runtime
from ..statuses import new_record, request_cancel
from ..storage import StorageError
from ..system import process
from .errors import IdInUseError, TaskCancelled, end_of
from .events import TaskEnded, announce
from .origin import Origin
from .position import CancelFlag, Span, add, overall, share
from .publisher import publisher

log = logging.getLogger(__name__)

#: The heartbeat of a task that no process sends heartbeats for: it never stalls. JSON has no infinity, but this number
#: is read as an infinite float.
AT_REST = '1e999'

#: The member with the name of the node, such as the Celery worker, that runs the task.
_NODE = '_node'


def new_progress_id() -> str:
    """Return a progress id of 128 random bits, which cannot be guessed."""
    return secrets.token_hex(16)


class TaskRun:
    """A run of a task, apart from the :class:`.task.Task` that its user holds.

    The publisher holds this, and so does not keep the user's object alive. Integrations, such as
    :mod:`pyramid_progress.celery`, work with it directly.

    :param label: the name of the task
    :param owner: the user whose task it is; None for no particular user
    :param length: the total amount of work, None if it is not known
    :param tags: any JSON value
    :param progress_id: its id; None for a new one
    :param cancellable: whether it can be asked to stop
    """

    #: What a release changes, beside the message and the heartbeat.
    _released: ClassVar[Record] = {'status': '"pending"'}

    def __init__(
        self,
        label: Any,
        owner: Any = None,
        length: SupportsFloat | None = None,
        tags: Any = None,
        progress_id: str | None = None,
        cancellable: bool = True,
    ) -> None:
        process.check_threads()
        self.id = new_progress_id() if progress_id is None else check_id(progress_id)
        self.runtime = get_runtime()
        self.registry = get_current_registry()
        self.label = label
        self.owner = owner
        self.tags = tags
        #: The number of the run; the store's clock at its start decides it.
        self.number = ''
        #: Whether a newer run of the id exists: then this one is no longer published.
        self.is_superseded = False
        #: The innermost span that is being done: the task, or a stage of it.
        self.span = Span(None if length is None else to_number('length', length))
        self.is_cancelled = False
        #: Whether the work is in the task's own block, whose exception decides the end.
        self.is_in_block = False
        #: Whether an error that leaves the block may be followed by another attempt at the work, for which the run is
        #: forgotten; None if there is none. The caller that sets it calls :meth:`settle`.
        self.may_be_undone: Callable[[BaseException], bool] | None = None
        #: What the work keeps of the request that submitted it, for :func:`.new_request`; None if it is not known.
        self.origin: Origin | None = None
        #: Whether the task has parts: then its position is theirs, and it ends with the last of them.
        self.is_divided = False
        #: What the loops of the task test at each step.
        self.cancel_flag = CancelFlag()
        self._spans: tuple[Span, ...] = (self.span,)
        self._fixed = new_record(owner, label, tags, self.span.length, 0)
        if cancellable:
            self._fixed[CANCELLABLE] = 'true'
        self._status = 'pending'
        self._end: Record = {}
        # The message and the result that finish() was called with inside the block.
        self._finish: Record = {}
        self._known: Record = {}
        self._next_heartbeat = 0.0
        self._lock = RLock()
        self._error: BaseException | None = None
        # The error after which the work may be attempted again.
        self._unsettled: BaseException | None = None
        self._began = time.monotonic()
        self._epoch = publisher.epoch

    def start(self, status: str = 'running', mode: Start = Start.ANY) -> 'TaskRun':
        """Store the task with a first *status*, 'running' or 'pending', and publish it.

        :param status: the first status
        :param mode: which records the task may replace
        :raises IdInUseError: if it may not replace the record of its id
        """
        self._status = status
        try:
            storage, expire, _ = self.runtime.store()
            now = storage.now()
            self._begin_run(now)
            changes = self.changes(now)
            if not storage.start(self.id, self.record() | changes, expire, mode):
                raise IdInUseError(
                    f'progress_id {self.id!r} is in use by another {"task" if mode is Start.NEW else "owner"}'
                )
            self.published(changes)
        except StorageError as error:
            if not self.number:  # otherwise the store may have taken this run, although it did not say so
                self._begin_run(time.time())
            log.warning('Task %s starts, but the store of progress does not answer: %s', self.id, error)
        publisher.publish(self)
        return self

    def enqueue(self) -> None:
        """Store the task as pending, for the process that will resume it. It is not published.

        :raises IdInUseError: if its id is in use by another owner
        """
        try:
            storage, expire, _ = self.runtime.store()
            self._begin_run(storage.now())
            if not storage.start(self.id, self.record() | {HEARTBEAT: AT_REST}, expire):
                raise IdInUseError(f'progress_id {self.id!r} is in use by another owner')
        except StorageError as error:
            log.warning('Task %s is sent, but the store of progress does not answer: %s', self.id, error)

    def resume(self, node: str | None = None) -> bool:
        """Run and publish a task that another process stored, as a new run of it, whose end the caller reports.

        :param node: the name of the node that runs it, for :func:`set_resting_status`
        :return: False if the task was asked to stop
        """
        self._status = 'running'
        self.is_in_block = True
        if node is not None:
            self._fixed[_NODE] = encode('node', node)
        try:
            storage, expire, _ = self.runtime.store()
            record = storage.get_many((self.id,)).get(self.id, {})
            if CANCEL in record or record.get('status') == '"cancelled"':
                set_resting_status(self.id, 'cancelled')
                return False
            # The process that stored the task decided its owner, label and start.
            self._fixed |= {name: record[name] for name in self._fixed if name in record and name != _NODE}
            self.owner, self.label, self.tags = (json.loads(self._fixed[name]) for name in ('owner', 'label', 'tags'))
            now = storage.now()
            self._begin_run(now)
            changes = self.changes(now)
            if not record or has_ended(record):
                storage.start(self.id, self.record() | changes, expire)
            else:
                # Not a new start, which would drop a cancel request.
                run = {name: self._fixed[name] for name in (RUN, _NODE) if name in self._fixed}
                storage.update_active({self.id: changes | run}, expire)
            self.published(changes)
        except StorageError as error:
            if not self.number:
                self._begin_run(time.time())
            log.warning('Task %s begins, but the store of progress does not answer: %s', self.id, error)
        publisher.publish(self)
        return True

    def release(self, code: str | None = None) -> None:
        """Make a task that has not ended pending (again), for the process that will resume it; a part only rests.

        :param code: the code of its message, a key of :data:`.messages.MESSAGES`; None for no message
        """
        message = {} if code is None else message_members(code)
        with self._lock:
            if self._end:
                return
            self._end = {**self._released, **message, HEARTBEAT: AT_REST}
        publisher.release(self)

    def discard(self) -> None:
        """Remove the record of a pending task, as if it had never been started. A task that has ended stays."""
        if self._epoch is not publisher.epoch:
            return
        with self._lock:
            if self._end:
                return
            self._end = {'status': '"cancelled"'}  # it cannot begin any more
        publisher.remove(self)

    def _begin_run(self, now: float) -> None:
        """Take the number of a run that starts at *now*, in seconds by the store's clock."""
        self.number = self._fixed[RUN] = new_run(now)

    def divide(self, count: int, length: float) -> str:
        """Give the task parts, and store that.

        :param count: how many, at least 1
        :param length: the length of the task from now on
        :return: the start of the task, as its status has it
        """
        with self._lock:
            self.span.length = length
            self.span.adds_up = False
            self._fixed |= {'length': _encode_position(length), PARTS: str(count)}
            self.is_divided = True
        publisher.flush(self)
        started: str = json.loads(self._fixed['started'])
        return started

    def begin(self) -> bool:
        """Turn a pending task into a running one; return False if it has ended."""
        with self._lock:
            if self._end:
                return False
            self._status = 'running'
            return True

    def enter(self, span: Span) -> None:
        """Make a stage the innermost span."""
        with self._lock:
            self._spans = (*self._spans, span)
            self.span = span

    def leave(self, span: Span, is_done: bool) -> None:
        """Leave a stage. Its whole weight counts if it is done; otherwise the share that is completed does."""
        with self._lock:
            if span not in self._spans:
                return  # another thread has left an outer stage, and this one with it
            index = self._spans.index(span)
            outer = self._spans[index - 1]
            part = span.weight if is_done else share(span, span.done)
            self._spans = self._spans[:index]
            self.span = outer
            if outer.length is not None:
                outer.position = add(outer.position, part)

    def check(self) -> None:
        """Raise :class:`.TaskCancelled` if the task was asked to stop."""
        if self.is_cancelled:
            raise TaskCancelled

    def finish(self, message: Any, result: dict[str, Any] | None) -> None:
        """End the task as finished; inside its block, as soon as the block is left without an exception.

        :param message: its last message
        :param result: its result, a dict
        """
        members = {'message': message, 'result': result}
        given = {name: encode(name, value) for name, value in members.items() if value is not None}
        with self._lock:
            if self.is_in_block:
                self._finish = given | self._finish
                return
        self.end('finished', message, result)

    def end_with(self, error: BaseException | None) -> None:
        """End the task as *error* says, which leaves its block (see :func:`.end_of`); None finishes it."""
        if error is None:
            self.end('finished')
            return
        if self.may_be_undone is not None and self.may_be_undone(error):
            self._unsettled = error
            return
        end = end_of(error)
        self.end(end.status, end.message, code=end.code, error=error, at_once=end.code != 'interrupted')

    def settle(self, *, is_undone: bool) -> None:
        """Forget the run if another attempt follows; otherwise end it, if its block was left by an error.

        :param is_undone: whether another attempt follows
        """
        self.may_be_undone = None
        error, self._unsettled = self._unsettled, None
        if is_undone:
            with self._lock:
                self._end = self._end or {'status': '"cancelled"'}
            publisher.remove(self)
        elif error is not None:
            self.end_with(error)

    def end(
        self,
        status: str,
        message: Any = None,
        result: Any = None,
        *,
        code: str | None = None,
        error: BaseException | None = None,
        at_once: bool = True,
    ) -> None:
        """End the task, unless it has ended, or this is a forked child, whose parent goes on with it.

        :param status: a terminal status
        :param message: its last message
        :param result: its result, a dict
        :param code: instead of *message*, a key of :data:`.messages.MESSAGES`
        :param error: the exception that ends it, for the log and :class:`.TaskEnded`
        :param at_once: whether to write the end in the calling thread; otherwise the publisher's thread does
        """
        if self._epoch is not publisher.epoch:
            return
        if self.is_divided and status == 'finished':
            self.rest(result)
            return
        members = message_members(code) if code else {'message': encode('message', message)}
        end = {'status': encode('status', status), **members, CHANGED: str(int(time.time()))}
        if result is not None:
            end['result'] = encode('result', result)
        if self.is_divided:
            end[CANCEL] = 'true'  # its parts stop
        with self._lock:
            if self._end:
                return
            self._end = end | self._finish if status == 'finished' else end
            self._error = error
        publisher.end(self, at_once=at_once)

    def rest(self, result: Any = None) -> None:
        """Leave a task with parts to them: it goes on without heartbeats of its own.

        :param result: its result, a dict
        """
        given = {} if result is None else {'result': encode('result', result)}
        with self._lock:
            if self._end:
                return
            self._end = given | self._finish | {HEARTBEAT: AT_REST}
        publisher.end(self)

    def announce_end(self) -> None:
        """Log the end, and notify the subscribers of :class:`.TaskEnded`."""
        if 'status' not in self._end:
            return  # it has not ended: it rests
        # The position of parts is not known here.
        unknown = {'current': 'null', 'length': self._fixed['length']}
        variable = {name: json.loads(text) for name, text in (unknown | self._variable()).items() if name[0] != '_'}
        event = TaskEnded(
            progress_id=self.id,
            label=self.label,
            owner=self.owner,
            tags=self.tags,
            status=variable['status'],
            message=variable['message'],
            current=variable['current'],
            length=variable['length'],
            duration=time.monotonic() - self._began,
            error=self._error,
        )
        # The traceback references the frames of the work, and so would keep the user's object alive.
        self._error = None
        announce(event, self.registry)

    def changes(self, now: float) -> Record:
        """Return the members that the store does not have yet, with a heartbeat if one is due."""
        changes = {name: text for name, text in self._variable().items() if self._known.get(name) != text}
        if time.monotonic() >= self._next_heartbeat:
            changes[HEARTBEAT] = repr(now)
        return changes

    def published(self, changes: Record) -> None:
        """Note that the store has these *changes* now."""
        self._known = self._known | changes
        if HEARTBEAT in changes:
            self._next_heartbeat = time.monotonic() + HEARTBEAT_INTERVAL

    def last_changes(self) -> Record:
        """Return what is written at the end."""
        if not self.is_divided:
            return self.record()
        return {name: text for name, text in self._variable().items() if self._known.get(name) != text}

    def record(self) -> Record:
        """Return the whole record."""
        heartbeat = {HEARTBEAT: self._known[HEARTBEAT]} if HEARTBEAT in self._known else {}
        record = self._fixed | heartbeat | self._variable()
        if PARTS in self._known and not has_ended(record):
            # The store has lost it, with the parts that have ended.
            record |= {'status': '"failed"', **message_members('lost')}
        return record

    def lose(self) -> bool:
        """End a task with parts that the store has lost: those that have ended cannot be counted any more.

        :return: whether it has stored parts; any other task can be written again
        """
        if PARTS not in self._known:
            return False
        self.end('failed', code='lost', at_once=False)
        return True

    def _variable(self) -> Record:
        """Return the members that change during the work."""
        spans = self._spans
        words = [span.label for span in spans[1:]]
        if spans[-1].message is not None or not words:
            words.append(spans[-1].message)
        message = words[0] if len(words) == 1 else ': '.join(map(str, words))
        members = {'status': encode('status', self._status), 'message': encode('message', message)}
        if not self.is_divided:
            members |= self._position()
        elif PARTS not in self._known:
            members |= {'length': self._fixed['length'], 'current': '0', PARTS: self._fixed[PARTS]}
        return members | self._end

    def _position(self) -> Record:
        """Return the members that say how much is completed."""
        spans = self._spans
        return {'length': _encode_position(spans[0].length), 'current': _encode_position(overall(spans))}

    def cancel(self) -> None:
        """Make the work stop at its next step."""
        with self._lock:
            if self.is_cancelled or CANCELLABLE not in self._fixed:
                return
            self.is_cancelled = True
            for span in self._spans:
                span.freeze()
            self.cancel_flag.set()
        if self._status == 'pending':
            self.end('cancelled', at_once=False)

    def request_cancel(self) -> bool:
        """Ask the task to stop, as any reader can with :func:`.cancel_task`; return whether it is cancellable."""
        if CANCELLABLE not in self._fixed or self._end:
            return False
        self.cancel()
        try:
            storage, expire, _ = self.runtime.store()
            request_cancel(storage, self.id, expire, self.number)
        except StorageError as error:
            log.warning('The store of progress did not take the cancel request of task %s: %s', self.id, error)
        return True

    def interrupt(self) -> None:
        """End the task, because its process ends."""
        self.end('failed', code='interrupted', at_once=False)


def result_of(value: Any) -> dict[str, str] | None:
    """Return what the function of a task returned, if it is a result that a bar can show."""
    if isinstance(value, dict) and value and value.keys() <= {'url', 'text'}:
        return value if all(isinstance(text, str) for text in value.values()) else None
    return None


def set_resting_status(
    progress_id: str,
    status: str,
    message: Any = None,
    *,
    code: str | None = None,
    node: str | None = None,
    overrule: bool = False,
) -> None:
    """Change the status of a task that does not run in this process. A store that is down is logged.

    :param progress_id: the task's id
    :param status: its new status
    :param message: its new message
    :param code: instead of *message*, a key of :data:`.messages.MESSAGES`
    :param node: change it only if no other node than this one runs it
    :param overrule: whether to change a task that has ended, too
    """
    members = message_members(code) if code else {'message': encode('message', message)}
    changes = {'status': encode('status', status), **members, HEARTBEAT: AT_REST}
    try:
        storage, expire, _ = get_runtime().store()
        record = storage.get_many((progress_id,)).get(progress_id)
        if record is None or (node is not None and record.get(_NODE, encode('node', node)) != encode('node', node)):
            return
        if overrule:
            storage.update(progress_id, changes, expire)
        else:
            # Only this run: another process may resume the task in the meantime.
            runs = {progress_id: record[RUN]} if RUN in record else None
            storage.update_active({progress_id: changes}, expire, runs)
    except StorageError as error:
        log.error('The store of progress did not take the status %r of task %s: %s', status, progress_id, error)


def _encode_position(position: float | None) -> str:
    """Return the JSON text of a position or a length.

    It is null if the number is not finite, or has more digits than Python converts to text.
    """
    try:
        return encode_number('current', position)
    except ValueError:
        return 'null'
