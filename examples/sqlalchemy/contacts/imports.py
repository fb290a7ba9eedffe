"""The slow work: importing a CSV file."""

import csv

import pyramid_progress

from .models import Contact, Upload


def submit_import(request, text):
    """Add a CSV file to the database, and submit its import; return the progress id.

    The import starts after the commit of the request's transaction, so that it finds the file. If the transaction does
    not commit, there is no import.
    """
    upload = Upload(text=text)
    request.dbsession.add(upload)
    request.dbsession.flush()  # so that it has an id
    return request.progress.submit(import_contacts, upload.id, label='Importing contacts', tags=['import'])


def import_contacts(task, upload_id):
    """Import a CSV file, in one transaction: all of its rows, or none. It runs on a worker thread."""
    with pyramid_progress.new_request() as request:
        with request.tm:
            upload = request.dbsession.get(Upload, upload_id)
            rows = list(csv.DictReader(upload.text.splitlines()))
            for number, row in enumerate(task.track(rows), 1):
                task.message = row.get('name')
                add_contact(request.dbsession, number, row)
            request.dbsession.delete(upload)
        return {'url': request.route_path('home'), 'text': f'{len(rows)} contacts'}


def add_contact(dbsession, number, row):
    """Add the contact of a row, or change its name if there is one with its address."""
    email = row.get('email')
    if not email or '@' not in email:
        # The bar shows the text of a ProgressError, and a general sentence for any other exception.
        raise pyramid_progress.ProgressError(f'Row {number} has no email address.')
    dbsession.merge(Contact(email=email, name=row.get('name') or email))
