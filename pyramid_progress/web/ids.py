"""The ids in a query string."""

from typing import Any

from pyramid.httpexceptions import HTTPBadRequest

from ..model.values import check_id
from .body import posted_id

#: How many tasks one request may ask for.
MAX_IDS = 50


def queried_ids(request: Any) -> list[str]:
    """Return the ids that a request asks for.

    :param request: a request with ``progress_id`` in its query string, once or up to 50 times, or once in the body of a
        POST
    :raises pyramid.httpexceptions.HTTPBadRequest: if there is no id, an invalid one, or too many, or if the body cannot
        be read
    """
    try:
        query = request.GET
        progress_ids = query.getall('progress_id') if hasattr(query, 'getall') else [query['progress_id']]
    except KeyError:
        progress_ids = []
    if not progress_ids and request.method == 'POST' and (posted := posted_id(request)):
        progress_ids = [posted]
    if not progress_ids:
        raise HTTPBadRequest('Missing argument')
    if len(progress_ids) > MAX_IDS:
        raise HTTPBadRequest(f'There are {len(progress_ids)} progress_id arguments, more than {MAX_IDS}')
    return [valid_id(progress_id) for progress_id in progress_ids]


def valid_id(progress_id: str) -> str:
    """Return an id that a client sent.

    :raises pyramid.httpexceptions.HTTPBadRequest: if it is invalid
    """
    try:
        return check_id(progress_id)
    except ValueError as error:
        raise HTTPBadRequest(str(error)) from None
