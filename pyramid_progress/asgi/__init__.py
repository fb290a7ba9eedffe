"""Event streams for many viewers: an ASGI application beside the web application, with the same store.

``pprogress-events`` serves it with uvicorn. For another ASGI server, a module makes it::

    from pyramid.paster import get_app, setup_logging
    from pyramid_progress.asgi import EventsApplication

    setup_logging('production.ini')
    application = EventsApplication(get_app('production.ini'))
"""

from .application import EventsApplication

__all__ = ['EventsApplication']
