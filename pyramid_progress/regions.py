"""The two Beaker regions: set up from settings, looked up when used."""

import logging
import math
import os
from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple

from beaker.cache import cache_regions, clsmap
from beaker.exceptions import BeakerException
from pyramid.exceptions import ConfigurationError
from pyramid_beaker import set_cache_regions_from_settings

from .settings import Settings, seconds
from .storage import Storage, open_storage

log = logging.getLogger(__name__)

#: How the names of Beaker's settings begin; pyramid_beaker reads both.
_PREFIXES = ('beaker.cache.', 'cache.')

#: The lifetime in seconds that pyramid_beaker gives a region where nobody set one.
_SILENT_EXPIRE = 60


class Store(NamedTuple):
    """What the functions work with."""

    storage: Storage
    expire: float
    settings: Settings


def configure(settings: Mapping[str, Any]) -> Settings:
    """Set up the two regions: all that a worker which is no Pyramid application needs.

    A region that the settings name in ``cache.regions`` is set from them. One that the application set up itself
    is left alone. One that nobody set up becomes ``memory``, with a warning in the log. Other regions are not
    touched.

    :param settings: the settings of an application, as from its ini file
    :return: the ``progress.`` settings among them, which all functions use from now on
    :raises pyramid.exceptions.ConfigurationError: for a setting that will not do, naming it and its value
    """
    parsed = Settings.parse(settings)
    keys = {key.removeprefix(prefix): key for key in settings for prefix in _PREFIXES if key.startswith(prefix)}
    given = {name: _text(settings[key]) for name, key in keys.items()}
    ours = {parsed.tasks_region, parsed.status_region}
    named = ours.intersection(name.strip() for name in given.get('regions', '').split(','))
    for name in ('expire', *(f'{region}.expire' for region in sorted(named))):
        if name in given:
            given[name] = str(math.ceil(seconds(keys[name], given[name])))
    if named:
        _set_regions(given | {'regions': ','.join(sorted(named))})
    for region in sorted(ours):
        _complete(region)
    has_expire = {'expire', f'{parsed.status_region}.expire'} & given.keys()
    _current.use(parsed, silent_expire=parsed.status_region in named and not has_expire)
    return parsed


def store() -> Store:
    """Return the storage of the regions as they are now, with what goes with it.

    :raises pyramid.exceptions.ConfigurationError: where a region is not set up, or will not do
    """
    return _current.store()


def _text(value: Any) -> str:
    return ','.join(value) if isinstance(value, (list, tuple)) else str(value).strip()


def _set_regions(given: dict[str, str]) -> None:
    try:
        set_cache_regions_from_settings({f'cache.{name}': value for name, value in given.items()})
    except Exception as error:  # Beaker's complaints have no class of their own
        raise ConfigurationError(f'the settings of Beaker cache regions will not do: {error}') from error


def _complete(name: str) -> None:
    """Give a region that nobody set up the type `memory`, with a warning; check the type of another."""
    region = cache_regions.setdefault(name, {})
    kind = region.get('type')
    if kind in (None, 'None'):  # pyramid_beaker has the string for a missing type
        region['type'] = 'memory'
        log.warning(
            'The Beaker cache region %r has no type: it is kept in the memory of this process, and other processes'
            ' will see nothing of its tasks. Name it in cache.regions and set cache.%s.type.',
            name,
            name,
        )
        return
    try:
        clsmap[kind]
    except KeyError:
        raise ConfigurationError(f'cache.{name}.type = {kind!r}: Beaker has no such type') from None


class _Opened(NamedTuple):
    """A store, and copies of the regions that it was opened for."""

    tasks: dict[str, Any]
    statuses: dict[str, Any]
    store: Store


class _Current:
    """The settings in force, and the store of the regions as they were at the last use."""

    def __init__(self) -> None:
        self._settings = Settings()
        self._silent_expire = False
        self._opened: _Opened | None = None
        self._lock = Lock()

    def use(self, settings: Settings, *, silent_expire: bool) -> None:
        """Put *settings* in force; *silent_expire* tells that the lifetime in the status region is nobody's."""
        with self._lock:
            opened = self._open(settings, silent_expire)
            self._settings = settings
            self._silent_expire = silent_expire
            self._replace(opened)

    def store(self) -> Store:
        """Return the store of the regions as they are now."""
        opened = self._opened
        if not self._is_current(opened):
            with self._lock:
                opened = self._opened
                if not self._is_current(opened):
                    opened = self._open(self._settings, self._silent_expire)
                    self._replace(opened)
        assert opened is not None  # noqa: S101
        return opened.store

    def _is_current(self, opened: _Opened | None) -> bool:
        return (
            opened is not None
            and opened.statuses == cache_regions.get(self._settings.status_region)
            and opened.tasks == cache_regions.get(self._settings.tasks_region)
        )

    def renew_lock(self) -> None:
        """Let go, in a forked child, of what a thread of its parent's may have held."""
        self._lock = Lock()

    def _replace(self, opened: _Opened) -> None:
        if self._opened:
            self._opened.store.storage.close()
        self._opened = opened

    def _open(self, settings: Settings, silent_expire: bool) -> _Opened:
        tasks, statuses = self._region(settings.tasks_region), self._region(settings.status_region)
        try:
            storage = open_storage(tasks, statuses, namespace=settings.namespace, timeout=settings.timeout)
        except (BeakerException, ImportError, OSError, ValueError) as error:
            raise ConfigurationError(
                f'the Beaker cache regions {settings.tasks_region!r} and {settings.status_region!r}'
                f' cannot be used: {error}'
            ) from error
        expire = statuses.get('expire')
        if not expire or (silent_expire and expire == _SILENT_EXPIRE):
            expire = settings.expire
        return _Opened(tasks, statuses, Store(storage, float(expire), settings))

    @staticmethod
    def _region(name: str) -> dict[str, Any]:
        try:
            return dict(cache_regions[name])
        except KeyError:
            raise ConfigurationError(
                f'the Beaker cache region {name!r} is not set up: include pyramid_progress in the application,'
                ' or call pyramid_progress.configure(settings)'
            ) from None


_current = _Current()

os.register_at_fork(after_in_child=_current.renew_lock)
