"""The application of ``development.ini``: two kinds of slow work, each with a progress bar.

What it takes to have a bar is all here: ``config.include('pyramid_progress')`` below, two macros in
``templates/``, and a task object in the hands of the work: :mod:`pyramid_progress.demo.jobs`.
"""

import os
from typing import Any

from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory

from .security import VisitorPolicy
from .store import Store


def main(global_config: dict[str, str], **settings: Any) -> Any:
    """The WSGI application, as ``pserve development.ini`` starts it.

    ``settings`` are the ini's; the demo's own begin with ``demo.`` and are explained there.
    """
    if 'demo.celery_broker' in settings:
        os.environ['DEMO_INI'] = global_config['__file__']  # for worker.py, which the Celery workers import as well
    store = Store(settings['demo.data_dir'])
    # A poll of the status must not answer with the session of a moment ago: the cookie is sent
    # when the session changed (no reissue), and lives as long as the browser (no timeout).
    session_factory = SignedCookieSessionFactory(
        settings['demo.secret'], httponly=True, samesite='Lax', timeout=None, reissue_time=None
    )
    with Configurator(settings=settings, session_factory=session_factory, security_policy=VisitorPolicy()) as config:
        config.set_default_csrf_options(require_csrf=True)
        config.add_tween('pyramid_progress.demo.security.refuse_unreadable')
        config.include('pyramid_progress')
        config.add_request_method(lambda request: store, 'store', property=True)
        config.add_static_view('demo-static', 'static')
        config.add_route('index', '/')
        config.add_route('import', '/import')
        config.add_route('import_sample', '/import-sample')
        config.add_route('sample', '/sample.csv')
        config.add_route('census', '/census')
        config.add_route('task', '/tasks/{task_id}')
        config.add_route('states', '/states')
        # Below the add-on's own, so that what leaves out the polls of bars, such as the toolbar, leaves out these.
        config.add_route('states_status', '/progress_status/{server}')
        config.scan(ignore='.worker')  # which needs Celery
        return config.make_wsgi_app()
