"""A report at a permanent URL: while it is made, its page has the bar; afterwards, the report."""

import time
from html import escape
from pathlib import Path

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from waitress import serve

from pyramid_progress import get_progress_status

PAGE = """<!DOCTYPE html>
<html lang="en">
  <head><meta charset="utf-8"><title>Report</title>{assets}</head>
  <body>
    <h1>Report of {year}</h1>
    {content}
    <form method="post"><button>Make the report</button></form>
  </body>
</html>"""


def path_of(year):
    """Return the path of the report of a year."""
    return Path('data', f'report-{year}.txt')


def make_report(task, year):
    """Make the report of a year."""
    for month in task.track(range(1, 13)):
        task.message = f'Month {month}'
        time.sleep(0.2)  # the work
    path_of(year).write_text(f'The sales of {year}')


def show(request):
    """Show the report, or the bar."""
    year = request.matchdict['year']
    progress_id = f'report:{year}'
    if get_progress_status(progress_id, acknowledge=False)['status'] not in ('unknown', 'finished'):
        content = request.progress.bar(progress_id, when_finished='reload')
    elif path_of(year).exists():
        content = f'<p>{escape(path_of(year).read_text())}</p>'
    else:
        content = '<p>There is no report.</p>'
    return Response(PAGE.format(assets=request.progress.assets(), year=year, content=content))


def start(request):
    """Start the work, unless it runs already, and send the browser to the page of the report."""
    year = request.matchdict['year']
    progress_id = f'report:{year}'
    status = get_progress_status(progress_id, acknowledge=False)['status']
    if status not in ('pending', 'running', 'cancelling'):
        request.progress.submit(make_report, year, label=f'Report of {year}', progress_id=progress_id)
    return HTTPSeeOther(request.path)


def main():
    """Return the WSGI application."""
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': 'data'}
    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
        config.add_route('report', '/reports/{year:[0-9]{4}}')
        config.add_view(show, route_name='report', request_method='GET')
        config.add_view(start, route_name='report', request_method='POST')
    return config.make_wsgi_app()


if __name__ == '__main__':
    serve(main(), listen='localhost:6543')
