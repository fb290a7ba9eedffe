"""Push: what event streams need, and how near to the truth they keep a page."""

from . import push_pages, push_servers

FIGURES = push_servers.FIGURES + push_pages.FIGURES
