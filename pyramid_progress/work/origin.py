"""The data of a request that the work it submits needs: its locale, and what URLs are made of."""

import json
from typing import Any, NamedTuple

#: The variables of a WSGI environment that URLs are made of (PEP 3333), apart from the host and the path.
_URL_VARIABLES = ('wsgi.url_scheme', 'SERVER_NAME', 'SERVER_PORT', 'SCRIPT_NAME')


class Origin(NamedTuple):
    """The data that submitted work keeps of its request."""

    #: the variables of its WSGI environment that URLs are made of, apart from the path
    environ: dict[str, str]
    #: its locale
    locale_name: str

    @classmethod
    def of(cls, request: Any) -> 'Origin':
        """Return the origin of work that a request submits."""
        environ = {name: request.environ[name] for name in _URL_VARIABLES if name in request.environ}
        environ['HTTP_HOST'] = request.host  # with the server's name, if the request has no such header
        try:
            locale_name = request.locale_name
        except (DeprecationWarning, LookupError, ValueError):  # WebOb cannot read the request
            locale_name = request.registry.settings['pyramid.default_locale_name']
        return cls(environ, locale_name)

    def dump(self) -> str:
        """Return the origin as JSON text."""
        return json.dumps(self)

    @classmethod
    def load(cls, text: str) -> 'Origin':
        """Return the origin of a text that :meth:`dump` returned."""
        return cls(*json.loads(text))
