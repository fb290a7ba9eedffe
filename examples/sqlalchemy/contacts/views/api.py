"""The API. Statuses, cancelling and removing are routes of pyramid_progress, whose URLs the answer to a POST has."""

from pyramid.httpexceptions import HTTPBadRequest
from pyramid.view import view_config
from sqlalchemy import select

from ..imports import submit_import
from ..models import Contact


@view_config(route_name='api_imports', request_method='POST', renderer='json')
def start_import(request):
    """Import the CSV file that is the body of the request."""
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        raise HTTPBadRequest('The body must be a CSV file in UTF-8.') from None
    progress_id = submit_import(request, text)
    request.response.status = 202
    return {
        'progress_id': progress_id,
        'status': request.route_url('progress_status', _query={'progress_id': progress_id}),
        'cancel': request.route_url('progress_cancel'),
        'remove': request.route_url('progress_remove'),
    }


@view_config(route_name='api_contacts', request_method='GET', renderer='json')
def contacts(request):
    return [
        {'email': contact.email, 'name': contact.name}
        for contact in request.dbsession.scalars(select(Contact).order_by(Contact.email))
    ]
