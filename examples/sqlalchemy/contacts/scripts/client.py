"""A client of the API: ``contacts_client http://localhost:6543 TOKEN contacts.csv``."""

import json
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

#: The statuses of a task that has ended.
ENDED = ('finished', 'failed', 'cancelled')

#: Why it is useless to ask for the status again, by status.
LOST = {
    'unknown': 'The server does not know this import any more.',
    'stalled': 'This import no longer responds.',
}

#: Seconds to wait if an answer 503 does not say how many.
PAUSE = 5


class Client:
    """Starts imports, and follows, cancels and removes them.

    :param url: the URL of the application, without a slash at its end
    :param token: the token of a user
    """

    def __init__(self, url, token):
        self._url = url
        self._token = token

    def start(self, text):
        """Start the import of a CSV file, and return its progress id."""
        return self._send('/api/imports', text.encode(), 'text/csv')['progress_id']

    def status(self, progress_id):
        """Return the status of an import: a dict with ``status``, ``current``, ``length``, ``message`` and so on."""
        return self._send('/progress_status?' + urlencode({'progress_id': progress_id}))

    def cancel(self, progress_id):
        """Ask an import to stop, and return its status.

        :raises urllib.error.HTTPError: 404 if there is no such import, 409 if it has ended
        """
        return self._send_json('/progress_cancel', {'progress_id': progress_id})

    def remove(self, progress_id):
        """Remove an import that has ended from the list of tasks.

        :raises urllib.error.HTTPError: 404 if there is no such import, 409 if it has not ended
        """
        return self._send_json('/progress_remove', {'progress_id': progress_id})

    def tasks(self):
        """Return the statuses of the user's tasks by progress id, newest first."""
        return self._send('/progress_tasks')['tasks']

    def _send_json(self, path, value):
        return self._send(path, json.dumps(value).encode(), 'application/json')

    def _send(self, path, body=None, content_type=None):
        headers = {'Authorization': f'Bearer {self._token}', 'Accept': 'application/json'}
        if content_type:
            headers['Content-Type'] = content_type
        with urlopen(Request(self._url + path, body, headers), timeout=30) as response:  # noqa: S310
            return json.load(response)


def patiently(method, progress_id):
    """Call a method of a client; if the server's store does not answer (503), wait, and call it again."""
    while True:
        try:
            return method(progress_id)
        except HTTPError as error:
            if error.code != 503:
                raise
            seconds = error.headers.get('Retry-After', '')  # or a date, which a proxy may send
            time.sleep(int(seconds) if seconds.isdecimal() else PAUSE)


def main():
    """Import a file, print its progress, and return the exit status. Ctrl-C cancels the import."""
    url, token, path = sys.argv[1:]
    client = Client(url.rstrip('/'), token)
    try:
        progress_id = client.start(Path(path).read_text('utf-8'))
        while (status := patiently(client.status, progress_id))['status'] not in ENDED:
            if status['status'] in LOST:
                print(LOST[status['status']], file=sys.stderr)
                return 1
            print(f'{status["status"]} {status["current"]}/{status["length"]} {status.get("message") or ""}')
            try:
                time.sleep(0.5)
            except KeyboardInterrupt:
                patiently(client.cancel, progress_id)
    except HTTPError as error:
        print(error.read().decode(), file=sys.stderr)
        return 1
    print(status['status'], status.get('message') or '')
    return 0 if status['status'] == 'finished' else 1
