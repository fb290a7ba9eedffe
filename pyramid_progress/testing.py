"""Help for the test suites of applications."""

from collections.abc import Iterator
from contextlib import contextmanager

from .runtime import isolated_runtime
from .work.publisher import publisher


@contextmanager
def isolated() -> Iterator[None]:
    """Run the block as in a process that has just started: no Beaker region is set up, and no task is published.

    After the block, the earlier regions and default runtime are back. Tasks that were started in it have no effect any
    more.
    """
    with isolated_runtime():
        publisher.forget_all()
        try:
            yield
        finally:
            publisher.forget_all()
