"""Waiting for what other threads and processes do."""

import time


def wait_until(condition, seconds=10, complaint='the condition did not become true in time'):
    """Call a function until it returns a true value, and return that value.

    :param condition: the function, without arguments
    :param seconds: how long to wait at most
    :param complaint: what to say if it takes longer
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, complaint
        time.sleep(0.01)
    return result
