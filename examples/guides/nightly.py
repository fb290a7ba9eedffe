"""A nightly job whose task always has the same id: python nightly.py production.ini"""

import sys
import time

from pyramid.paster import get_appsettings

import pyramid_progress

PROGRESS_ID = 'reindex:documents'


def main():
    pyramid_progress.configure(get_appsettings(sys.argv[1]))
    last = pyramid_progress.get_progress_status(PROGRESS_ID, acknowledge=False)
    if last['status'] in ('pending', 'running', 'cancelling'):
        sys.exit('The last run has not ended.')
    # The task has no owner: all users who know its id see it, and could cancel it.
    with pyramid_progress.start_task('Reindexing', progress_id=PROGRESS_ID, cancellable=False) as task:
        for number in task.track(range(100)):
            task.message = f'Document {number}'
            time.sleep(0.01)  # the work


if __name__ == '__main__':
    main()
