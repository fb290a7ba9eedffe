"""Tasks in Redis: every operation is one atomic step in the server, and one round trip.

A record is a string key with the text of :func:`.record.dump`, which the server lets expire. An index is a sorted set
of ids by the start of their run; it is read in parts, so that a long one does not block the server. The scripts have
the rules of :mod:`.model.record` and :mod:`.model.parts` in the server's language. All keys share a hash tag, so that a
proxy that spreads keys over servers keeps them together.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from itertools import groupby, islice
from time import monotonic
from typing import Any

from redis import Redis

from ...model.record import RUNNING_KEY, Activity, Record, Start, dump
from ..interface import Entry, Storage, StorageError
from . import script
from .client import Client
from .location import Location
from .script import Script

#: How many keys are read or changed at a time, so that many do not block the server.
_KEYS_PER_CALL = 500

#: Seconds for which the difference between the server's clock and this machine's is kept.
CLOCK_LIFETIME = 60

#: Stands for any run in the scripts.
_ANY_RUN = '*'


class RedisStorage(Storage):
    """A region of type ``ext:redis``: a Redis server from version 6.2 on, or Valkey.

    :param region: the region's options, see :meth:`.location.Location.parse`
    :param namespace: the prefix of all keys
    :param timeout: seconds to wait for the server's answer, see :class:`.client.Client`
    :raises ValueError: if an option is missing or invalid, naming it
    """

    def __init__(self, region: Mapping[str, Any], namespace: str, timeout: float) -> None:
        if region['type'] != 'ext:redis':
            raise ValueError(f'Redis Cluster (type {region["type"]}) is not supported; valid: ext:redis, one server')
        self._client = Client(Location.parse(region), timeout)
        self._prefix = f'{{{namespace}}}:'
        self._clock = (0.0, -math.inf)

    def start(self, progress_id: str, record: Record, expire: float, mode: Start = Start.ANY) -> bool:
        now = _milliseconds(self.now())
        return bool(self._change(script.START, progress_id, mode.value, expire, dump(record), now))

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._change(script.UPDATE, progress_id, 'update', expire, dump(changes), _ANY_RUN)

    def update_active(
        self, changes: Mapping[str, Record], expire: float, runs: Mapping[str, str] | None = None
    ) -> dict[str, Activity]:
        if not changes:
            return {}
        runs = runs or {}
        arguments: list[str | int] = [self._prefix, 'update_active', _milliseconds(expire)]
        for progress_id, change in changes.items():
            arguments += dump(change), runs.get(progress_id, _ANY_RUN)
        answer = self._run(script.UPDATE, [self._key(progress_id) for progress_id in changes], arguments)
        return {
            progress_id: Activity(activity)
            for progress_id, activity in zip(changes, answer, strict=True)
            if activity >= 0
        }

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        """Return the records of those ids that have one.

        :raises StorageError: if the key of a single id has a value that is not a record. Among several ids, it counts
            as none.
        """
        if len(progress_ids) == 1:
            return self._get_serialized(progress_ids[0])
        texts: dict[str, str] = {}
        for start in range(0, len(progress_ids), _KEYS_PER_CALL):
            part = progress_ids[start : start + _KEYS_PER_CALL]
            keys = [self._key(progress_id) for progress_id in part]
            values: list[Any] = self._client.call(Redis.mget, keys)
            texts.update(
                (progress_id, text)
                for progress_id, value in zip(part, values, strict=True)
                if value is not None and (text := _text(value)) is not None
            )
        return texts

    def _get_serialized(self, progress_id: str) -> dict[str, str]:
        key = self._key(progress_id)
        try:
            value: Any = self._client.call(Redis.get, key)
        except StorageError as error:
            if 'WRONGTYPE' in str(error):
                raise self._not_a_record(key) from error.__cause__
            raise
        if value is None:
            return {}
        text = _text(value)
        if text is None:
            raise self._not_a_record(key)
        return {progress_id: text}

    def acknowledge(self, progress_id: str, linger: float) -> bool:
        return bool(self._change(script.END, progress_id, 'acknowledge', linger))

    def delete(self, progress_id: str) -> bool:
        return bool(self._change(script.END, progress_id, 'delete', 0))

    def list_entries(self, keys: Sequence[str], limit: int, before: Entry | None = None) -> list[Entry]:
        arguments = (limit, *before) if before else (limit,)
        answer = self._run(script.NEWEST, [self._index(key) for key in keys], arguments)
        indexes = (
            [Entry(int(start), progress_id.decode()) for progress_id, start in zip(*[iter(index)] * 2, strict=True)]
            for index in answer
        )
        return list(islice((entry for entry, _ in groupby(heapq.merge(*indexes, reverse=True))), limit))

    def prune(self, key: str, progress_ids: Sequence[str]) -> None:
        for start in range(0, len(progress_ids), _KEYS_PER_CALL):
            arguments = (self._prefix, key, *progress_ids[start : start + _KEYS_PER_CALL])
            self._run(script.PRUNE, [self._index(key)], arguments)

    def running_ids(self) -> set[str]:
        ids: set[str] = set()
        cursor = b'0'
        while True:
            cursor, part = self._run(script.RUNNING, [self._index(RUNNING_KEY)], (self._prefix, cursor))
            ids.update(progress_id.decode() for progress_id in part)
            if cursor == b'0':
                return ids

    def start_part(
        self, progress_id: str, number: int, *, task_run: str, part_run: str, heartbeat: str, expire: float
    ) -> Activity | None:
        answer = self._change(script.PART, progress_id, 'start', expire, number, task_run, part_run, heartbeat)
        return None if answer < 0 else Activity(answer)

    def update_part(
        self, progress_id: str, number: int, changes: Record, *, task_run: str, part_run: str, expire: float
    ) -> Activity | None:
        answer = self._change(script.PART, progress_id, 'update', expire, number, task_run, part_run, dump(changes))
        return None if answer < 0 else Activity(answer)

    def now(self) -> float:
        difference, good_until = self._clock
        asked = monotonic()
        if asked >= good_until:
            seconds, microseconds = self._client.call(Redis.time)
            answered = monotonic()
            difference = seconds + microseconds / 1e6 - (asked + answered) / 2
            self._clock = (difference, answered + CLOCK_LIFETIME)
        return monotonic() + difference

    def close(self) -> None:
        self._client.close()

    def _key(self, progress_id: str) -> str:
        return f'{self._prefix}tasks:{progress_id}'

    def _index(self, key: str) -> str:
        return f'{self._prefix}index:{key}'

    def _not_a_record(self, key: str) -> StorageError:
        return StorageError(f'Redis at {self._client.name}: the key {key} has a value that is not a record')

    def _change(self, change: Script, progress_id: str, action: str, lifetime: float, *arguments: str | int) -> Any:
        keys, common = (self._key(progress_id),), (self._prefix, action, _milliseconds(lifetime))
        return self._run(change, keys, (*common, *arguments))

    def _run(self, it: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        return self._client.call(it.run, keys, arguments)


def _milliseconds(lifetime: float) -> int:
    return math.ceil(lifetime * 1000)


def _text(value: bytes) -> str | None:
    """Return the text of a record; None if the value is something else."""
    if value.startswith(b'{"') and value.endswith(b'\n}') and b'"status":' in value:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return None
