"""An application that serves itself, and prints what it gets from itself over HTTP, as JSON.

The arguments are names of files of the widget.
"""

import hashlib
import json
import re
import sys
import threading
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

from pyramid.config import Configurator

import pyramid_progress


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def page(request):
    progress = request.progress
    return request.response.__class__(progress.assets() + progress.bar('a') + request.static_path(STATIC))


STATIC = 'pyramid_progress:static/progress.js'

regions = {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': 'data'}
with Configurator(settings=regions) as config:
    config.include('pyramid_progress')
    config.add_route('page', '/')
    config.add_view(page, route_name='page')

server = make_server('127.0.0.1', 0, config.make_wsgi_app(), handler_class=QuietHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
pyramid_progress.init_progress_status('a', None, 'An import')


def get(path):
    with urllib.request.urlopen(f'http://127.0.0.1:{server.server_port}{path}', timeout=10) as response:
        return response.headers.get_content_type(), response.read()


text = get('/')[1].decode()
base = re.search(r'/pyramid_progress/[^"]+/(?=progress\.js$)', text)[0]
files = {name: get(base + name) for name in sys.argv[1:]}
print(
    json.dumps(
        {
            'package': pyramid_progress.__file__,
            'label': 'An import' in text,
            'german': 'Läuft' in get('/?_LOCALE_=de')[1].decode(),
            'files': {name: [kind, hashlib.sha256(content).hexdigest()] for name, (kind, content) in files.items()},
        }
    )
)
