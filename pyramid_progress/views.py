"""What the add-on answers over HTTP."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPException,
    HTTPNotFound,
    HTTPSeeOther,
    HTTPServiceUnavailable,
)

from . import csrf
from .access import look
from .regions import store
from .storage import StorageError
from .storage.record import CANCEL
from .tasks import list_tasks, wanted
from .values import check_id
from .words import TASKS_TITLE, localizer_of

log = logging.getLogger(__name__)

#: How many tasks one request may ask for.
MOST_IDS = 50

#: Seconds after which a client may ask again where the store does not answer.
RETRY_AFTER = 2

View = Callable[[Any, Any], Any]


def statuses(request: Any) -> dict[str, Any]:
    """Return what :func:`pyramid_progress.progress.get_progress_status_view` promises."""
    progress_ids = _progress_ids(request)
    # A HEAD (RFC 9110 section 9.3.2) tells nobody of the end.
    seen = look(request, progress_ids, take=request.method == 'GET')
    return seen if len(progress_ids) > 1 else seen[progress_ids[0]]


def _progress_ids(request: Any) -> list[str]:
    try:
        query = request.GET
        progress_ids = query.getall('progress_id') if hasattr(query, 'getall') else [query['progress_id']]
    except KeyError:
        progress_ids = []
    if not progress_ids:
        raise HTTPBadRequest('Missing argument')
    if len(progress_ids) > MOST_IDS:
        raise HTTPBadRequest(f'There are {len(progress_ids)} progress_id arguments, more than {MOST_IDS}')
    return [_check_id(progress_id) for progress_id in progress_ids]


def _check_id(progress_id: str) -> str:
    try:
        return check_id(progress_id)
    except ValueError as error:
        raise HTTPBadRequest(str(error)) from None


def tasks(request: Any) -> dict[str, Any]:
    """Return the tasks that a request may list, by the ``tag``, ``status`` and ``page`` of its query string."""
    return asdict(list_tasks(request, **wanted(request)))


def tasks_page(request: Any) -> dict[str, Any]:
    """Return what the page of tasks shows, apart from its macro."""
    localizer = localizer_of(request)
    return {'title': localizer.translate(TASKS_TITLE), 'lang': localizer.locale_name.replace('_', '-')}


def cancel(request: Any) -> Any:
    """Ask the task of a POST's ``progress_id`` to stop.

    The answer is the task's status for a JSON client, and for a form the page that it was sent from.

    :param request: a request that passes :func:`pyramid_progress.csrf.check`
    :raises pyramid.httpexceptions.HTTPBadRequest: where there is no id, or one that cannot be one
    :raises pyramid.httpexceptions.HTTPNotFound: where there is no such task, or none that the request may see
    :raises pyramid.httpexceptions.HTTPConflict: where the task cannot be asked to stop, or not any more
    """
    progress_id = posted_id(request)
    csrf.check(request)
    if progress_id is None:
        raise HTTPBadRequest('Missing argument')
    _check_id(progress_id)
    status = look(request, [progress_id])[progress_id]
    if status['status'] == 'unknown':
        raise HTTPNotFound('There is no such task.')
    if status['status'] != 'cancelling':
        if 'cancellable' not in status:
            raise HTTPConflict('This task cannot be cancelled.')
        storage, expire, _ = store()
        storage.amend({progress_id: {CANCEL: 'true'}}, expire)
        status = look(request, [progress_id])[progress_id]
    accepted = request.accept.acceptable_offers(['text/html', 'application/json'])
    if accepted and accepted[0][0] == 'text/html':
        return HTTPSeeOther(_page_of(request))
    return status


def posted_id(request: Any) -> str | None:
    """Return the ``progress_id`` in the body of a request, whatever it is worth; None where there is none.

    :raises pyramid.httpexceptions.HTTPBadRequest: where the body cannot be read
    """
    try:
        progress_id = request.POST.get('progress_id')
    except (DeprecationWarning, LookupError, ValueError) as error:
        # So WebOb says that it does not know the charset, or that the parts of a form have no boundary.
        raise HTTPBadRequest('The body of the request cannot be read.') from error
    return progress_id if isinstance(progress_id, str) else None  # it may be an upload


def _page_of(request: Any) -> str:
    """Return the URL of the page that a form was on; the application's root where the browser does not say."""
    page = request.referer or ''
    return page if page.startswith(request.host_url + '/') else request.application_url + '/'


def cancelled(error: Any, request: Any) -> HTTPException:
    """Answer a request whose own work somebody cancelled."""
    return HTTPConflict('This was cancelled.')


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
        except UnicodeDecodeError:
            response = HTTPBadRequest('The query string is not UTF-8')
        except StorageError as error:
            log.warning('The status of a task cannot be read: %s', error)
            response = HTTPServiceUnavailable('The progress of tasks cannot be read at the moment.')
            response.headers['Retry-After'] = str(RETRY_AFTER)
        response.headers['Cache-Control'] = 'no-store'
        return response

    return wrapper
