"""Work with a transaction for each batch."""

import pytest

from contacts import batches, models
from pyramid_progress import start_task

ROWS = [{'email': f'{number}@example.com', 'name': f'Contact {number}'} for number in range(5)]


def test_batches(dbsession, monkeypatch):
    monkeypatch.setattr(batches, 'BATCH', 2)
    with start_task('Importing contacts') as task:
        batches.import_batches(task, ROWS)
    assert (task.current, task.length) == (5, 5)
    assert dbsession.query(models.Contact).count() == 5


def test_what_was_imported_before_an_error_stays(dbsession, monkeypatch):
    monkeypatch.setattr(batches, 'BATCH', 2)
    with pytest.raises(TypeError), start_task('Importing contacts') as task:
        batches.import_batches(task, [*ROWS, {'phone': '1'}])
    assert task.current == 4
    assert dbsession.query(models.Contact).count() == 4
