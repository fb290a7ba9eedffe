"""One stream: what to send next to one client."""

import json
import math
import random
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from ...model.record import TERMINAL_STATUSES
from ...model.status import UNKNOWN
from ..answers import STORE_TROUBLE
from .decisions import Decisions
from .hub import Hub, TaskState, event

#: Seconds after which a comment is sent if nothing else was. A server notices a client that has gone at the second or
#: third write.
COMMENT_INTERVAL = 3.0

#: Seconds after which access is decided again, at the latest.
CHECK_INTERVAL = 30.0

#: Seconds between two decisions at least, however often the runs of the tasks change, and if the store does not answer.
MIN_CHECK_INTERVAL = 0.5
RETRY_INTERVAL = 5.0

#: Seconds after which a stream whose tasks are unknown ends.
UNKNOWN_TIMEOUT = 60.0

#: Seconds after which any stream ends, at the latest.
MAX_AGE = 900.0

_COMMENT = b':\n\n'
_TROUBLE = b'event: trouble\ndata: ' + json.dumps({'message': STORE_TROUBLE}).encode('ascii') + b'\n\n'


def _round_down(at: float, interval: float) -> float:
    """Round a time down, so that many streams share it: to wake them at the same time costs less.

    :param at: the time
    :param interval: the result is earlier than *at* by at most a thirtieth of this
    """
    slot = interval / 30
    return math.floor(at / slot) * slot


class Action(Enum):
    """What a stream needs, apart from sending and waiting."""

    #: Decide about access again, and call :meth:`Stream.renew` or :meth:`Stream.postpone`. It can be driven meanwhile.
    CHECK = 'check'
    #: End.
    CLOSE = 'close'


class Stream:
    """A client that follows some tasks.

    The server's part calls :meth:`step`, does what that returns, and calls it again.

    :param hub: the hub, which must be given the stream with :meth:`.Hub.add`
    :param progress_ids: the ids of the tasks, each once
    :param decisions: what its user may do with them
    :param wake: called, in any thread, if there may be something to send before the time that :meth:`step` returned
    :param now: the time by :func:`time.monotonic`
    """

    def __init__(
        self, hub: Hub, progress_ids: Sequence[str], decisions: Decisions, wake: Callable[[], None], now: float
    ) -> None:
        self.progress_ids = progress_ids
        self.wake = wake
        self._hub = hub
        self._localizer: Any = decisions.localizer
        self._grants = decisions.grants
        # States that are not sent yet, by id.
        self._states: dict[str, TaskState] = {}
        self._ended: set[str] = set()
        self._unknown_since: dict[str, float] = {}
        self._is_troubled = False
        self._is_closing = False
        self._is_checking = False
        self._sent_at = now
        # The next look at whether a comment is due.
        self._comment_at = _round_down(now + COMMENT_INTERVAL, COMMENT_INTERVAL)
        self._checked_at = now
        self._check_at = self._next_check(now)
        self._close_at = now + MAX_AGE * random.uniform(0.8, 1)  # noqa: S311

    def close(self) -> None:
        """End it at its next step."""
        self._is_closing = True
        self.wake()

    def step(self, now: float) -> bytes | float | Action:
        """Return what to do: send some bytes, wait for :attr:`wake` for some seconds, or an :class:`Action`.

        :param now: the time by :func:`time.monotonic`
        """
        if self._is_closing or now >= self._close_at:
            return Action.CLOSE
        data = self._trouble() + self._events(now)
        if data:
            self._sent_at = now
            return data
        over_at = self._over_at()
        if now >= over_at:
            return Action.CLOSE
        if now >= self._check_at:
            self._is_checking = True
            self._check_at = math.inf
            return Action.CHECK
        if now >= self._comment_at:
            # Most streams have sent something since the last look. To set the time at each event costs more.
            due_at = _round_down(self._sent_at + COMMENT_INTERVAL, COMMENT_INTERVAL)
            if now >= due_at:
                self._sent_at = now
                self._comment_at = _round_down(now + COMMENT_INTERVAL, COMMENT_INTERVAL)
                return _COMMENT
            self._comment_at = due_at
        return min(self._comment_at, self._check_at, self._close_at, over_at) - now

    def renew(self, decisions: Decisions | None, now: float) -> None:
        """Go on with new decisions. If they hide a task that the user sees, the stream ends.

        The next request of the client, which has its present cookies, decides what it shows.

        :param decisions: the decisions; None if the application refused the request
        :param now: the time by :func:`time.monotonic`
        """
        if decisions is None or self._hides_a_visible_task(decisions):
            self._is_closing = True
            return
        changed = {id for id, grant in decisions.grants.items() if grant != self._grants.get(id)}
        self._localizer, self._grants = decisions.localizer, decisions.grants
        self._hub.show_again(self, changed)
        self._is_checking = False
        self._checked_at = now
        self._check_at = self._next_check(now)

    def postpone(self, now: float) -> None:
        """Keep the decisions for a while, because the store did not answer.

        :param now: the time by :func:`time.monotonic`
        """
        self._is_checking = False
        self._checked_at = now
        self._check_at = now + RETRY_INTERVAL

    def _hides_a_visible_task(self, decisions: Decisions) -> bool:
        """Return whether the user saw a run that the decisions hide.

        A later run that is hidden is as unknown as a task that was removed: the stream goes on in both cases.
        """
        return any(
            old.may_see and not new.may_see and old.identity == new.identity
            for progress_id, new in decisions.grants.items()
            if (old := self._grants.get(progress_id)) is not None
        )

    def _next_check(self, now: float) -> float:
        # Spread, so that the streams that opened together after a restart do not check together.
        return _round_down(now + CHECK_INTERVAL * random.uniform(0.8, 1), CHECK_INTERVAL)  # noqa: S311

    def _trouble(self) -> bytes:
        """Return the event ``trouble`` if the store has stopped answering since the last call, otherwise no bytes."""
        was_troubled, self._is_troubled = self._is_troubled, self._hub.is_troubled
        return _TROUBLE if self._is_troubled and not was_troubled else b''

    def _events(self, now: float) -> bytes:
        """Return the events of the tasks that have changed, apart from those whose run was not decided about yet."""
        self._states |= self._hub.take(self)
        if not self._states:
            return b''
        events = []
        for progress_id, state in list(self._states.items()):
            grant = self._grants.get(progress_id)
            if state.identity is not None and (grant is None or grant.identity != state.identity):
                if not self._is_checking:
                    self._check_at = min(self._check_at, self._checked_at + MIN_CHECK_INTERVAL)
                continue
            del self._states[progress_id]
            self._ended.discard(progress_id)
            if state.identity is not None and grant is not None and grant.may_see:
                self._unknown_since.pop(progress_id, None)
                if state.status['status'] in TERMINAL_STATUSES:
                    self._ended.add(progress_id)
                events.append(state.event(self._localizer, may_cancel=grant.may_cancel))
            elif progress_id not in self._unknown_since:  # changes of a hidden task do not show that it exists
                self._unknown_since[progress_id] = now
                events.append(event(progress_id, UNKNOWN))
        return b''.join(events)

    def _over_at(self) -> float:
        """Return when each task will have ended, or been unknown for long; infinity if one is active."""
        if self._states or len(self._ended) + len(self._unknown_since) < len(self.progress_ids):
            return math.inf
        return max(self._unknown_since.values(), default=-math.inf) + UNKNOWN_TIMEOUT
