"""The ``progress.`` settings of an application."""

import math
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: ``callable(request, progress_id, status) -> bool``: whether a request may see a status.
AccessRule = Callable[[Any, str, dict[str, Any]], bool]

PREFIX = 'progress.'

_URL = re.compile(r'(https?://[^\s/?#]+)?/(?!/)[^\s?#]*')

#: As browsers send it in the header ``Origin`` (RFC 6454 section 6.2): in lower case, without a path or a default port.
_ORIGIN = re.compile(r'(?!https:.*:443$|http:.*:80$)https?://[^\sA-Z/?#]+')

#: A hundred years, in seconds: the timeout of a lock cannot be much longer.
_MAX_SECONDS = 100 * 365 * 86400.0


@dataclass(frozen=True)
class Settings:
    """The settings with their defaults; ``docs/reference/settings.md`` describes each of them."""

    tasks_region: str = 'default'
    status_region: str = 'persistent'
    namespace: str = 'pyramid_progress'
    expire: float = 86400.0
    #: None stands for the default of the storage driver.
    linger: float | None = None
    timeout: float = 1.0
    access: str | AccessRule = 'auto'
    permission: str | None = None
    operator_permission: str | None = None
    #: 0 stands for the thread of the caller.
    threads: int = 4
    drain: float = 0.0
    poll_min: float = 0.5
    poll_max: float = 5.0
    #: None stands for ``auto``.
    sigterm: bool | None = None
    streams: int = 0
    events_url: str | None = None
    events_origins: tuple[str, ...] = ()
    max_streams: int = 10_000
    max_streams_per_client: int = 100

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> 'Settings':
        """Return the ``progress.`` settings of an application.

        :param settings: all of the application's settings, usually strings from an ini file
        :raises ValueError: for an unknown key that begins with ``progress.``, or an invalid value, naming both
        """
        values = {
            key.removeprefix(PREFIX): _PARSERS.get(key.removeprefix(PREFIX), _unknown)(key, value)
            for key, value in settings.items()
            if key.startswith(PREFIX)
        }
        parsed = cls(**values)
        if parsed.poll_min > parsed.poll_max:
            raise ValueError(
                f'progress.poll_min = {parsed.poll_min:g} is more than progress.poll_max = {parsed.poll_max:g}'
            )
        return parsed


def parse_seconds(key: str, value: Any) -> float:
    """Return a positive number of seconds from a setting.

    :raises ValueError: if it is not one, naming the setting and its value
    """
    number = _number(key, value)
    if number <= 0:
        raise ValueError(f'{key} = {value!r}: must be more than 0 seconds')
    return number


def _seconds_or_zero(key: str, value: Any) -> float:
    number = _number(key, value)
    if number < 0:
        raise ValueError(f'{key} = {value!r}: must not be less than 0 seconds')
    return number


def _number(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not abs(number) <= _MAX_SECONDS:
        raise ValueError(f'{key} = {value!r}: must be a number of seconds')
    return number


def _count(key: str, value: Any) -> int:
    try:
        number = int(value)
    except (OverflowError, TypeError, ValueError):
        number = -1
    if number < 0:
        raise ValueError(f'{key} = {value!r}: must be a whole number of at least 0')
    return number


def _name(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f'{key} = {value!r}: must be a name')
    return value.strip()


def _boolean_or_auto(key: str, value: Any) -> bool | None:
    word = str(value).strip().lower()
    if word == 'auto':
        return None
    if word in ('true', 'yes', 'on', '1'):
        return True
    if word in ('false', 'no', 'off', '0'):
        return False
    raise ValueError(f"{key} = {value!r}: must be 'auto', 'true' or 'false'")


def _url(key: str, value: Any) -> str:
    if not isinstance(value, str) or not _URL.fullmatch(value.strip()):
        raise ValueError(f'{key} = {value!r}: must be a path that begins with /, or an http or https URL')
    return value.strip()


def _origins(key: str, value: Any) -> tuple[str, ...]:
    origins = value.replace(',', ' ').split() if isinstance(value, str) else value
    if not isinstance(origins, (list, tuple)) or not all(
        isinstance(origin, str) and _ORIGIN.fullmatch(origin) for origin in origins
    ):
        raise ValueError(f'{key} = {value!r}: must be a list of origins, such as https://www.example.org')
    return tuple(origins)


def _access(key: str, value: Any) -> str | AccessRule:
    rule = value.strip() if isinstance(value, str) else value
    if rule in ('auto', 'id', 'owner'):
        return str(rule)
    if isinstance(rule, str):
        try:
            rule = pkgutil.resolve_name(rule)
        except (AttributeError, ImportError, ValueError) as error:
            raise ValueError(
                f"{key} = {value!r}: must be 'auto', 'id', 'owner' or the dotted name of a callable,"
                f' but this name cannot be imported ({error})'
            ) from error
    if not callable(rule):
        raise ValueError(f'{key} = {value!r}: must name a callable, not {rule!r}')
    checked: AccessRule = rule
    return checked


def _unknown(key: str, value: Any) -> Any:
    known = ', '.join(PREFIX + name for name in sorted(_PARSERS))
    raise ValueError(f'{key} = {value!r}: unknown setting; valid settings: {known}')


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    'tasks_region': _name,
    'status_region': _name,
    'namespace': _name,
    'expire': parse_seconds,
    'linger': _seconds_or_zero,
    'timeout': parse_seconds,
    'access': _access,
    'permission': _name,
    'operator_permission': _name,
    'threads': _count,
    'drain': _seconds_or_zero,
    'poll_min': parse_seconds,
    'poll_max': parse_seconds,
    'sigterm': _boolean_or_auto,
    'streams': _count,
    'events_url': _url,
    'events_origins': _origins,
    'max_streams': _count,
    'max_streams_per_client': _count,
}
