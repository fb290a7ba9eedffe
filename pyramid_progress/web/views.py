"""The views: statuses, the task list, and the cancel request."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pyramid.exceptions import PredicateMismatch
from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPConflict,
    HTTPException,
    HTTPNotFound,
    HTTPSeeOther,
)

from ..model.messages import DIRECTION, TASKS_TITLE
from ..model.record import RUN
from ..model.status import UNKNOWN, Status
from ..statuses import request_cancel
from ..work.errors import is_cancel
from . import csrf
from .access import Visitor
from .answers import error_answer, http_errors, wants_json
from .body import has_json_body, posted_id
from .i18n import language_of, localizer_of
from .ids import queried_ids, valid_id
from .task_list import REMOVABLE_STATUSES, Filters, list_visible


def get_progress_status_view(request: Any) -> dict[str, Any]:
    """Return the status of the task, or the tasks, that a request asks for: the JSON view.

    An application can use it for a route of its own, to which a script sends the id by POST as well (see
    ``docs/guides/migration-pyams.md``).

    :param request: a request with ``progress_id`` in its query string, once or up to 50 times, or once in the body of a
        POST
    :return: for one id, the status without ``owner``; for several, a dict of statuses by id
    :raises pyramid.httpexceptions.HTTPBadRequest: if there is no id, an invalid one, or too many, or if the request
        cannot be read
    :raises pyramid.httpexceptions.HTTPServiceUnavailable: if the store does not answer; the header ``Retry-After`` has
        the seconds to wait
    """
    with http_errors:
        progress_ids = queried_ids(request)
        # HEAD is a safe method (RFC 9110 section 9.2.1) whose answer shows no end to anyone.
        statuses = Visitor(request).visible_statuses(progress_ids, acknowledge=request.method != 'HEAD')
    return statuses if len(progress_ids) > 1 else statuses[progress_ids[0]]


def tasks(request: Any) -> dict[str, Any]:
    """Return the tasks that a request may list, by the ``tag``, ``status`` and ``before`` of its query string."""
    return asdict(list_visible(Visitor(request), Filters.parse(request.GET)))


def tasks_page(request: Any) -> dict[str, Any]:
    """Return what the task page shows, apart from its macro."""
    Filters.parse(request.GET)  # an unreadable query string is an error here, as in the JSON
    translate = localizer_of(request).translate
    return {'title': translate(TASKS_TITLE), 'lang': language_of(request), 'dir': translate(DIRECTION)}


def cancel(request: Any) -> Any:
    """Ask the task of a POST's ``progress_id`` to stop.

    The answer is the task's status for a JSON client, and a redirect to the page of the form for a browser.

    :param request: a request that passes :func:`pyramid_progress.web.csrf.check`
    :raises pyramid.httpexceptions.HTTPBadRequest: if there is no id, or an invalid one
    :raises pyramid.httpexceptions.HTTPNotFound: if there is no such task, or none that the request may see
    :raises pyramid.httpexceptions.HTTPConflict: if the task is not cancellable, or has ended
    """
    visitor, progress_id, members, status = _posted_task(request)
    if status['status'] != 'cancelling':
        storage, expire, _ = visitor.store
        is_asked = visitor.can_cancel(members, status) and request_cancel(
            storage, progress_id, expire, _run_of(members)
        )
        if not is_asked:
            raise HTTPConflict('This task cannot be cancelled.')
    return _answer(request, visitor.visible_statuses([progress_id])[progress_id])


def remove(request: Any) -> Any:
    """Remove the task of a POST's ``progress_id``, which has ended or stalled, from the store and all lists.

    The answer is ``{'status': 'unknown'}`` for a JSON client, and a redirect to the page of the form for a browser.

    :param request: a request that passes :func:`pyramid_progress.web.csrf.check`
    :raises pyramid.httpexceptions.HTTPBadRequest: if there is no id, or an invalid one
    :raises pyramid.httpexceptions.HTTPNotFound: if there is no such task, or none that the request may see
    :raises pyramid.httpexceptions.HTTPConflict: if the task has not ended, or is another user's
    """
    visitor, progress_id, members, status = _posted_task(request)
    if status['status'] not in REMOVABLE_STATUSES or not visitor.may_change(status):
        raise HTTPConflict('This task cannot be removed.')
    visitor.store.storage.delete(progress_id, _run_of(members))
    return _answer(request, dict(UNKNOWN))


def _run_of(members: Mapping[str, Any]) -> str | None:
    """Return the number of the run that was checked: a run that replaces it in the meantime is left alone."""
    return f'"{members[RUN]}"' if RUN in members else None


def _posted_task(request: Any) -> tuple[Visitor, str, dict[str, Any], Status]:
    """Return the user, the posted id, and the members and the status of its task, after the check of the request."""
    progress_id = posted_id(request)
    csrf.check(request)
    if progress_id is None:
        raise HTTPBadRequest('Missing argument')
    visitor = Visitor(request)
    found = visitor.find(valid_id(progress_id))
    if found is None:
        raise HTTPNotFound('There is no such task.')
    return visitor, progress_id, *found


def _answer(request: Any, status: Status) -> Any:
    """Return a status for a JSON client, and a redirect to the page of the form for a browser."""
    return status if wants_json(request) else HTTPSeeOther(_page_of(request))


def _page_of(request: Any) -> str:
    """Return the URL of the page with the form; the application's root if the browser does not send it."""
    page = request.referer or ''
    return page if page.startswith(request.host_url + '/') else request.application_url + '/'


def cancelled(error: Any, request: Any) -> HTTPException:
    """Answer a request whose own work was cancelled.

    :param error: :class:`.TaskCancelled`, or any group of exceptions
    :raises pyramid.exceptions.PredicateMismatch: if the group contains anything else, so that the application's own
        exception views answer
    """
    if not is_cancel(error):
        raise PredicateMismatch('The group contains other exceptions than TaskCancelled.')
    conflict = HTTPConflict('This was cancelled.')
    return error_answer(conflict, request) if has_json_body(request) else conflict
