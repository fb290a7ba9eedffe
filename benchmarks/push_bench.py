"""Push: the cost of event streams, and the delay of a page that uses them."""

from . import push_pages, push_servers

FIGURES = push_servers.FIGURES + push_pages.FIGURES
