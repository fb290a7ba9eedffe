"""Where statuses and the task list are kept."""

from collections.abc import Mapping
from typing import Any

from .interface import Storage, StorageError
from .paired import PairedStorage

__all__ = ['Storage', 'StorageError', 'open_storage']

#: Options of a region that do not say where it keeps things.
_NOT_A_PLACE = frozenset({'enabled', 'expire', 'key_length', 'regions'})


def open_storage(tasks: Mapping[str, Any], statuses: Mapping[str, Any], *, namespace: str, timeout: float) -> Storage:
    """Return the storage of two Beaker regions, which may be one place.

    Nothing is said to a server yet; a region on disk has its directory from now on.

    :param tasks: options of the region of the task list, as in :data:`beaker.cache.cache_regions`
    :param statuses: options of the region of the statuses
    :param namespace: what sets our keys apart from everybody else's
    :param timeout: seconds to wait for a store that does not answer
    :raises ValueError: where a region's options will not do, saying which
    :raises OSError: where a region's directory cannot be used
    """
    place = _place(statuses)
    statuses_storage = _driver(place, namespace, timeout)
    if _place(tasks) == place:
        return statuses_storage
    return PairedStorage(statuses_storage, _driver(_place(tasks), f'{namespace}:list', timeout))


def _place(region: Mapping[str, Any]) -> dict[str, Any]:
    if region.get('type', 'memory') == 'memory':
        return {'type': 'memory'}
    return {name: value for name, value in region.items() if name not in _NOT_A_PLACE and value is not None}


def _driver(region: Mapping[str, Any], namespace: str, timeout: float) -> Storage:
    """Return the driver for a region: the place to add another.

    A driver, and the library it needs, is imported when it is used.
    """
    kind = region['type']
    if kind == 'memory':
        from .memory import MemoryStorage

        return MemoryStorage(namespace, timeout)
    if kind == 'sqlite':
        from .sqlite import SqliteStorage

        return SqliteStorage(region, namespace, timeout)
    if kind in ('ext:redis', 'ext:rediscluster'):
        from .redis import RedisStorage

        return RedisStorage(region, namespace, timeout)
    from .beaker import BeakerStorage

    return BeakerStorage(region, namespace, timeout)
