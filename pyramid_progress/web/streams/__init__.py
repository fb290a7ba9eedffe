"""Push: streams of server-sent events, which a hub feeds (WHATWG HTML, section 9.2).

A stream is a state machine, without threads or tasks of its own: :mod:`.wsgi` or :mod:`pyramid_progress.asgi` drives
it.
"""
