"""Sending a Celery task by its name, without its module."""

import pyramid_progress


def send_report(request, celery, country):
    """Send ``write_report`` of the example with Celery, and return the progress id.

    :param celery: a Celery application with the same broker
    """
    progress_id = pyramid_progress.new_progress_id()
    pyramid_progress.init_progress_status(progress_id, request.authenticated_userid, f'Sales of {country}')
    celery.send_task('sales.worker.write_report', [country], task_id=progress_id)
    return progress_id
