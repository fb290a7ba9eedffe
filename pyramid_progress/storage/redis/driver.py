"""Statuses in Redis: every operation is one atomic step in the server, and one round trip.

A record is a string key with the text of :func:`.record.dump`, which the server lets expire. The running list is a
sorted set; it is read in parts, so that a long one does not block the server. ``redis.lua`` has the rules of
:mod:`.record` in the server's language. All keys share a hash tag, so that a proxy that spreads keys over servers keeps
them together.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from operator import methodcaller
from time import monotonic
from typing import Any

from ...model.record import Activity, Record, dump
from ..interface import Storage, StorageError

try:
    import redis
except ImportError as error:
    raise ImportError('a region of type ext:redis needs redis-py: install pyramid_progress[redis]') from error

from .client import Client
from .location import Location

#: How many keys are read at a time, so that many do not block the server.
_KEYS_PER_READ = 500

#: Seconds for which the difference between the server's clock and this machine's is kept.
CLOCK_LIFETIME = 60

_SCRIPT = files(__package__).joinpath('redis.lua').read_text('utf-8')
_SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


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
        self._list = f'{{{namespace}}}:tasks'
        self._clock = (0.0, -math.inf)

    def start(self, progress_id: str, record: Record, expire: float) -> bool:
        return self._change('start', {progress_id: record}, expire) == [1]

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        self._change('update', {progress_id: changes}, expire)

    def update_active(self, changes: Mapping[str, Record], expire: float) -> dict[str, Activity]:
        activities = zip(changes, self._change('update_active', changes, expire), strict=True)
        return {progress_id: Activity(activity) for progress_id, activity in activities if activity}

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        """Return the records of those ids that have one.

        :raises StorageError: if the key of a single id has a value that is not a record. Among several ids, it counts
            as none.
        """
        if len(progress_ids) == 1:
            return self._get_serialized(progress_ids[0])
        texts: dict[str, str] = {}
        for start in range(0, len(progress_ids), _KEYS_PER_READ):
            part = progress_ids[start : start + _KEYS_PER_READ]
            keys = [self._key(progress_id) for progress_id in part]
            values: list[Any] = self._client.call(methodcaller('mget', keys))
            texts.update(
                (progress_id, text)
                for progress_id, value in zip(part, values, strict=True)
                if value is not None and (text := _text(value)) is not None
            )
        return texts

    def _get_serialized(self, progress_id: str) -> dict[str, str]:
        key = self._key(progress_id)
        try:
            value: bytes | None = self._client.call(methodcaller('get', key))
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
        return self._change('acknowledge', {progress_id: {}}, linger) == [1]

    def delete(self, progress_id: str) -> None:
        self._change('delete', {progress_id: {}}, 0)

    def running_ids(self) -> set[str]:
        ids: set[str] = set()
        cursor = b'0'
        while True:
            cursor, part = self._run([], 'tasks', cursor)
            ids.update(progress_id.decode() for progress_id in part)
            if cursor == b'0':
                return ids

    def now(self) -> float:
        difference, good_until = self._clock
        asked = monotonic()
        if asked >= good_until:
            seconds, microseconds = self._client.call(methodcaller('time'))
            answered = monotonic()
            difference = seconds + microseconds / 1e6 - (asked + answered) / 2
            self._clock = (difference, answered + CLOCK_LIFETIME)
        return monotonic() + difference

    def close(self) -> None:
        self._client.close()

    def _key(self, progress_id: str) -> str:
        return f'{self._list}:{progress_id}'

    def _not_a_record(self, key: str) -> StorageError:
        return StorageError(f'Redis at {self._client.name}: the key {key} has a value that is not a record')

    def _change(self, action: str, changes: Mapping[str, Record], lifetime: float) -> list[int]:
        keys = [self._key(progress_id) for progress_id in changes]
        answer: list[int] = self._run(keys, action, math.ceil(lifetime * 1000), *map(dump, changes.values()))
        return answer

    def _run(self, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Run the script: by its hash, which a server that was restarted does not know."""

        def run(client: 'redis.Redis') -> Any:
            try:
                return client.evalsha(_SCRIPT_SHA, len(keys) + 1, self._list, *keys, *arguments)
            except redis.exceptions.NoScriptError:
                return client.eval(_SCRIPT, len(keys) + 1, self._list, *keys, *arguments)

        return self._client.call(run)


def _text(value: bytes) -> str | None:
    """Return the text of a record; None if the value is something else."""
    if value.startswith(b'{"') and value.endswith(b'\n}') and b'"status":' in value:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return None
