"""Redis: against raw commands with the same bytes, and against other packages on Redis."""

from functools import partial
from typing import Any

from pyramid_progress.model.record import HEARTBEAT, Activity
from pyramid_progress.model.status import decode, to_status
from pyramid_progress.runtime import current_store

from . import missing
from .environment import Environment
from .figure import Figure, at_most
from .measure import Comparison, Contender, compare
from .programs import OPERATIONS, TASK, Ours, Pyams

IDS = 50


class _Raw:
    """redis-py, with the bytes of a task as we keep them.

    :param url: the server
    :param value: the bytes
    """

    def __init__(self, url: str, value: bytes) -> None:
        self._client = missing.module('redis', 'redis').Redis.from_url(url)
        self._value = value
        self._keys = [f'raw-{number}' for number in range(IDS)]
        for key in self._keys:
            self._client.set(key, value)

    def set(self, count: int) -> None:
        for _ in range(count):
            self._client.set(self._keys[0], self._value)

    def get(self, count: int) -> None:
        for _ in range(count):
            self._client.get(self._keys[0])

    def get_many(self, count: int) -> None:
        for _ in range(count):
            self._client.mget(self._keys)

    def set_many(self, count: int) -> None:
        for _ in range(count):
            pipeline = self._client.pipeline(transaction=False)
            for key in self._keys:
                pipeline.set(key, self._value)
            pipeline.execute()


def _programs(environment: Environment) -> tuple[Ours, _Raw]:
    ours = Ours(environment.settings('ext:redis', 'redis'))
    return ours, _Raw(environment.redis('redis'), ours.stored().encode())


def _set(environment: Environment) -> Comparison:
    ours, raw = _programs(environment)
    return compare(ours.contender('set'), Contender(raw.set))


def _get(environment: Environment) -> Comparison:
    ours, raw = _programs(environment)
    return compare(ours.contender('get'), Contender(raw.get))


def _read_many(environment: Environment) -> Comparison:
    ours, raw = _programs(environment)
    ids = [f'{TASK}-{number}' for number in range(IDS)]
    ours.start(ids)
    for progress_id in ids:
        ours.set(1, progress_id)
    storage = current_store().storage

    def read(count: int) -> list[dict[str, Any]]:
        for _ in range(count):
            statuses = [to_status(decode(text), storage.now) for text in storage.get_many_serialized(ids).values()]
        return statuses

    if len(read(1)) != IDS:
        raise RuntimeError(f'{IDS} tasks were started, and {len(read(1))} read')
    comparison = compare(Contender(read), Contender(raw.get_many))
    ours.delete(ids)
    return comparison


def _round(environment: Environment) -> Comparison:
    ours, raw = _programs(environment)
    ids = [f'{TASK}-{number}' for number in range(IDS)]
    ours.start(ids)
    storage, expire, _ = current_store()

    def publish(count: int) -> None:
        for number in range(count):
            now = repr(storage.now())
            changes = {progress_id: {'current': str(number), HEARTBEAT: now} for progress_id in ids}
            activities = storage.update_active(changes, expire)
        if activities != dict.fromkeys(ids, Activity(0)):
            raise RuntimeError(f'{IDS} tasks are active, but the store returned {activities}')

    comparison = compare(Contender(publish), Contender(raw.set_many))
    ours.delete(ids)
    return comparison


def _against_pyams(operation: str, environment: Environment) -> Comparison:
    ours, _ = _programs(environment)
    return compare(ours.contender(operation), Pyams('ext:redis').contender(operation))


def _against_celery_progress(environment: Environment) -> Comparison:
    celery = missing.module('celery', 'celery')
    backend = missing.module('celery_progress.backend', 'celery-progress')
    application = celery.Celery('bench', backend=environment.redis('celery'), broker='memory://')

    @application.task(bind=True)  # type: ignore[untyped-decorator]
    def importing(task: Any) -> None:
        """Stands for the work."""

    importing.push_request(id=TASK)
    recorder = backend.ProgressRecorder(importing)

    def theirs(count: int) -> None:
        for number in range(count):
            recorder.set_progress(number, 1_000_000, 'Importing row')

    theirs(3)
    info = application.AsyncResult(TASK).info
    if (info['current'], info['description']) != (2, 'Importing row'):
        raise RuntimeError(f'celery-progress returns something else: {info}')
    ours, _ = _programs(environment)
    return compare(ours.contender('set'), Contender(theirs))


FIGURES = [
    Figure('set on Redis', 'one raw SET of the same bytes', at_most(1.25), _set),
    Figure('get on Redis', 'one raw GET of the same bytes', at_most(1.25), _get),
    Figure(f'{IDS} ids read on Redis', f'one raw MGET of {IDS}', at_most(2.5), _read_many),
    Figure(f'a round of {IDS} tasks on Redis', f'a pipeline of {IDS} raw SETs', at_most(1.7), _round),
    *(
        Figure(f'{operation} on Redis', 'pyams_utils on Redis', at_most(0.25), partial(_against_pyams, operation))
        for operation in OPERATIONS
    ),
    Figure('set on Redis', 'celery-progress on Redis', at_most(0.4), _against_celery_progress),
]
