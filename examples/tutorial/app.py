"""A page that starts slow work, and a page with its progress bar."""

import time

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from waitress import serve

PAGE = """<!DOCTYPE html>
<html lang="en">
  <head><meta charset="utf-8"><title>Customers</title>{head}</head>
  <body><h1>Customers</h1>{body}</body>
</html>"""


def import_customers(task, count):
    """The slow work. It runs in a thread of its own."""
    for number in task.track(range(count)):
        task.message = f'Customer {number + 1}'
        time.sleep(0.1)
    return {'url': '/', 'text': f'{count} customers'}


def home(request):
    """Show the button."""
    body = '<form method="post" action="/imports"><button>Import</button></form>'
    return Response(PAGE.format(head='', body=body))


def start_import(request):
    """Start the work, and send the browser to the page of its bar."""
    progress_id = request.progress.submit(import_customers, 100, label='Importing customers')
    return HTTPSeeOther(request.route_path('import', progress_id=progress_id))


def show_import(request):
    """Show the bar."""
    bar = request.progress.bar(request.matchdict['progress_id'])
    return Response(PAGE.format(head=request.progress.assets(), body=bar))


def main():
    """Return the WSGI application."""
    settings = {
        'cache.regions': 'default, persistent',
        'cache.type': 'sqlite',
        'cache.data_dir': 'data',
    }
    with Configurator(settings=settings) as config:
        config.include('pyramid_progress')
        config.add_route('home', '/')
        config.add_route('imports', '/imports', request_method='POST')
        config.add_route('import', '/imports/{progress_id}')
        config.add_view(home, route_name='home')
        config.add_view(start_import, route_name='imports')
        config.add_view(show_import, route_name='import')
    return config.make_wsgi_app()


if __name__ == '__main__':
    serve(main(), listen='localhost:6543')
