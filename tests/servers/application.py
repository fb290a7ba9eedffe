"""A Pyramid application for every server. The environment variable ``APP_SETTINGS`` has its settings as JSON text."""

import json
import logging
import os
import time

from pyramid.config import Configurator

logging.basicConfig(level=logging.INFO, format='%(process)d %(levelname)s %(message)s')


def work(task, seconds):
    """Do steps of 20 ms."""
    for _ in task.track(range(round(seconds / 0.02))):
        time.sleep(0.02)


def submit(request):
    seconds = float(request.params['seconds'])
    return {'progress_id': request.progress.submit(work, seconds, label='Export')}


def pid(request):
    return os.getpid()


def link(request):
    return {'url': request.route_url('submit'), 'assets': str(request.progress.assets())}


with Configurator(settings=json.loads(os.environ['APP_SETTINGS'])) as config:
    config.include('pyramid_progress')
    for view in (submit, pid, link):
        config.add_route(view.__name__, view.__name__)
        config.add_view(view, route_name=view.__name__, renderer='json')
    application = config.make_wsgi_app()
