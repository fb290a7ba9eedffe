"""Work with a transaction for each batch of rows."""

import pyramid_progress

from .models import Contact

BATCH = 100


def import_batches(task, rows):
    """Import contacts. If it fails, the batches before stay imported."""
    task.length = len(rows)
    with pyramid_progress.new_request() as request:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            with request.tm:
                for row in batch:
                    request.dbsession.merge(Contact(**row))
            task.advance(len(batch))
