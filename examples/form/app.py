"""A form whose POST is the slow work: its bar is shown while the browser waits for the answer."""

import csv
import io
import time
from html import escape

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.response import Response
from waitress import serve

import pyramid_progress

PAGE = """<!DOCTYPE html>
<html lang="en">
  <head><meta charset="utf-8"><title>Customers</title>{assets}</head>
  <body>
    <h1>Customers</h1>
    <p>{sentence}</p>
    <form method="post" enctype="multipart/form-data" data-progress>
      <label>CSV file with the column name: <input type="file" name="file" required></label>
      <button>Import</button>
    </form>
  </body>
</html>"""


def page(request, sentence):
    """Return the page with a sentence."""
    return Response(PAGE.format(assets=request.progress.assets(), sentence=escape(sentence)))


def show_form(request):
    """Answer the GET."""
    return page(request, 'Choose a file.')


def import_view(request):
    """Import the file, and answer the POST when that is done."""
    rows = read_rows(request)
    try:
        with request.progress.start('Importing customers', length=len(rows)) as task:
            for number, row in enumerate(task.track(rows), 1):
                task.message = row.get('name')
                load(number, row)
    except pyramid_progress.ProgressError as error:
        return page(request, f'The import has ended. {error}')
    return page(request, f'{len(rows)} customers were imported.')


def read_rows(request):
    """Return the rows of the posted file."""
    try:
        return list(csv.DictReader(io.TextIOWrapper(request.POST['file'].file, 'utf-8')))
    except (AttributeError, KeyError, UnicodeDecodeError):
        raise HTTPBadRequest('The file must be a CSV file in UTF-8.') from None


def load(number, row):
    """Load a customer. This stands for the work of the application."""
    if not row.get('name'):
        raise pyramid_progress.ProgressError(f'Row {number} has no name.')
    time.sleep(0.1)


def main():
    """Return the WSGI application."""
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': 'data'}
    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
        config.add_route('customers', '/')
        config.add_view(show_form, route_name='customers', request_method='GET')
        config.add_view(import_view, route_name='customers', request_method='POST')
    return config.make_wsgi_app()


if __name__ == '__main__':
    serve(main(), listen='localhost:6543')
