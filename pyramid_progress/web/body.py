"""The body of a request."""

from typing import Any

from pyramid.httpexceptions import HTTPBadRequest

#: What WebOb and :mod:`json` raise for an unknown charset (the first two), for deeply nested JSON (the third), and for
#: a query string that is not UTF-8, a multipart body without boundary, or other text than JSON (the last).
UNREADABLE = (DeprecationWarning, LookupError, RecursionError, ValueError)


def has_json_body(request: Any) -> bool:
    """Return whether the body of a request is JSON."""
    # A DummyRequest has no content type.
    return getattr(request, 'content_type', None) == 'application/json'


def posted_id(request: Any) -> str | None:
    """Return the ``progress_id`` in the body of a request, which is a form or a JSON object; None if there is none.

    It is not validated.

    :raises pyramid.httpexceptions.HTTPBadRequest: if the body cannot be read
    """
    try:
        body = request.json_body if has_json_body(request) else request.POST
    except UNREADABLE as error:
        raise HTTPBadRequest('The body of the request cannot be read.') from error
    progress_id = body.get('progress_id') if hasattr(body, 'get') else None
    return progress_id if isinstance(progress_id, str) else None  # it may be an upload
