"""The configuration of gunicorn with gevent and preload_app: gevent comes first."""

from gevent import monkey

monkey.patch_all()
