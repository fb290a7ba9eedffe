"""Event streams on any ASGI server, such as hypercorn: ``hypercorn asgi:application``."""

from pyramid.paster import get_app, setup_logging

from pyramid_progress.asgi import EventsApplication

setup_logging('production.ini')
application = EventsApplication(get_app('production.ini'))
