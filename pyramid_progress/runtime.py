"""The settings and the storage of an application: one runtime in its registry, and a default for all other code.

A runtime works with two Beaker cache regions. It keeps a copy of those that its settings name, so that a second
application in the process does not change them. It follows the entry of :data:`beaker.cache.cache_regions` if other
code put that there.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple

from beaker.cache import cache_regions, clsmap
from beaker.exceptions import BeakerException
from pyramid.exceptions import ConfigurationError
from pyramid.registry import global_registry
from pyramid.threadlocal import manager
from pyramid_beaker import set_cache_regions_from_settings

from .beaker_sqlite import SqliteNamespaceManager
from .model.settings import Settings, parse_seconds
from .storage import Storage, is_registered, open_storage
from .storage.memory import Memory
from .system import process

log = logging.getLogger(__name__)

#: The key of a runtime in the registry of its application.
REGISTRY_KEY = 'pyramid_progress'

#: The prefixes of Beaker's settings; pyramid_beaker reads both.
_PREFIXES = ('beaker.cache.', 'cache.')

#: The lifetime in seconds that pyramid_beaker gives to a region for which none is set.
_IMPLICIT_EXPIRE = 60

Region = dict[str, Any]

_NO_REGIONS: Mapping[str, Region] = MappingProxyType({})


class Store(NamedTuple):
    """What a storage call needs."""

    storage: Storage
    #: how long a status lives after its last change, in seconds
    expire: float
    #: how long a task that was acknowledged stays visible, in seconds
    linger: float


class _Opened(NamedTuple):
    """A store, and copies of the global regions for which it was opened."""

    tasks: Region | None
    statuses: Region | None
    store: Store


class Runtime(process.Participant):
    """The settings and the storage of one application.

    :param settings: its ``progress.`` settings
    :param regions: the options of those of its two regions that it sets up itself, by name
    :param implicit_expire: whether the lifetime in the status region is the one that pyramid_beaker gives if none is
        set
    :raises pyramid.exceptions.ConfigurationError: if the options of a region are invalid
    """

    def __init__(
        self, settings: Settings, regions: Mapping[str, Region] = _NO_REGIONS, *, implicit_expire: bool = False
    ) -> None:
        self.settings = settings
        self._tasks_region = settings.tasks_region
        self._status_region = settings.status_region
        #: The regions that it sets up itself, by name.
        self.own_regions = {name: dict(region) for name, region in regions.items()}
        self._implicit_expire = implicit_expire
        #: Whether :func:`configure` made it, for all code in the process that sets up no regions of its own.
        self.is_process_wide = False
        #: What its regions of the type ``memory`` hold.
        self.memory = Memory()
        self._opened: _Opened | None = None
        self._lock = Lock()
        process.register(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> 'Runtime':
        """Set up the two regions, and return the runtime that uses them.

        A region that the settings name in ``cache.regions`` is set from them. One that the application set up itself is
        left alone; one that :func:`configure` set up is shared. One that is not set up at all becomes ``memory``, with
        a warning in the log. Other regions are not touched.

        :param settings: all settings of an application, as from its ini file
        :raises pyramid.exceptions.ConfigurationError: for an invalid setting, naming it and its value
        """
        try:
            parsed = Settings.parse(settings)
            ours = {parsed.tasks_region, parsed.status_region}
            given = _beaker_settings(settings, ours)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        named = ours & set(given['regions'].split(','))
        if named:
            _set_regions(given)
        _register_backend()
        regions = {}
        configured = _default if _default.is_process_wide else None
        shares = False
        for name in sorted(ours):
            region = cache_regions.setdefault(name, {})
            if name in named or not region:
                _complete(name, region)
                regions[name] = _written[name] = dict(region)
            elif configured and name in configured.own_regions:  # set up for the whole process
                regions[name] = dict(configured.own_regions[name])
                shares = True
            elif region == _written.get(name):  # another application's, not set up by this one
                regions[name] = dict(region) if region['type'] == 'memory' else {}
                _complete(name, regions[name])
            else:
                _complete(name, region)
        has_expire = {'expire', f'{parsed.status_region}.expire'} & given.keys()
        runtime = cls(parsed, regions, implicit_expire=parsed.status_region in named and not has_expire)
        if configured and shares:
            runtime.memory = configured.memory
        runtime.store()
        return runtime

    @property
    def _names(self) -> set[str]:
        return {self._tasks_region, self._status_region}

    def after_fork_in_child(self) -> None:
        self._lock = Lock()

    def store(self) -> Store:
        """Return the storage of the regions as they are now, with the lifetimes of statuses.

        :raises pyramid.exceptions.ConfigurationError: if a region is not set up, or its options are invalid
        """
        opened = self._opened
        if opened is None or not self._is_current(opened):
            with self._lock:
                opened = self._opened
                if opened is None or not self._is_current(opened):
                    opened = self._open()
                    if self._opened is not None:
                        self._opened.store.storage.close()
                    self._opened = opened
        return opened.store

    def region_types(self) -> dict[str, str]:
        """Return the types of the two regions by name."""
        return {name: self._region(name)['type'] for name in self._names}

    def _is_current(self, opened: _Opened) -> bool:
        # Every call asks this.
        tasks, statuses, _ = opened
        is_current: bool = tasks == cache_regions.get(self._tasks_region) and statuses == cache_regions.get(
            self._status_region
        )
        return is_current

    def _open(self) -> _Opened:
        tasks, statuses = self._tasks_region, self._status_region
        found = {name: dict(cache_regions[name]) for name in (tasks, statuses) if name in cache_regions}
        regions = {name: self._region(name) for name in (tasks, statuses)}
        try:
            storage = open_storage(
                regions[tasks],
                regions[statuses],
                namespace=self.settings.namespace,
                timeout=self.settings.timeout,
            )
        except (BeakerException, ImportError, OSError, ValueError) as error:
            raise ConfigurationError(
                f'the Beaker cache regions {tasks!r} and {statuses!r} cannot be used: {error}'
            ) from error
        expire = regions[statuses].get('expire')
        if not expire or (self._implicit_expire and expire == _IMPLICIT_EXPIRE):
            expire = self.settings.expire
        linger = self.settings.linger
        if linger is None:
            linger = float(expire) if storage.default_linger is None else min(storage.default_linger, float(expire))
        return _Opened(found.get(tasks), found.get(statuses), Store(storage, float(expire), linger))

    def _region(self, name: str) -> Region:
        """Return the options of a region: those of this runtime, unless other code than runtimes set the region up."""
        region = cache_regions.get(name)
        if name in self.own_regions and region == _written.get(name):
            region = self.own_regions[name]
        if region is None:
            raise ConfigurationError(
                f'the Beaker cache region {name!r} is not set up: include pyramid_progress in the application,'
                ' or call pyramid_progress.configure(settings)'
            )
        return {**region, 'memory': self.memory} if region.get('type', 'memory') == 'memory' else region


#: The regions as runtimes last wrote them into :data:`beaker.cache.cache_regions`.
_written: dict[str, Region] = {}

#: The runtime of code for which no application is current: the first included application's, unless
#: :func:`configure` was called. Until either happens, it follows regions that other code sets up.
_default: Runtime = Runtime(Settings())
_is_default_set = False


def configure(settings: Mapping[str, Any]) -> Runtime:
    """Set up the two regions in a process that is not a Pyramid application, such as a worker.

    All code for which no application is current uses them from now on, and so do applications that are included later
    and name no regions in their settings.

    :param settings: the settings of an application, as from its ini file
    :return: the runtime
    :raises pyramid.exceptions.ConfigurationError: for an invalid setting, naming it and its value
    """
    global _default, _is_default_set
    runtime = Runtime.from_settings(settings)
    runtime.is_process_wide = True
    _default, _is_default_set = runtime, True
    return runtime


def set_runtime(registry: Any, runtime: Runtime) -> None:
    """Make *runtime* that of the application with this *registry*, and the default if it is the first one."""
    global _default, _is_default_set
    registry[REGISTRY_KEY] = runtime
    if not _is_default_set:
        _default, _is_default_set = runtime, True


def get_runtime(registry: Any = None) -> Runtime:
    """Return the runtime of an application, else the default.

    :param registry: the application's registry; None for the current one
    """
    if registry is None:
        # What get_current_registry() returns. Where no application is current, as in the threads of workers, that takes
        # eight times as long, because it catches an exception.
        stack = manager.stack
        registry = stack[-1]['registry'] if stack else global_registry
    runtime: Runtime = registry.get(REGISTRY_KEY, _default)
    return runtime


def current_store() -> Store:
    """Return the :meth:`Runtime.store` of the current runtime.

    :raises pyramid.exceptions.ConfigurationError: if its regions are not set up or cannot be used
    """
    return get_runtime().store()


@contextmanager
def isolated_runtime() -> Iterator[None]:
    """Start with no Beaker region and no default runtime, as a new process does; restore both after the block."""
    global _default, _is_default_set
    state = (_default, _is_default_set), dict(cache_regions), dict(_written)
    cache_regions.clear()
    _written.clear()
    _default, _is_default_set = Runtime(Settings()), False
    try:
        yield
    finally:
        (_default, _is_default_set), regions, written = state
        for current, before in ((cache_regions, regions), (_written, written)):
            current.clear()
            current.update(before)


def _beaker_settings(settings: Mapping[str, Any], own_names: set[str]) -> dict[str, str]:
    """Return Beaker's settings without their prefixes, as strings. ``regions`` names only the regions in *own_names*.

    :raises ValueError: for an invalid lifetime, naming the setting and its value
    """
    keys = {key.removeprefix(prefix): key for key in settings for prefix in _PREFIXES if key.startswith(prefix)}
    given = {name: _text(settings[key]) for name, key in keys.items()}
    named = own_names.intersection(name.strip() for name in given.get('regions', '').split(','))
    for name in ('expire', *(f'{region}.expire' for region in sorted(named))):
        if name in given:
            given[name] = str(math.ceil(parse_seconds(keys[name], given[name])))
    return given | {'regions': ','.join(sorted(named))}


def _text(value: Any) -> str:
    return ','.join(value) if isinstance(value, (list, tuple)) else str(value).strip()


def _set_regions(given: dict[str, str]) -> None:
    try:
        set_cache_regions_from_settings({f'cache.{name}': value for name, value in given.items()})
    except Exception as error:  # Beaker raises various classes
        raise ConfigurationError(f'invalid settings of Beaker cache regions: {error}') from error


def _register_backend() -> None:
    """Register the type ``sqlite`` with Beaker, if its entry point is missing because no metadata is installed."""
    try:
        clsmap['sqlite']
    except KeyError:
        clsmap._clsmap['sqlite'] = SqliteNamespaceManager


def _complete(name: str, region: Region) -> None:
    """Give a region without type the type ``memory``, with a warning; check the type of another."""
    region_type = region.get('type')
    if region_type in (None, 'None'):  # pyramid_beaker has the string for a missing type
        region['type'] = 'memory'
        log.warning(
            'The Beaker cache region %r has no type: it is kept in the memory of this process, and other processes'
            ' will see nothing of its tasks. Name it in cache.regions and set cache.%s.type.',
            name,
            name,
        )
    elif not is_registered(region_type):
        try:
            clsmap[region_type]
        except KeyError:
            raise ConfigurationError(f'cache.{name}.type = {region_type!r}: Beaker has no such type') from None
