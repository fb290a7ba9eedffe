"""A visitor of the demo in a server of its own."""

import json
import re
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, build_opener

from .waiting import wait_until


class Visitor:
    """A browser without script.

    :param url: the URL of the demo, without a slash at its end
    """

    def __init__(self, url):
        self._url = url
        self._opener = build_opener(HTTPCookieProcessor())

    def open(self, path, **fields):
        """Return the final URL and the text of a page; if there are *fields*, they are sent as a form."""
        body = urlencode(fields).encode() if fields else None
        with self._opener.open(self._url + path, body, timeout=30) as response:
            return response.url, response.read().decode()

    def post(self, path, **fields):
        """Send a form of the index, and return the URL to which it redirects."""
        token = re.search('name="csrf_token" value="([^"]+)"', self.open('/')[1])[1]
        return self.open(path, csrf_token=token, **fields)[0]

    def start(self, path, **fields):
        """Start a job, and return its progress id."""
        return urlsplit(self.post(path, **fields)).fragment.removeprefix('task-')

    def end_of(self, task_id):
        """Wait until a task has ended, and return its status."""

        def status():
            found = json.loads(self.open(f'/progress_status?progress_id={task_id}')[1])
            return found['status'] in ('finished', 'failed', 'cancelled') and found

        return wait_until(status, 60, f'the task {task_id} did not end')
