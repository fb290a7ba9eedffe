"""An application for clients of the API, and a server of it: ``python -m support.api PORT``."""

import sys

import waitress
from pyramid.config import Configurator

from pyramid_progress import init_progress_status, set_progress_status, start_task

SETTINGS = {'cache.regions': 'default, persistent', 'cache.type': 'memory'}

#: The id that docs/openapi.json has as an example.
EXAMPLE_ID = '0123456789abcdef' * 2


def main():
    """Serve an application without users, with a task that has the id of the example, and others."""
    with Configurator(settings=SETTINGS) as config:
        config.include('pyramid_progress')
    app = config.make_wsgi_app()
    init_progress_status('ended', None, 'Import', length=10)
    set_progress_status('ended', 'failed', message='No good', current=4.5)
    with start_task('Import', progress_id=EXAMPLE_ID, length=3):
        waitress.serve(app, host='127.0.0.1', port=int(sys.argv[1]))


if __name__ == '__main__':
    main()
