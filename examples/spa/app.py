"""The server of a single-page client: an API, and the files of the client."""

import time
from pathlib import Path

from pyramid.config import Configurator
from pyramid.csrf import get_csrf_token
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory
from waitress import serve

CLIENT = Path(__file__).parent / 'client'


def export(task, year):
    """The slow work."""
    for month in task.track(range(1, 13)):
        task.message = f'{year}-{month:02}'
        time.sleep(0.3)
    return {'url': f'/exports/{year}.csv', 'text': 'Download'}


def index(request):
    """Return the page of the client."""
    return FileResponse(CLIENT / 'index.html', request=request)


def configuration(request):
    """Return what the client needs for bars."""
    return {
        'assets': str(request.progress.assets()),
        'poller': request.static_path('pyramid_progress:static/poller.js'),
        'status': request.route_path('progress_status'),
        'cancel': request.route_path('progress_cancel'),
        'csrfToken': get_csrf_token(request),
    }


def start_export(request):
    """Start the work."""
    progress_id = request.progress.submit(export, 2026, label='Export of 2026')
    request.response.status = 202
    return {'progressId': progress_id}


def download(request):
    """Return what was exported."""
    return Response(f'year\n{request.matchdict["year"]}\n', content_type='text/csv')


def main():
    """Return the WSGI application."""
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': 'data'}
    # The polls of the bars must not send back an older session: no reissue, and no timeout.
    session_factory = SignedCookieSessionFactory(
        'replace this', httponly=True, samesite='Lax', timeout=None, reissue_time=None
    )
    with Configurator(settings=settings, session_factory=session_factory) as config:
        config.set_default_csrf_options(require_csrf=True)
        config.include('pyramid_progress')
        config.add_static_view('dist', str(CLIENT / 'dist'))
        config.add_route('index', '/')
        config.add_route('configuration', '/api/configuration')
        config.add_route('exports', '/api/exports')
        config.add_route('download', '/exports/{year:[0-9]+}.csv')
        config.add_view(index, route_name='index')
        config.add_view(configuration, route_name='configuration', renderer='json')
        config.add_view(start_export, route_name='exports', request_method='POST', renderer='json')
        config.add_view(download, route_name='download')
    return config.make_wsgi_app()


if __name__ == '__main__':
    serve(main(), listen='localhost:6543')
