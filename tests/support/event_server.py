"""pprogress-events, as a real server."""

import os
import sys
from pathlib import Path

import pyramid_progress

from .events import EventClient
from .servers import Server, free_port

#: Where the application of the ini file is.
SERVERS = Path(__file__).parents[1] / 'servers'

INI = """
[app:main]
use = call:events_site:main
pyramid.default_locale_name = en
cache.regions = default, persistent
cache.type = sqlite
cache.data_dir = %(here)s
"""

COMMAND = [str(Path(sys.executable).with_name('pprogress-events'))]


class EventServer(Server):
    """pprogress-events with an ini file of its own, whose store this process shares.

    :param name: of the application in the ini file; '' for that of [app:main]
    :param ini: the beginning of the ini file
    """

    def __init__(self, folder, *arguments, name='', ini=INI, **settings):
        self.folder = folder
        self.ini = folder / 'site.ini'
        self.ini.write_text(ini + ''.join(f'{key} = {value}\n' for key, value in settings.items()))
        port = free_port()
        self.url = f'http://127.0.0.1:{port}'
        environ = os.environ | {'PYTHONPATH': str(SERVERS)}
        uri = f'{self.ini}#{name}' if name else str(self.ini)
        command = [*COMMAND, uri, '--listen', f'127.0.0.1:{port}', *arguments]
        super().__init__(command, port, folder / 'log', env=environ)
        pyramid_progress.configure(
            {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': str(folder)}
        )

    def open(self, *progress_ids, user='mary', **options):
        headers = {'X-User': user} | options.pop('headers', {})
        return EventClient(self.url + '/progress_events', *progress_ids, headers=headers, **options)
