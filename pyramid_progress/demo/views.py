"""The pages of the demo."""

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

from .census import offered_packages
from .csv_import import find_rows
from .jobs import Job, count_code, import_file
from .security import new_visitor
from .unicode_sample import sample_file

#: How many rows of an import a page shows.
MAX_ROWS = 50
#: How many characters of the name of a file a page shows.
MAX_NAME_LENGTH = 100


@view_config(route_name='index', request_method='GET', renderer='templates/index.pt')
def index(request: Request) -> dict[str, Any]:
    """Show the forms, and below them the visitor's tasks."""
    if request.authenticated_userid is None:
        remember(request, new_visitor())
    return index_page(request)


def index_page(request: Request, import_error: str | None = None, census_error: str | None = None) -> dict[str, Any]:
    """Return what the template of the index needs. Each error is shown at its form."""
    if import_error or census_error:
        request.response.status_int = 400
    tasks = request.store.tasks(request.authenticated_userid)
    # One read of the store of progress for all bars of the page.
    request.progress.preload([task.id for task in tasks if not task.result])
    return {
        'tasks': tasks,
        'packages': offered_packages(),
        'max_upload': max_upload(request),
        'unicode_version': unicodedata.unidata_version,
        'import_error': import_error,
        'census_error': census_error,
    }


@view_config(route_name='import', request_method='POST', renderer='templates/index.pt')
def import_upload(request: Request) -> dict[str, Any] | HTTPSeeOther:
    """Import the uploaded file."""
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
    """Import the sample file: the characters of Unicode."""
    path = sample_file(request.store.data_dir)
    with path.open('rb') as file:
        return start_import(request, path.name, file)


def start_import(request: Request, name: str, content: IO[bytes]) -> HTTPSeeOther:
    """Start the import of a copy of a file: the file of an upload is deleted at the end of the request."""
    with request.store.new_upload() as copy:
        content.seek(0)
        shutil.copyfileobj(content, copy)
    return start(request, import_file, copy.name, label=f'Import of {name}', kind='import')


@view_config(route_name='sample', request_method='GET')
def download_sample(request: Request) -> Response:
    """Return the sample file."""
    path = sample_file(request.store.data_dir)
    response = FileResponse(path, request=request, content_type='text/csv')
    response.content_disposition = f'attachment; filename="{path.name}"'
    return response


@view_config(route_name='census', request_method='POST', renderer='templates/index.pt')
def census(request: Request) -> dict[str, Any] | HTTPSeeOther:
    """Take the census of one of the offered packages."""
    name = request.POST.get('package')
    if name not in offered_packages():
        return index_page(request, census_error='Please choose one of the packages on the list.')
    return start(request, count_code, name, label=f'Census of {name}', kind='census')


def start(request: Request, job: Job, arg: str, *, label: str, kind: str) -> HTTPSeeOther:
    """Start a job for the visitor, and redirect to its bar.

    :param request: the current request
    :param job: a function of :mod:`.jobs`
    :param arg: its last argument
    :param label: the label of the task
    :param kind: ``import`` or ``census``: selects the template of the result
    """
    args = (str(request.store.data_dir), request.route_path('task', task_id=''), arg)
    task_id = request.submit_job(job, *args, label=label, tags=['demo', kind])
    request.store.add(task_id, request.authenticated_userid, kind, label)
    return HTTPSeeOther(request.route_path('index', _anchor=f'task-{task_id}'))


@view_config(route_name='task', request_method='GET', renderer='templates/task.pt')
def task(request: Request) -> dict[str, Any]:
    """Show one task: its bar, or its result; for an import, also its rows."""
    store = request.store
    found = store.task(request.matchdict['task_id'], request.authenticated_userid)
    if found is None:
        raise HTTPNotFound
    words, rows = '', None
    if found.kind == 'import' and found.result:
        if found.result['searchable']:
            words = request.GET.get('words', '')
        rows = find_rows(store.rows_path(found.id), words, MAX_ROWS)
    return {'task': found, 'rows': rows, 'words': words}


@notfound_view_config(renderer='templates/error.pt')
def not_found(request: Request) -> dict[str, str]:
    """Answer 404, also for a task of another visitor: the two cases must look the same."""
    request.response.status_int = 404
    return {
        'title': 'There is no such page',
        'sentence': 'It may have been deleted, which happens after a day, or it belongs to another visitor.',
    }


@exception_view_config(BadCSRFToken, renderer='templates/error.pt')
@exception_view_config(BadCSRFOrigin, renderer='templates/error.pt')
def not_from_our_form(request: Request) -> dict[str, str]:
    """Answer a POST without the CSRF token that each form of the demo contains."""
    request.response.status_int = 400
    return {
        'title': 'This form is out of date',
        'sentence': 'Nothing was started. Please go to the start page, which has a new form, and try again. Your'
        ' browser must accept its cookie.',
    }


def max_upload(request: Request) -> int:
    """Return the maximum size of an uploaded file in bytes."""
    return int(request.registry.settings['demo.max_upload'])


def plain_name(filename: str) -> str:
    """Return the name of an uploaded file without directories and control characters, cut to a maximum length."""
    name = re.split(r'[/\\]', filename)[-1]
    return re.sub(r'[\x00-\x1f\x7f]', ' ', name)[:MAX_NAME_LENGTH].strip() or 'a file'
