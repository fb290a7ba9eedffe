"""The JSON view of statuses."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from pyramid.httpexceptions import HTTPBadRequest, HTTPException, HTTPServiceUnavailable

from .access import look
from .storage import StorageError
from .values import check_id

log = logging.getLogger(__name__)

#: How many tasks one request may ask for.
MOST_IDS = 50

#: Seconds after which a client may ask again where the store does not answer.
RETRY_AFTER = 2

View = Callable[[Any, Any], Any]


def statuses(request: Any) -> dict[str, Any]:
    """Return what :func:`pyramid_progress.progress.get_progress_status_view` promises."""
    progress_ids = _progress_ids(request)
    seen = look(request, progress_ids, take=True)
    return seen if len(progress_ids) > 1 else seen[progress_ids[0]]


def _progress_ids(request: Any) -> list[str]:
    try:
        query = request.GET
        progress_ids = query.getall('progress_id') if hasattr(query, 'getall') else [query['progress_id']]
    except KeyError:
        progress_ids = []
    except UnicodeDecodeError:
        raise HTTPBadRequest('The query string is not UTF-8') from None
    if not progress_ids:
        raise HTTPBadRequest('Missing argument')
    if len(progress_ids) > MOST_IDS:
        raise HTTPBadRequest(f'There are {len(progress_ids)} progress_id arguments, more than {MOST_IDS}')
    try:
        return [check_id(progress_id) for progress_id in progress_ids]
    except ValueError as error:
        raise HTTPBadRequest(str(error)) from None


def answered(view: View) -> View:
    """Decorate a view so that its errors are answers too.

    They are returned, not raised: an application's own error pages are for people, these answers are read by a script.
    All of them are of the moment: ``Cache-Control: no-store`` (RFC 9111, section 5.2.2.5).
    """

    @wraps(view)
    def wrapper(context: Any, request: Any) -> Any:
        try:
            response = view(context, request)
        except HTTPException as error:
            response = error
        except StorageError as error:
            log.warning('The status of a task cannot be read: %s', error)
            response = HTTPServiceUnavailable('The progress of tasks cannot be read at the moment.')
            response.headers['Retry-After'] = str(RETRY_AFTER)
        response.headers['Cache-Control'] = 'no-store'
        return response

    return wrapper
