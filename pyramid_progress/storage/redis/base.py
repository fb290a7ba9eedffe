"""What the drivers for one Redis server and for a cluster have in common: arguments and answers of the scripts."""

import heapq
import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from time import monotonic
from typing import Any

from ...model.record import Activity, Record, Start, dump
from ..interface import Entry, Storage
from .script import RecordScripts, Script

#: How many keys are read or changed at a time, so that many do not block the server.
KEYS_PER_CALL = 500

#: Seconds for which the difference between the server's clock and this machine's is kept.
CLOCK_LIFETIME = 60

#: Seconds that a sample of the server's clock may take. After one that takes longer, because of a new connection or a
#: busy server, a second one is taken.
_QUICK_SAMPLE = 0.05

#: Stands for any run in the scripts.
ANY_RUN = '*'


class RedisDriver(Storage):
    """Tasks as string keys and hashes, which :class:`.script.RecordScripts` change.

    :param scripts: which change the records
    :param timeout: seconds to wait for an answer
    """

    def __init__(self, scripts: RecordScripts, timeout: float) -> None:
        self._scripts = scripts
        self._timeout = timeout
        self._clock = (0.0, -math.inf)

    def start(self, progress_id: str, record: Record, expire: float, mode: Start = Start.ANY) -> bool:
        now = milliseconds(self.now())
        return bool(self._change(self._scripts.start, progress_id, mode.value, expire, dump(record), now))

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._change(self._scripts.update, progress_id, 'update', expire, dump(changes))

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        return bool(self._change(self._scripts.end, progress_id, 'acknowledge', linger))

    def delete(self, progress_id: str, run: str | None = None) -> bool:
        return bool(self._change(self._scripts.end, progress_id, 'delete', 0, run or ANY_RUN))

    def start_part(
        self, progress_id: str, number: int, *, task_run: str, part_run: str, heartbeat: str, expire: float
    ) -> Activity | None:
        part = self._scripts.part
        return activity(self._change(part, progress_id, 'start', expire, number, task_run, part_run, heartbeat))

    def update_part(
        self, progress_id: str, number: int, changes: Record, *, task_run: str, part_run: str, expire: float
    ) -> Activity | None:
        part = self._scripts.part
        return activity(self._change(part, progress_id, 'update', expire, number, task_run, part_run, dump(changes)))

    def now(self) -> float:
        difference, good_until = self._clock
        if monotonic() >= good_until:
            took, difference = self._sample_clock()
            if _QUICK_SAMPLE < took < self._timeout / 2:
                _, difference = min((took, difference), self._sample_clock())
            self._clock = (difference, monotonic() + CLOCK_LIFETIME)
        return monotonic() + difference

    def _sample_clock(self) -> tuple[float, float]:
        """Return how many seconds the server took to answer, and how far its clock is ahead of :func:`monotonic`."""
        asked = monotonic()
        seconds, microseconds = self._time()
        answered = monotonic()
        return answered - asked, int(seconds) + int(microseconds) / 1e6 - (asked + answered) / 2

    @abstractmethod
    def _time(self) -> Sequence[int | bytes]:
        """Return the server's time: seconds, and microseconds."""

    @abstractmethod
    def _change(self, script: Script, progress_id: str, action: str, lifetime: float, *arguments: str | int) -> Any:
        """Return the answer of a script of :class:`.script.RecordScripts`.

        :param action: its ``ARGV[2]``
        :param lifetime: of the record from now on, in seconds
        :param arguments: those that follow
        """


def milliseconds(seconds: float) -> int:
    """Return a time in whole milliseconds."""
    return math.ceil(seconds * 1000)


def activity(answer: int) -> Activity | None:
    """Return the activity that a script returned as a number."""
    return None if answer < 0 else Activity(answer)


def record_text(value: bytes) -> str | None:
    """Return the text of a record; None if the value is something else."""
    if value.startswith(b'{"') and value.endswith(b'\n}') and b'"status":' in value:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return None


def merged_entries(answers: Iterable[Sequence[bytes]], limit: int) -> list[Entry]:
    """Return the entries of some indexes, each once, in descending order.

    :param answers: for each index, ids and starts in turn, in descending order
    :param limit: how many to return at most
    """
    indexes = (
        [Entry(int(start), progress_id.decode()) for progress_id, start in zip(*[iter(index)] * 2, strict=True)]
        for index in answers
    )
    return list(islice((entry for entry, _ in groupby(heapq.merge(*indexes, reverse=True))), limit))
