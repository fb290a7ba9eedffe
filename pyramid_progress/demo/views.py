"""The pages."""

# Pyramid has no types.
# mypy: disable-error-code="untyped-decorator"

import os
import re
import shutil
import unicodedata
from typing import IO, Any

from pyramid.exceptions import BadCSRFOrigin, BadCSRFToken
from pyramid.httpexceptions import HTTPNotFound, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import FileResponse, Response
from pyramid.security import remember
from pyramid.view import exception_view_config, notfound_view_config, view_config

from . import jobs
from .census import offered_packages
from .csv_import import find_rows
from .security import new_visitor
from .unicode_sample import sample_file

ROWS_SHOWN = 50
LONGEST_NAME = 100  # characters of a file's name


@view_config(route_name='index', request_method='GET', renderer='templates/index.pt')
def index(request: Request) -> dict[str, Any]:
    """Both forms, and below them the visitor's tasks."""
    if request.authenticated_userid is None:
        remember(request, new_visitor())
    return index_page(request)


def index_page(request: Request, import_error: str | None = None, census_error: str | None = None) -> dict[str, Any]:
    """What the index shows; an error stands at the form it belongs to."""
    if import_error or census_error:
        request.response.status_int = 400
    return {
        'tasks': request.store.tasks(request.authenticated_userid),
        'packages': offered_packages(),
        'max_upload': max_upload(request),
        'unicode_version': unicodedata.unidata_version,
        'import_error': import_error,
        'census_error': census_error,
    }


@view_config(route_name='import', request_method='POST', renderer='templates/index.pt')
def import_upload(request: Request) -> dict[str, Any] | HTTPSeeOther:
    """Import the file that came with the form."""
    upload = request.POST.get('file')
    if not getattr(upload, 'filename', None):
        return index_page(request, import_error='Please choose a CSV file first.')
    name = plain_name(upload.filename)
    size = upload.file.seek(0, os.SEEK_END)
    if size == 0:
        return index_page(request, import_error=f'The file {name} is empty.')
    if size > max_upload(request):
        return index_page(
            request,
            import_error=f'The file {name} has {size:,} bytes, more than {max_upload(request):,}.',
        )
    return start_import(request, name, upload.file)


@view_config(route_name='import_sample', request_method='POST')
def import_sample(request: Request) -> HTTPSeeOther:
    """Import the characters of Unicode."""
    path = sample_file(request.store.data_dir)
    with path.open('rb') as file:
        return start_import(request, path.name, file)


def start_import(request: Request, name: str, content: IO[bytes]) -> HTTPSeeOther:
    """Start the import of a copy: the request's own file is gone with the request."""
    with request.store.new_upload() as copy:
        content.seek(0)
        shutil.copyfileobj(content, copy)
    return start(request, jobs.import_file, copy.name, label=f'Import of {name}', kind='import')


@view_config(route_name='sample', request_method='GET')
def download_sample(request: Request) -> Response:
    """The characters of Unicode as a CSV file."""
    path = sample_file(request.store.data_dir)
    response = FileResponse(path, request=request, content_type='text/csv')
    response.content_disposition = f'attachment; filename="{path.name}"'
    return response


@view_config(route_name='census', request_method='POST', renderer='templates/index.pt')
def census(request: Request) -> dict[str, Any] | HTTPSeeOther:
    """Count what one of the offered packages is made of."""
    name = request.POST.get('package')
    if name not in offered_packages():
        return index_page(request, census_error='Please choose one of the packages on the list.')
    return start(request, jobs.count_code, name, label=f'Census of {name}', kind='census')


def start(request: Request, *args: Any, **told: Any) -> HTTPSeeOther:
    """Start a job, see :func:`pyramid_progress.demo.jobs.start`, and go to where its bar is."""
    return HTTPSeeOther(request.route_path('index', _anchor=f'task-{jobs.start(request, *args, **told)}'))


@view_config(route_name='task', request_method='GET', renderer='templates/task.pt')
def task(request: Request) -> dict[str, Any]:
    """One task: its bar, or what came of it; for an import, its rows."""
    store = request.store
    found = store.task(request.matchdict['task_id'], request.authenticated_userid)
    if found is None:
        raise HTTPNotFound
    words, rows = '', None
    if found.kind == 'import' and found.result:
        if found.result['searchable']:
            words = request.GET.get('words', '')
        rows = find_rows(store.rows_path(found.id), words, ROWS_SHOWN)
    return {'task': found, 'rows': rows, 'words': words}


@notfound_view_config(renderer='templates/error.pt')
def not_found(request: Request) -> dict[str, str]:
    """Nothing here, or nothing for this visitor: both look alike."""
    request.response.status_int = 404
    return {
        'title': 'There is no such page',
        'sentence': 'What was here may have made room for newer tasks, or belongs to another visitor.',
    }


@exception_view_config(BadCSRFToken, renderer='templates/error.pt')
@exception_view_config(BadCSRFOrigin, renderer='templates/error.pt')
def not_from_our_form(request: Request) -> dict[str, str]:
    """A POST without the token that our forms carry."""
    request.response.status_int = 400
    return {
        'title': 'This form is out of date',
        'sentence': 'Nothing was started. Please go to the start page, which brings a fresh form, and'
        ' try again; your browser has to accept its cookie.',
    }


def max_upload(request: Request) -> int:
    """The size in bytes that an uploaded file may have."""
    return int(request.registry.settings['demo.max_upload'])


def plain_name(filename: str) -> str:
    """The name of an uploaded file to show: no folders, no control characters, not too long."""
    name = re.split(r'[/\\]', filename)[-1]
    return re.sub(r'[\x00-\x1f\x7f]', ' ', name)[:LONGEST_NAME].strip() or 'a file'
