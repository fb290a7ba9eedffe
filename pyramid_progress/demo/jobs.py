"""Slow work on threads of this process: its progress for the bar, its outcome for the database."""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pyramid.config import Configurator
from pyramid.events import NewRequest

from pyramid_progress import StorageError, init_progress_status, set_progress_status

from .store import Store

log = logging.getLogger(__name__)

INTERRUPTED = 'The server was stopped in the middle of this. Please start it again.'
UNEXPECTED = 'Something went wrong that should not have. The log of the server has the details.'


class JobError(Exception):
    """Work that cannot go on, for a reason the visitor can understand: its text is shown."""


class Report:
    """Tells the bar how far one job is.

    The job calls it at every step; what it says is passed on ten times a second at most, because
    no eye sees more and every update costs a write. The last step is always passed on.
    """

    interval = 0.1

    def __init__(self, job_id: str) -> None:
        self.id = job_id
        self._next = 0.0

    def __call__(self, current: int, length: int, message: str | None = None) -> None:
        """Say that ``current`` of ``length`` are done, and in words what is being worked on."""
        now = time.monotonic()
        if now < self._next and current < length:
            return
        self._next = now + self.interval
        try:
            set_progress_status(self.id, current=current, length=length, message=message)
        except StorageError as error:
            # A bar that stands still is no reason to stop the work.
            log.warning('The progress of job %s was not updated: %s', self.id, error)


class Jobs:
    """Starts jobs, each on a thread of its own, and ends their bars."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._process = secrets.token_hex(8)

    def start(self, owner: str, kind: str, label: str, work: Callable[..., dict[str, Any]], *args: Any) -> str:
        """Run ``work(report, *args)`` in the background and return the id of its progress.

        ``owner`` is the userid of who may see it, ``kind`` chooses the template of the result,
        ``label`` is the bar's. ``work`` returns the result as JSON values, or raises.
        """
        job_id = secrets.token_hex(16)
        init_progress_status(job_id, owner, label, tags=['demo', kind])
        started = datetime.now(timezone.utc)
        self.store.add(job_id, owner, kind, label, started, self._process)
        thread = threading.Thread(target=self._run, args=(job_id, work, args), name=f'job-{job_id}', daemon=True)
        thread.start()
        return job_id

    def _run(self, job_id: str, work: Callable[..., dict[str, Any]], args: tuple[Any, ...]) -> None:
        begin = time.monotonic()
        try:
            result = work(Report(job_id), *args)
        except JobError as error:
            self._end(job_id, 'failed', str(error))
        except Exception:
            log.exception('Job %s failed', job_id)
            self._end(job_id, 'failed', UNEXPECTED)
        else:
            self._end(job_id, 'finished', f'Done in {time.monotonic() - begin:.1f} s', result)

    def _end(self, job_id: str, status: str, message: str, result: dict[str, Any] | None = None) -> None:
        # The result first: whoever hears of the end comes for it at once.
        self.store.end(job_id, status, message, result)
        try:
            set_progress_status(job_id, status, message=message)
        except StorageError as error:
            log.error('The end of job %s does not reach its bar: %s', job_id, error)

    def end_interrupted(self) -> None:
        """End what an earlier process of the server left running; its threads died with it."""
        for job_id in self.store.running_elsewhere(self._process):
            self._end(job_id, 'failed', INTERRUPTED)


def includeme(config: Configurator) -> None:
    """Give every request its ``jobs``."""
    jobs = Jobs(Store(Path(config.registry.settings['demo.data_dir'])))
    config.add_request_method(lambda request: jobs, 'jobs', property=True)

    # At the first request rather than at the start: commands such as ``proutes development.ini``
    # start the application too, while the server's jobs are running.
    swept = threading.Event()

    def sweep_once(event: NewRequest) -> None:
        if not swept.is_set():
            jobs.end_interrupted()
            swept.set()

    config.add_subscriber(sweep_once, NewRequest)
