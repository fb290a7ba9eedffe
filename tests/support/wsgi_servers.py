"""The commands of the servers that people run, for the application in tests/servers."""

import sys
from pathlib import Path

GUNICORN = [sys.executable, '-m', 'gunicorn', '--workers', '2', '--bind', '127.0.0.1:{port}', 'application']
UWSGI = [
    *(sys.executable, '-c', 'import pyuwsgi, sys; pyuwsgi.run(sys.argv[1:])'),
    *('--http-socket', '127.0.0.1:{port}', '--master', '--processes', '2', '--module', 'application'),
    *('--die-on-term', '--worker-reload-mercy', '5', '--disable-logging'),
]

SERVERS = {
    'gunicorn sync': [*GUNICORN, '--worker-class', 'sync'],
    'gunicorn gthread': [*GUNICORN, '--worker-class', 'gthread', '--threads', '4'],
    'gunicorn gevent': [*GUNICORN, '--worker-class', 'gevent'],
    'uwsgi': [*UWSGI, '--enable-threads'],
    'uwsgi threads': [*UWSGI, '--threads', '4'],
    'waitress': [sys.executable, '-m', 'waitress', '--listen', '127.0.0.1:{port}', 'application:application'],
}
SERVERS |= {f'{name} preload': [*command, '--preload'] for name, command in SERVERS.items() if 'gunicorn' in name}
SERVERS['gunicorn gevent preload'] += ['--config', str(Path(__file__).parents[1] / 'servers' / 'gunicorn_gevent.py')]
