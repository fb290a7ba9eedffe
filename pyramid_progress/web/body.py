"""The body of a request."""

from typing import Any

from pyramid.httpexceptions import HTTPBadRequest


def posted_id(request: Any) -> str | None:
    """Return the ``progress_id`` in the body of a request, not validated; None if there is none.

    :raises pyramid.httpexceptions.HTTPBadRequest: if the body cannot be read
    """
    try:
        progress_id = request.POST.get('progress_id')
    except (DeprecationWarning, LookupError, ValueError) as error:
        # WebOb raises the first two for an unknown charset, and the last for a multipart body without boundary.
        raise HTTPBadRequest('The body of the request cannot be read.') from error
    return progress_id if isinstance(progress_id, str) else None  # it may be an upload
