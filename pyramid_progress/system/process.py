"""What happens when this process forks, receives SIGTERM, or exits.

Objects that hold locks, threads, connections or files take part with :func:`register`. Fork hooks exist on POSIX only.
"""

import _thread
import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from threading import Lock
from types import FrameType
from typing import Any
from weakref import WeakSet

log = logging.getLogger(__name__)


class Participant:
    """An object that takes part in the life of the process, from :func:`register` until it is garbage-collected."""

    def before_fork(self) -> None:
        """Bring what a child inherits into a consistent state, and keep other threads away from it."""

    def after_fork_in_parent(self) -> None:
        """Undo :meth:`before_fork`, which may not have been called or completed."""

    def after_fork_in_child(self) -> None:
        """Replace locks that a thread of the parent may hold, and drop what belongs to the parent."""

    def end_responses(self) -> None:
        """End responses that do not end by themselves, because the server stops, and waits for them."""

    def drain(self) -> None:
        """Wait for work in progress, because the process ends. This precedes the :meth:`stop` of all participants."""

    def stop(self) -> None:
        """End the work in progress, because the process ends. This may run in any thread, and must be brief."""

    def close(self) -> None:
        """Release files and connections. At exit, this follows the :meth:`stop` of all participants."""


_participants: WeakSet[Participant] = WeakSet()

# Held from before a fork until after it, so that no participant is added in between.
_forking = Lock()
_prepared: list[Participant] = []


def register(participant: Participant) -> None:
    """Call the methods of *participant* at forks and at the end of the process. Only a weak reference is kept."""
    with _forking:
        _participants.add(participant)


def _call(method: Callable[[], None]) -> None:
    """Call a method of a participant. A fault in one must not keep the others from what they have to do."""
    try:
        method()
    except Exception:
        log.exception('%r failed', method)


def _before_fork() -> None:
    _forking.acquire()
    for participant in list(_participants):
        _prepared.append(participant)
        _call(participant.before_fork)


def _after_fork_in_parent() -> None:
    while _prepared:
        _call(_prepared.pop().after_fork_in_parent)
    _forking.release()


def _after_fork_in_child() -> None:
    _prepared.clear()
    for participant in list(_participants):
        _call(participant.after_fork_in_child)
    _forking.release()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _has_gevent_threads() -> bool:
    monkey = sys.modules.get('gevent.monkey')
    return monkey is not None and bool(monkey.is_module_patched('threading'))


#: Whether the participants were made with the locks and threads of gevent.
_is_made_for_gevent = _has_gevent_threads()

#: Whether :func:`check_threads` has examined uWSGI.
_is_uwsgi_checked = False


def check_threads() -> None:
    """Log what keeps threads from working in this process. Call this before the first one is started.

    Locks and queues that were made before gevent replaced those of Python block the whole process. They are made again.
    """
    global _is_made_for_gevent, _is_uwsgi_checked
    if not _is_made_for_gevent and _has_gevent_threads():
        _is_made_for_gevent = True
        log.error(
            'gevent.monkey.patch_all() was called after pyramid_progress was imported, as gunicorn does with --preload:'
            ' locks that were made before can block the whole process. Call it first, for gunicorn at the beginning of'
            ' its configuration file.'
        )
        for participant in list(_participants):
            _call(participant.after_fork_in_child)
    if not _is_uwsgi_checked:
        _is_uwsgi_checked = True
        options = getattr(sys.modules.get('uwsgi'), 'opt', None)
        if options is not None and not {'enable-threads', 'threads'} & options.keys():
            log.error(
                'uWSGI runs no threads of Python: submitted work does not run, and progress is not published. Start it'
                ' with --enable-threads, or --threads.'
            )


def stop() -> None:
    """Call :meth:`Participant.drain`, then :meth:`Participant.stop` of all participants, because the process ends."""
    for participant in list(_participants):
        _call(participant.drain)
    for participant in list(_participants):
        _call(participant.stop)


@atexit.register
def _at_exit() -> None:
    stop()
    for participant in list(_participants):
        _call(participant.close)


def handle_sigterm(wanted: bool | None) -> None:
    """Make SIGTERM, which runs no exit handlers, stop the work in progress before it takes effect.

    The signal then has the effect that it had before this call.

    :param wanted: True to install a handler, False not to; None to install one only if this is the main thread, SIGTERM
        has its default action, and neither uWSGI nor mod_wsgi, which handle signals themselves, is loaded
    """
    if wanted is False:
        return
    previous = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if wanted is None:
        if not is_main or previous is not signal.SIG_DFL or {'uwsgi', 'mod_wsgi'} & sys.modules.keys():
            return
    elif not is_main or previous is None:
        log.warning(
            'No handler for SIGTERM is installed: %s.',
            'only the main thread can install one' if not is_main else 'the present one was not installed by Python',
        )
        return
    if not isinstance(previous, _SigtermHandler):
        signal.signal(signal.SIGTERM, _SigtermHandler(previous))


def is_server_stopping() -> bool:
    """Return whether a worker of gunicorn takes no more requests, and waits for the end of all responses.

    It has no hook for that in an application. But its handler of SIGTERM is a method of the worker, which has a flag
    that ``--max-requests`` clears as well.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, _SigtermHandler):
        handler = handler.previous
    return getattr(getattr(handler, '__self__', None), 'alive', True) is False


def end_responses_at_interrupt() -> None:
    """Make Ctrl-C end the responses that do not end by themselves, unless the server has a handler of its own."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _thread.start_new_thread(_end_responses, ())  # for the reason that _SigtermHandler has
    signal.default_int_handler(number, frame)


def _end_responses() -> None:
    for participant in list(_participants):
        _call(participant.end_responses)


class _SigtermHandler:
    """Stops all participants, then passes the signal on to the previous handler.

    :param previous: what :func:`signal.getsignal` returned
    """

    def __init__(self, previous: Any) -> None:
        self.previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, self.previous)  # a second signal takes effect at once
        # In a thread of its own: the interrupted frame may hold a lock that stopping needs, and must continue in order
        # to release it. threading.Thread.start() itself takes a lock that the frame may hold.
        _thread.start_new_thread(self._stop_and_resend, (number,))

    def _stop_and_resend(self, number: int) -> None:
        try:
            stop()
        finally:
            os.kill(os.getpid(), number)
            if self.previous is signal.SIG_DFL:
                # The kernel does not deliver a signal without handler to the first process of a container.
                os._exit(128 + number)
