"""Work and polls that go on while servers fail."""

import time
from threading import Event, Thread

from pyramid_progress import get_progress_status, get_running_tasks, start_task
from pyramid_progress.storage import StorageError

from .waiting import wait_until

#: The record of a task.
RECORD = {
    'status': '"running"', 'owner': '"ann"', 'label': '"Import"', 'tags': '[]', 'length': '10', 'current': '0',
    'started': '"2026-01-01T00:00:00+00:00"',
}  # fmt: skip


def timed(function, *arguments):
    """Return what a call returns, or its :class:`StorageError`, and how many seconds it took."""
    began = time.monotonic()
    try:
        result = function(*arguments)
    except StorageError as error:
        result = error
    return result, time.monotonic() - began


class Traffic:
    """Tasks in threads, a thread that polls their statuses, and one that starts and ends short tasks.

    :param count: how many tasks run
    """

    def __init__(self, count=8):
        self.ids = [f'long {number}' for number in range(count)]
        #: The longest step of a loop, in seconds.
        self.longest_step = 0.0
        #: Of each poll, when it ended, whether there was an answer, and how many seconds it took.
        self.polls = []
        #: When the short tasks ended, by id.
        self.ended = {}
        self.errors = []
        self._over = Event()
        self._threads = [Thread(target=self._guarded, args=(self._work, progress_id)) for progress_id in self.ids]
        self._threads += [Thread(target=self._guarded, args=(each,)) for each in (self._poll, self._start_and_end)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.ended) > 3 and get_running_tasks() >= set(self.ids), 10, 'the tasks do not start')
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def answers_since(self, moment):
        """Return whether the last poll of each task since then was answered."""
        polls = [poll for poll in self.polls if poll[0] >= moment]
        return len(polls) >= len(self.ids) and all(is_answered for _, is_answered, _ in polls[-len(self.ids) :])

    @property
    def longest_poll(self):
        return max(seconds for *_, seconds in self.polls)

    def are_running(self):
        """Return whether all tasks are on the running list, with a status that is kept up to date."""
        try:
            return get_running_tasks() >= set(self.ids) and all(
                get_progress_status(progress_id)['status'] == 'running' for progress_id in self.ids
            )
        except StorageError:
            return False

    def lost_ends(self, begin, end):
        """Return the short tasks that ended in that time and are not finished."""
        ids = [progress_id for progress_id, moment in self.ended.items() if begin <= moment <= end]
        assert ids
        return [
            progress_id
            for progress_id in ids
            if get_progress_status(progress_id, acknowledge=False)['status'] != 'finished'
        ]

    def _guarded(self, function, *arguments):
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001  (the test shows it)
            self.errors.append(error)

    def _work(self, progress_id):
        with start_task('Import', owner='ann', progress_id=progress_id, length=10**9) as task:
            while not self._over.is_set():
                began = time.monotonic()
                task.advance()
                self.longest_step = max(self.longest_step, time.monotonic() - began)
                time.sleep(0.005)

    def _poll(self):
        while not self._over.is_set():
            for progress_id in self.ids:
                result, seconds = timed(get_progress_status, progress_id)
                self.polls.append((time.monotonic(), not isinstance(result, StorageError), seconds))
                time.sleep(0.01)

    def _start_and_end(self):
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                with start_task('Short', owner='ann', progress_id=f'short {number}'):
                    time.sleep(0.05)
            except StorageError:
                time.sleep(0.1)
                continue
            self.ended[f'short {number}'] = time.monotonic()
