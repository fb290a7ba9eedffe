"""The pages: forms that send work to the workers, the bar, and the files."""

from pathlib import Path

from pyramid.httpexceptions import HTTPNotFound, HTTPSeeOther
from pyramid.response import FileResponse
from pyramid.view import view_config

from pyramid_progress.celery import apply_group

from .worker import make_archive, write_report

COUNTRIES = ('France', 'Germany', 'Italy', 'Japan', 'Spain')


@view_config(route_name='reports', request_method='GET', renderer='templates/reports.pt')
@view_config(route_name='started', request_method='GET', renderer='templates/reports.pt')
def reports(request):
    """Show the forms and, at the URL of work that was started, its bar."""
    return {'progress_id': request.matchdict.get('progress_id')}


@view_config(route_name='reports', request_method='POST', request_param='one')
def start_one(request):
    """Send one task."""
    return _show(request, write_report.apply_for(request, [COUNTRIES[0]], label=f'Sales of {COUNTRIES[0]}'))


@view_config(route_name='reports', request_method='POST', request_param='group')
def start_group(request):
    """Send a task for each country, with one bar."""
    tasks = [write_report.s(country) for country in COUNTRIES]
    return _show(request, apply_group(request, tasks, label='Sales of all countries'))


@view_config(route_name='reports', request_method='POST', request_param='chord')
def start_chord(request):
    """Send a task for each country, and one that gets what they return, with one bar."""
    tasks = [write_report.s(country) for country in COUNTRIES]
    return _show(request, apply_group(request, tasks, label='Archive of all countries', callback=make_archive.s()))


@view_config(route_name='file', request_method='GET')
def download(request):
    """Return a file."""
    path = Path(request.registry.settings['sales.data_dir'], Path(request.matchdict['name']).name)
    if not path.is_file():
        raise HTTPNotFound
    return FileResponse(str(path), request=request)


def _show(request, result):
    return HTTPSeeOther(request.route_path('started', progress_id=result.id))
