"""Processes of their own, each with a pipe to this one."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any


@contextmanager
def child(target: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """Start a process that calls *target*, with *arguments* and its end of a pipe; give the other end.

    The process ends with the block.
    """
    context = multiprocessing.get_context('spawn')  # It has inherited nothing.
    here, there = context.Pipe()
    process = context.Process(target=target, args=(*arguments, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.terminate()
        process.join()
        here.close()
