"""Tasks in a Redis Cluster: the records of a task on one node, and each index on one.

The records of a task and of its parts share a hash tag. They change in one atomic step, by the scripts of one server,
which do not touch the indexes here, since these are on other nodes. A start writes its index entries first, then the
record; all other changes write the record first, and change the indexes if the task moves in them. If a process or a
node fails in between, the indexes are out of date: a reader skips and removes an entry whose record does not belong
there, and an entry that is missing is restored

- by the next heartbeat of the task,
- by the next change of a task without heartbeats, if this process has not written the entry for a minute,
- by the repetition of the start or of the end.

An index entry expires after twice the lifetime of the record, from the last time that it was written.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

import redis

from ...model.record import (
    RUNNING_KEY,
    Activity,
    Record,
    Start,
    dump,
    has_ended,
    index_keys,
    is_listed,
    load,
    renews_entries,
    start_time,
)
from ..interface import Entry, StorageError
from . import script
from .base import ANY_RUN, KEYS_PER_CALL, RedisDriver, activity, merged_entries, milliseconds, record_text
from .cluster import Cluster, Command
from .cluster_location import ClusterLocation
from .script import Script

log = logging.getLogger(__name__)

#: Seconds after which a change of a task without heartbeats writes the index entries again.
REFRESH_INTERVAL = 60.0

#: For how many tasks a process remembers when it wrote their index entries.
_REMEMBERED = 10_000


class ClusterStorage(RedisDriver):
    """A region of type ``ext:rediscluster``: a Redis Cluster from version 6.2 on, or one of Valkey.

    :param region: the region's options, see :meth:`.cluster_location.ClusterLocation.parse`
    :param namespace: the prefix of all keys
    :param timeout: seconds to wait for an answer, see :class:`.cluster.Cluster`
    :raises ValueError: if an option is missing or invalid, naming it
    """

    def __init__(self, region: Mapping[str, Any], namespace: str, timeout: float) -> None:
        super().__init__(script.SHARDED, timeout)
        self._cluster = Cluster(ClusterLocation.parse(region), timeout)
        self._namespace = namespace
        #: When this process last wrote the index entries of a task, by :func:`time.monotonic`.
        self._written: dict[str, float] = {}

    @property
    def broke_at(self) -> float:
        return self._cluster.broke_at

    def start(self, progress_id: str, record: Record, expire: float, mode: Start = Start.ANY) -> bool:
        self._write_entries({progress_id: record}, {progress_id: expire})
        started = super().start(progress_id, record, expire, mode)
        if not started:
            present = self._restore_entries([progress_id]).get(progress_id)
            wrong = set(index_keys(record)).difference(() if present is None else index_keys(present))
            self._run([self._removal(key, progress_id, start_time(record)) for key in sorted(wrong)])
        return started

    def update(self, progress_id: str, changes: Record, expire: float) -> None:
        began = monotonic()
        super().update(progress_id, changes, expire)
        self._keep_entries(progress_id, changes, began, expire)

    def update_active(
        self, changes: Mapping[str, Record], expire: float, runs: Mapping[str, str] | None = None
    ) -> dict[str, Activity]:
        began = monotonic()
        runs = runs or {}
        update = self._scripts.update
        answers = self._cluster.call(
            [
                self._command(
                    update, progress_id, 'update_active', expire, dump(change), runs.get(progress_id, ANY_RUN)
                )
                for progress_id, change in changes.items()
            ]
        )
        # Among several records, a value that is not a record counts as none.
        found = {
            progress_id: self._checked(answer)
            for progress_id, answer in zip(changes, answers, strict=True)
            if len(changes) == 1 or not _is_foreign(answer)
        }
        numbers = {progress_id: answer[0] for progress_id, answer in self._follow(found, expire).items()}
        activities = {progress_id: activity(number) for progress_id, number in numbers.items()}
        present = {progress_id: its for progress_id, its in activities.items() if its is not None}
        beats = [progress_id for progress_id in present if renews_entries(changes[progress_id])]
        self._restore_entries([progress_id for progress_id in beats if self._last_written(progress_id) < began])
        return present

    def get_many_serialized(self, progress_ids: Sequence[str]) -> dict[str, str]:
        """Return the records of those ids that have one.

        :raises StorageError: if the key of a single id has a value that is not a record. Among several ids, it counts
            as none.
        """
        texts: dict[str, str] = {}
        for start in range(0, len(progress_ids), KEYS_PER_CALL):
            part = progress_ids[start : start + KEYS_PER_CALL]
            keys = [self._key(progress_id) for progress_id in part]
            answers = self._cluster.call([Command(key, 'GET', key) for key in keys])
            for progress_id, key, answer in zip(part, keys, answers, strict=True):
                if answer is None:
                    continue
                text = None if _is_foreign(answer) else record_text(self._checked(answer))
                if text is not None:
                    texts[progress_id] = text
                elif len(progress_ids) == 1:
                    raise StorageError(
                        f'Redis Cluster at {self._cluster.name}: the key {key} has a value that is not a record'
                    )
        return texts

    def start_part(
        self, progress_id: str, number: int, *, task_run: str, part_run: str, heartbeat: str, expire: float
    ) -> Activity | None:
        began = monotonic()
        result = super().start_part(
            progress_id, number, task_run=task_run, part_run=part_run, heartbeat=heartbeat, expire=expire
        )
        self._keep_entries(progress_id, {}, began, expire)
        return result

    def update_part(
        self, progress_id: str, number: int, changes: Record, *, task_run: str, part_run: str, expire: float
    ) -> Activity | None:
        began = monotonic()
        result = super().update_part(progress_id, number, changes, task_run=task_run, part_run=part_run, expire=expire)
        self._keep_entries(progress_id, changes, began, expire)
        return result

    def list_entries(self, keys: Sequence[str], limit: int, before: Entry | None = None) -> list[Entry]:
        arguments = (limit, *before) if before else (limit,)
        indexes = [self._index(key) for key in keys]
        commands = [Command(index, index, *arguments, script=script.NEWEST) for index in indexes]
        return merged_entries((answer[0] for answer in self._run(commands)), limit)

    def prune(self, key: str, progress_ids: Sequence[str]) -> None:
        index = self._index(key)
        # A start writes the entry before the record, so an entry that is this recent is not removed.
        newest = milliseconds(self.now() - 4 * self._timeout)
        for begin in range(0, len(progress_ids), KEYS_PER_CALL):
            part = progress_ids[begin : begin + KEYS_PER_CALL]
            # The entries before the records: an entry that is written in the meantime has a later start, and stays.
            [starts] = self._run([Command(index, 'ZMSCORE', index, *part)])
            records = self._restore_entries(part)
            self._run(
                [
                    self._removal(key, progress_id, min(int(start), newest))
                    for progress_id, start in zip(part, starts, strict=True)
                    if start is not None and (progress_id not in records or key not in index_keys(records[progress_id]))
                ]
            )

    def running_ids(self) -> set[str]:
        index, ids, stale = self._index(RUNNING_KEY), set(), []
        cursor = b'0'
        while True:
            [(cursor, part)] = self._run([Command(index, 'ZSCAN', index, cursor, 'COUNT', KEYS_PER_CALL)])
            found = [progress_id.decode() for progress_id in part[::2]]
            records = self.get_many(found)
            listed = {progress_id for progress_id, record in records.items() if is_listed(record)}
            ids |= listed
            stale += [progress_id for progress_id in found if progress_id not in listed]
            if cursor == b'0':
                break
        if stale:
            try:
                self.prune(RUNNING_KEY, stale)
            except StorageError:
                log.debug('Entries that are out of date cannot be removed', exc_info=True)
        return ids

    def close(self) -> None:
        self._cluster.close()

    # Records

    def _key(self, progress_id: str) -> str:
        return f'{self._prefix(progress_id)}tasks:{progress_id}'

    def _prefix(self, progress_id: str) -> str:
        return f'{{{self._namespace}:{progress_id}}}:'

    def _time(self) -> Sequence[int | bytes]:
        # One node is asked by all, since clocks differ: the one that has the running list.
        [time] = self._run([Command(self._index(RUNNING_KEY), 'TIME')])
        answer: Sequence[bytes] = time
        return answer

    def _change(self, script: Script, progress_id: str, action: str, lifetime: float, *arguments: str | int) -> Any:
        [answer] = self._run([self._command(script, progress_id, action, lifetime, *arguments)])
        return self._follow({progress_id: answer}, lifetime)[progress_id]

    def _command(
        self, script: Script, progress_id: str, action: str, lifetime: float, *arguments: str | int
    ) -> Command:
        key, prefix = self._key(progress_id), self._prefix(progress_id)
        return Command(key, key, prefix, action, milliseconds(lifetime), *arguments, script=script)

    def _run(self, commands: Sequence[Command]) -> list[Any]:
        return [self._checked(answer) for answer in self._cluster.call(commands)]

    def _checked(self, answer: Any) -> Any:
        if isinstance(answer, redis.ResponseError):
            raise StorageError(f'Redis Cluster at {self._cluster.name} failed: {answer}') from answer
        return answer

    # Indexes

    def _index(self, key: str) -> str:
        return f'{{{self._namespace}:index:{key}}}:entries'

    def _follow(self, answers: Mapping[str, Any], expire: float) -> dict[str, Any]:
        """Change the indexes as records have moved, and return the answers of the scripts alone.

        :param answers: by id, an answer, or, of a record that moved, a list of the answer, the old and the new record
        :param expire: the lifetime of the records, in seconds
        """
        result, written, removals = {}, {}, []
        for progress_id, answer in answers.items():
            result[progress_id] = answer
            if not isinstance(answer, list) or len(answer) != 3:
                continue
            result[progress_id], *texts = answer
            old, new = [None if text is None else load(text.decode()) for text in texts]
            if new is not None:
                written[progress_id] = new
            if old is not None:
                gone = set(index_keys(old)).difference(() if new is None else index_keys(new))
                removals += [self._removal(key, progress_id, start_time(old)) for key in sorted(gone)]
        if written or removals:
            self._write_entries(written, dict.fromkeys(written, expire), removals)
        return result

    def _keep_entries(self, progress_id: str, changes: Record, began: float, expire: float) -> None:
        """Write the index entries of a task again, after a heartbeat or an end, and otherwise now and then.

        :param began: when the change began, by :func:`time.monotonic`
        """
        latest = began if renews_entries(changes) else began - min(REFRESH_INTERVAL, expire / 2)
        if self._last_written(progress_id) < latest:
            self._restore_entries([progress_id])

    def _restore_entries(self, progress_ids: Sequence[str]) -> dict[str, Record]:
        """Write the index entries of tasks as their records say; return the records."""
        if not progress_ids:
            return {}
        records = self.get_many(progress_ids)
        keys = [self._key(progress_id) for progress_id in records]
        left = self._run([Command(key, 'PTTL', key) for key in keys])
        # A record that expires in the meantime has a negative time left.
        self._write_entries(records, {id_: max(its, 0) / 1000 for id_, its in zip(records, left, strict=True)})
        return records

    def _write_entries(
        self, records: Mapping[str, Record], expire: Mapping[str, float], removals: Iterable[Command] = ()
    ) -> None:
        """Write index entries.

        :param records: the records of tasks, by id
        :param expire: their lifetimes in seconds
        :param removals: commands that are sent at the same time
        """
        now = self.now()
        entries: dict[str, list[str | int]] = {}
        commands = [*removals]
        for progress_id, record in records.items():
            start = start_time(record)
            for key in index_keys(record):
                # Twice the lifetime: see the module's documentation.
                expires = milliseconds(now + 2 * expire[progress_id])
                entries.setdefault(key, []).extend((progress_id, start, expires))
            if has_ended(record) and not is_listed(record):
                commands.append(self._removal(RUNNING_KEY, progress_id, start))
        commands += [self._entries(key, *arguments) for key, arguments in entries.items()]
        self._run(commands)
        written = monotonic()
        if len(self._written) + len(records) > _REMEMBERED:
            self._written.clear()
        self._written.update(dict.fromkeys(records, written))

    def _removal(self, key: str, progress_id: str, start: int) -> Command:
        """Return the command that removes an entry, unless it is that of a later run."""
        return self._entries(key, progress_id, start, '')

    def _entries(self, key: str, *arguments: str | int) -> Command:
        index = self._index(key)
        due = f'{index.removesuffix("entries")}due'
        return Command(index, index, due, milliseconds(self.now()), *arguments, script=script.ENTRIES, keys=2)

    def _last_written(self, progress_id: str) -> float:
        return self._written.get(progress_id, -math.inf)


def _is_foreign(answer: Any) -> bool:
    """Return whether an answer is the error of a key whose value is not a record."""
    return isinstance(answer, redis.ResponseError) and str(answer).startswith('WRONGTYPE')
