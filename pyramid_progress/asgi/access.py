"""Access to the tasks of a stream: the Pyramid application decides about it."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from pyramid.interfaces import IRoutesMapper
from pyramid.request import Request
from starlette.types import Scope

from ..storage import StorageError
from ..web.streams.decisions import CHECK_KEY, AccessCheck, Decisions

log = logging.getLogger(__name__)

#: Headers for which a proxy is responsible. The ASGI server has applied those of the proxies that it trusts.
_OF_PROXIES = ('X-FORWARDED-', 'FORWARDED')

#: Headers of a body, which the request of the check does not have.
_OF_BODIES = ('CONTENT-LENGTH', 'CONTENT-TYPE', 'TRANSFER-ENCODING')


class Access:
    """Asks a Pyramid application what the user of a stream may see.

    :param application: the WSGI application
    :param registry: the registry of its Pyramid application
    """

    def __init__(self, application: Any, registry: Any) -> None:
        self._application = application
        #: The path of the request that asks for decisions.
        self.path: str = registry.getUtility(IRoutesMapper).get_route('progress_events').generate({})

    async def decide(
        self,
        executor: Executor,
        environ: Mapping[str, str],
        progress_ids: Sequence[str],
        is_needed: Callable[[], bool],
    ) -> tuple[int, Decisions | None]:
        """Send the application a request, in a thread.

        :param executor: the threads
        :param environ: what :func:`environ_of` returned for the request of the stream
        :param progress_ids: the ids of the stream
        :param is_needed: returns False if the client has gone, so that nothing is done
        :return: the HTTP status of its answer, and its decisions; None if it refused the request
        :raises pyramid_progress.storage.StorageError: if the store does not answer
        """

        def ask() -> tuple[int, Decisions | None]:
            if not is_needed():
                return 503, None
            check = AccessCheck(progress_ids)
            request = Request.blank(self.path, environ={**environ, CHECK_KEY: check})
            response = request.get_response(self._application)
            if hasattr(response.app_iter, 'close'):
                response.app_iter.close()  # as PEP 3333 demands
            return response.status_code, check.decisions

        try:
            return await asyncio.get_running_loop().run_in_executor(executor, ask)
        except Exception as error:
            if isinstance(error, StorageError):
                raise
            log.exception('The application failed when it was asked for access to the tasks of an event stream')
            return 500, None


def environ_of(scope: Scope) -> dict[str, str]:
    """Return the variables of a WSGI environment for the request of an ASGI scope, apart from its path."""
    host, port = scope.get('server') or ('localhost', 80)
    environ = {
        'QUERY_STRING': scope['query_string'].decode('latin-1'),
        'SERVER_NAME': host,
        'SERVER_PORT': str(port or 0),
        'wsgi.url_scheme': scope['scheme'],
    }
    if scope.get('client'):
        environ['REMOTE_ADDR'] = scope['client'][0]
    for raw_name, raw_value in scope['headers']:
        name, value = raw_name.decode('latin-1').upper(), raw_value.decode('latin-1')
        # A name with an underscore could pass for one with a hyphen, which a proxy sets or removes.
        if '_' in name or name in _OF_BODIES or name.startswith(_OF_PROXIES):
            continue
        key = 'HTTP_' + name.replace('-', '_')
        separator = '; ' if name == 'COOKIE' else ', '
        environ[key] = f'{environ[key]}{separator}{value}' if key in environ else value
    return environ
