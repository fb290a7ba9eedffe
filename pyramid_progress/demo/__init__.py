"""The application of ``development.ini``: two kinds of slow work, each with a progress bar.

What an application needs for a bar: ``config.include('pyramid_progress')`` below, two macros in ``templates/``, and a
task object that the work updates, in :mod:`pyramid_progress.demo.jobs`.
"""

import os
from typing import Any

from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory

from .security import VisitorPolicy
from .store import Store


def main(global_config: dict[str, str], **settings: Any) -> Any:
    """Return the WSGI application, as ``pserve development.ini`` starts it.

    :param global_config: the defaults of the ini file; ``__file__`` is its path
    :param settings: the settings of the ini file, which explains those of the demo: they begin with ``demo.``
    """
    submit = '.jobs.submit'  # on worker threads of this application
    if 'demo.celery_broker' in settings:
        submit = '.worker.submit'  # on Celery; this module is imported only then
        os.environ['DEMO_INI'] = global_config['__file__']  # for worker.py
    store = Store(settings['demo.data_dir'])
    # A poll of the status must not send back an older session: the cookie is sent only if the session changed (no
    # reissue), and lives as long as the browser (no timeout).
    session_factory = SignedCookieSessionFactory(
        settings['demo.secret'], httponly=True, samesite='Lax', timeout=None, reissue_time=None
    )
    with Configurator(settings=settings, session_factory=session_factory, security_policy=VisitorPolicy()) as config:
        config.set_default_csrf_options(require_csrf=True)
        config.add_tween('pyramid_progress.demo.security.reject_undecodable')
        config.include('pyramid_progress')
        config.add_request_method(lambda request: store, 'store', property=True)
        config.add_request_method(submit, 'submit_job')
        config.add_static_view('demo-static', 'static')
        config.add_route('index', '/')
        config.add_route('import', '/import')
        config.add_route('import_sample', '/import-sample')
        config.add_route('sample', '/sample.csv')
        config.add_route('census', '/census')
        config.add_route('task', '/tasks/{task_id}')
        config.add_route('states', '/states')
        # Below the route of the add-on, so that the settings of the toolbar that exclude its polls exclude these.
        config.add_route('states_status', '/progress_status/{server}')
        config.scan(ignore='.worker')  # it needs Celery
        return config.make_wsgi_app()
