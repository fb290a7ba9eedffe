"""The ``progress.`` settings of an application."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyramid.exceptions import ConfigurationError
from pyramid.path import DottedNameResolver

#: ``callable(request, progress_id, status) -> bool``: may this request see that status?
AccessRule = Callable[[Any, str, dict[str, Any]], bool]

PREFIX = 'progress.'

#: A hundred years, in seconds: more than anybody waits for, and less than a lock's timeout can take.
_LONGEST = 100 * 365 * 86400.0


@dataclass(frozen=True)
class Settings:
    """What can be set, with its defaults; the README's table says what each one is for."""

    tasks_region: str = 'default'
    status_region: str = 'persistent'
    namespace: str = 'pyramid_progress'
    expire: float = 86400.0
    linger: float = 60.0
    timeout: float = 1.0
    access: str | AccessRule = 'auto'
    permission: str | None = None
    operator_permission: str | None = None
    threads: int = 4
    poll_min: float = 0.5
    poll_max: float = 5.0

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> 'Settings':
        """Return the settings that an application gave.

        :param settings: all of the application's settings, usually strings from an ini file
        :raises pyramid.exceptions.ConfigurationError: for an unknown ``progress.`` key or a value that will not
            do, naming both
        """
        values = {
            key.removeprefix(PREFIX): _READERS.get(key.removeprefix(PREFIX), _unknown)(key, value)
            for key, value in settings.items()
            if key.startswith(PREFIX)
        }
        parsed = cls(**values)
        if parsed.poll_min > parsed.poll_max:
            raise ConfigurationError(
                f'progress.poll_min = {parsed.poll_min:g} is more than progress.poll_max = {parsed.poll_max:g}'
            )
        return parsed


def seconds(key: str, value: Any) -> float:
    """Return a positive number of seconds from a setting.

    :raises pyramid.exceptions.ConfigurationError: where it is none, naming the setting and its value
    """
    number = _number(key, value)
    if number <= 0:
        raise ConfigurationError(f'{key} = {value!r}: this must be more than 0 seconds')
    return number


def _seconds_or_zero(key: str, value: Any) -> float:
    number = _number(key, value)
    if number < 0:
        raise ConfigurationError(f'{key} = {value!r}: this must not be less than 0 seconds')
    return number


def _number(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not abs(number) <= _LONGEST:
        raise ConfigurationError(f'{key} = {value!r}: this must be a number of seconds')
    return number


def _count(key: str, value: Any) -> int:
    try:
        number = int(value)
    except (OverflowError, TypeError, ValueError):
        number = 0
    if number < 1:
        raise ConfigurationError(f'{key} = {value!r}: this must be a whole number of at least 1')
    return number


def _word(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f'{key} = {value!r}: this must be a name')
    return value.strip()


def _access(key: str, value: Any) -> str | AccessRule:
    rule = value.strip() if isinstance(value, str) else value
    if rule in ('auto', 'id', 'owner'):
        return str(rule)
    try:
        rule = DottedNameResolver().maybe_resolve(rule)
    except (ImportError, IndexError, ValueError) as error:  # the resolver's for an empty name
        raise ConfigurationError(
            f"{key} = {value!r}: this must be 'auto', 'id', 'owner' or the dotted name of a callable,"
            f' but that name cannot be imported ({error})'
        ) from error
    if not callable(rule):
        raise ConfigurationError(f'{key} = {value!r}: what this names cannot be called')
    checked: AccessRule = rule
    return checked


def _unknown(key: str, value: Any) -> Any:
    known = ', '.join(PREFIX + name for name in sorted(_READERS))
    raise ConfigurationError(f'{key} = {value!r}: there is no such setting; there are {known}')


_READERS: dict[str, Callable[[str, Any], Any]] = {
    'tasks_region': _word,
    'status_region': _word,
    'namespace': _word,
    'expire': seconds,
    'linger': _seconds_or_zero,
    'timeout': seconds,
    'access': _access,
    'permission': _word,
    'operator_permission': _word,
    'threads': _count,
    'poll_min': seconds,
    'poll_max': seconds,
}
