"""Where statuses and the running list are kept: drivers behind one interface, registered by the type of a region."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from .interface import Entry, Storage, StorageError
from .paired import PairedStorage

__all__ = ['Entry', 'Storage', 'StorageError', 'is_registered', 'location_options', 'open_storage', 'register_driver']

#: Options of a region that are not part of its location.
_NOT_LOCATION = frozenset({'enabled', 'expire', 'key_length', 'regions'})

#: The module and class of the driver for each region type that has its own. Beaker drives all other types.
_drivers: dict[str, str] = {}

_BEAKER_DRIVER = f'{__name__}.beaker:BeakerStorage'


def register_driver(region_type: str, driver: str) -> None:
    """Register the storage driver of a region type.

    :param region_type: the ``type`` of Beaker cache regions that the driver serves
    :param driver: ``'module:Class'`` of a :class:`.interface.Storage`; imported at the first use, so that its library
        is needed only by those who use it
    """
    _drivers[region_type] = driver


def is_registered(region_type: str) -> bool:
    """Return whether a region type has a driver of its own."""
    return region_type in _drivers


register_driver('memory', f'{__name__}.memory:MemoryStorage')
register_driver('sqlite', f'{__name__}.sqlite:SqliteStorage')
register_driver('ext:redis', f'{__name__}.redis:RedisStorage')
register_driver('ext:rediscluster', f'{__name__}.redis:ClusterStorage')


def open_storage(tasks: Mapping[str, Any], statuses: Mapping[str, Any], *, namespace: str, timeout: float) -> Storage:
    """Return the storage of two Beaker regions, which may be at the same location.

    No server is contacted yet. The directory of a region on disk exists from now on.

    :param tasks: options of the region of the running list, as in :data:`beaker.cache.cache_regions`
    :param statuses: options of the region of the statuses
    :param namespace: the prefix that separates our keys from those of others
    :param timeout: seconds to wait for a store that does not answer
    :raises ValueError: if the options of a region are invalid, saying which
    :raises OSError: if the directory of a region cannot be used
    """
    location = location_options(statuses)
    statuses_storage = _open(location, namespace, timeout)
    if location_options(tasks) == location:
        return statuses_storage
    return PairedStorage(statuses_storage, _open(location_options(tasks), f'{namespace}:list', timeout))


def location_options(region: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that determine the location of a region. Regions with equal ones share one store."""
    if region.get('type', 'memory') == 'memory':
        return {'type': 'memory', 'memory': region.get('memory')}
    return {name: value for name, value in region.items() if name not in _NOT_LOCATION and value is not None}


def _open(region: Mapping[str, Any], namespace: str, timeout: float) -> Storage:
    module, _, name = _drivers.get(region['type'], _BEAKER_DRIVER).partition(':')
    driver: Callable[..., Storage] = getattr(import_module(module), name)
    return driver(region, namespace, timeout)
