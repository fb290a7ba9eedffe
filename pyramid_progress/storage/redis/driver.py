"""Tasks on one Redis server: every operation is one atomic step in the server, and one round trip.

A record is a string key with the text of :func:`.record.dump`, which the server lets expire. An index is a sorted set
of ids by the start of their run; it is read in parts, so that a long one does not block the server. The scripts have
the rules of :mod:`.model.record` and :mod:`.model.parts` in the server's language. All keys share a hash tag, so that a
proxy that spreads keys over servers keeps them together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis

from ...model.record import RUNNING_KEY, Activity, Record, dump
from ..interface import Entry, StorageError
from . import script
from .base import ANY_RUN, KEYS_PER_CALL, RedisDriver, activity, merged_entries, milliseconds, record_text
from .client import Client
from .location import Location
from .script import Script


class RedisStorage(RedisDriver):
    """A region of type ``ext:redis``: a Redis server from version 6.2 on, or Valkey.

    :param region: the region's options, see :meth:`.location.Location.parse`
    :param namespace: the prefix of all keys
    :param timeout: seconds to wait for the server's answer, see :class:`.client.Client`
    :raises ValueError: if an option is missing or invalid, naming it
    """

    def __init__(self, region: Mapping[str, Any], namespace: str, timeout: float) -> None:
        super().__init__(script.INDEXED, timeout)
        self._client = Client(Location.parse(region), timeout)
        self._prefix = f'{{{namespace}}}:'

    @property
    def broke_at(self) -> float:
        return self._client.broke_at

    def update_active(
        self, changes: Mapping[str, Record], expire: float, runs: Mapping[str, str] | None = None
    ) -> dict[str, Activity]:
        if not changes:
            return {}
        runs = runs or {}
        arguments: list[str | int] = [self._prefix, 'update_active', milliseconds(expire)]
        for progress_id, change in changes.items():
            arguments += dump(change), runs.get(progress_id, ANY_RUN)
        answer = self._run(self._scripts.update, [self._key(progress_id) for progress_id in changes], arguments)
        activities = {progress_id: activity(number) for progress_id, number in zip(changes, answer, strict=True)}
        return {progress_id: its for progress_id, its in activities.items() if its is not None}

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        """Return the records of those ids that have one.

        :raises StorageError: if the key of a single id has a value that is not a record. Among several ids, it counts
            as none.
        """
        if len(progress_ids) == 1:
            return self._get_serialized(progress_ids[0])
        texts: dict[str, str] = {}
        for start in range(0, len(progress_ids), KEYS_PER_CALL):
            part = progress_ids[start : start + KEYS_PER_CALL]
            keys = [self._key(progress_id) for progress_id in part]
            values: list[Any] = self._client.call(Redis.mget, keys)
            texts.update(
                (progress_id, text)
                for progress_id, value in zip(part, values, strict=True)
                if value is not None and (text := record_text(value)) is not None
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
        text = record_text(value)
        if text is None:
            raise self._not_a_record(key)
        return {progress_id: text}

    def list_entries(self, keys: Sequence[str], limit: int, before: Entry | None = None) -> list[Entry]:
        arguments = (limit, *before) if before else (limit,)
        return merged_entries(self._run(script.NEWEST, [self._index(key) for key in keys], arguments), limit)

    def prune(self, key: str, progress_ids: Sequence[str]) -> None:
        for start in range(0, len(progress_ids), KEYS_PER_CALL):
            arguments = (self._prefix, key, *progress_ids[start : start + KEYS_PER_CALL])
            self._run(script.PRUNE, [self._index(key)], arguments)

    def running_ids(self) -> set[str]:
        ids: set[str] = set()
        cursor = b'0'
        while True:
            cursor, part = self._run(script.RUNNING, [self._index(RUNNING_KEY)], (self._prefix, cursor))
            ids.update(progress_id.decode() for progress_id in part)
            if cursor == b'0':
                return ids

    def close(self) -> None:
        self._client.close()

    def _time(self) -> Sequence[int | bytes]:
        time: Sequence[int] = self._client.call(Redis.time)
        return time

    def _key(self, progress_id: str) -> str:
        return f'{self._prefix}tasks:{progress_id}'

    def _index(self, key: str) -> str:
        return f'{self._prefix}index:{key}'

    def _not_a_record(self, key: str) -> StorageError:
        return StorageError(f'Redis at {self._client.name}: the key {key} has a value that is not a record')

    def _change(self, change: Script, progress_id: str, action: str, lifetime: float, *arguments: str | int) -> Any:
        keys, common = (self._key(progress_id),), (self._prefix, action, milliseconds(lifetime))
        return self._run(change, keys, (*common, *arguments))

    def _run(self, it: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        return self._client.call(it.run, keys, arguments)
