"""The language of a request."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyramid.i18n import make_localizer
from pyramid.interfaces import ILocalizer, ITranslationDirectories

from .body import UNREADABLE

#: A locale name as Pyramid has it, such as ``de`` or ``pt_BR``.
_LOCALE_NAME = re.compile('[A-Za-z0-9_@]{1,32}')


def localizer_of(request: Any) -> Any:
    """Return the localizer of a request's locale, or that of the default locale if there is no catalogue for it.

    ``request.localizer`` is not used: Pyramid keeps a localizer for every name that a request gives, so that requests
    could fill the memory; and its locale negotiator reads the request, which may be unreadable.
    """
    registry = request.registry
    directories = registry.queryUtility(ITranslationDirectories, default=[])
    # The registry of a test may have no settings.
    name = (registry.settings or {}).get('pyramid.default_locale_name', 'en')
    try:
        wanted = request.locale_name
    except UNREADABLE:
        wanted = name
    for candidate in (wanted, wanted.split('_')[0]):
        # A name becomes part of a path; a long one would fill the memory.
        if _LOCALE_NAME.fullmatch(candidate) and _has_catalogue(candidate, tuple(directories)):
            name = candidate
            break
    localizer = registry.queryUtility(ILocalizer, name=name)
    if localizer is None:
        localizer = make_localizer(name, directories)
        registry.registerUtility(localizer, ILocalizer, name=name)
    return localizer


def language_of(request: Any) -> str:
    """Return the language of a request as an HTML ``lang`` attribute has it."""
    name: str = localizer_of(request).locale_name
    return name.replace('_', '-')


@lru_cache(maxsize=256)
def _has_catalogue(name: str, directories: tuple[str, ...]) -> bool:
    return any(Path(directory, name, 'LC_MESSAGES').is_dir() for directory in directories)
