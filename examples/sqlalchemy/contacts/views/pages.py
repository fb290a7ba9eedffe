"""The pages."""

from pyramid.httpexceptions import HTTPBadRequest, HTTPSeeOther
from pyramid.view import view_config
from sqlalchemy import select

from ..imports import submit_import
from ..models import Contact


@view_config(route_name='home', request_method='GET', renderer='contacts:templates/home.jinja2')
def home(request):
    return {'contacts': request.dbsession.scalars(select(Contact).order_by(Contact.email).limit(100)).all()}


@view_config(route_name='import', request_method='POST')
def import_view(request):
    file = request.POST.get('file')
    try:
        text = file.file.read().decode()
    except (AttributeError, UnicodeDecodeError):
        raise HTTPBadRequest('The file must be a CSV file in UTF-8.') from None
    progress_id = submit_import(request, text)
    # The page of the bar is loaded by GET, so that it can be reloaded.
    return HTTPSeeOther(request.route_path('import_progress', progress_id=progress_id))


@view_config(route_name='import_progress', request_method='GET', renderer='contacts:templates/import.jinja2')
def import_progress(request):
    return {'progress_id': request.matchdict['progress_id']}
