"""Celery tasks with a progress bar: a base class, and groups with one bar. This needs the extra ``celery``.

The module of the tasks, which the workers (``celery -A shop.tasks worker``) and the web application import alike::

    import os

    import pyramid_progress
    from celery import Celery
    from plaster import get_settings
    from pyramid_progress.celery import ProgressTask

    settings = get_settings(os.environ['SHOP_INI'], 'app:main')  # the ini file that pserve runs
    pyramid_progress.configure(settings)  # the regions of the web application
    app = Celery('shop', broker=settings['celery.broker'])

    @app.task(base=ProgressTask, bind=True)
    def export(self, country):
        rows = find_customers(country)
        for row in self.progress.track(rows):
            self.progress.message = row.name
            write(row)
        return {'url': f'/exports/{country}.csv', 'text': f'{len(rows)} customers'}

A view starts it for its user, and shows the bar of ``progress_id`` with the macro ``bar``::

    @view_config(route_name='export', request_method='POST', renderer='wait.pt')
    def start_export(request):
        result = export.apply_for(request, ['FR'], label='Customers of France')
        return {'progress_id': result.id}

If only the workers have that module, :func:`pyramid_progress.init_progress_status` with the id, the owner and a
label comes first, and then ``app.send_task('shop.tasks.export', ['FR'], task_id=progress_id)``.

The id of the Celery task is the progress id. ``self.progress`` is a :class:`pyramid_progress.Task`, and the one that
:mod:`pyramid_progress.tqdm` feeds. The status follows the state of the task in Celery:

- sent: ``pending``, without heartbeats: a task that stays in the queue for a long time is not stalled.
- begun: ``running``, from 0. If its worker dies it becomes ``stalled``; if it is delivered again (``acks_late``) it
  becomes ``running`` again.
- returned: ``finished``. A dict of the strings ``url`` and ``text``, or one of them, becomes the ``result`` that the
  bar shows. If the task returns something else, ``self.progress.finish(message, result)`` sets the result.
- retried (``self.retry``, ``autoretry_for``), rejected and requeued, or replaced: ``pending``, with a message.
- failed, by an exception, a time limit or the loss of its worker: ``failed``. The bar shows the text of a
  :class:`pyramid_progress.ProgressError`; any other error is in the worker's log, and the bar shows a general sentence.
  A group of exceptions counts as for :class:`pyramid_progress.Task`.
- revoked: ``cancelled``, as soon as a worker receives that; expired: ``failed``.
- ``celery.exceptions.Ignore``: ``cancelled``.

If a visitor cancels a running task, :class:`pyramid_progress.TaskCancelled` is raised at its next step; a task that
waits in the queue is not begun. In both cases its state in Celery becomes ``REVOKED``, and the message is acknowledged.
A task that was asked to stop is not retried, whatever it catches.

One bar for a group of tasks, or for a chord, whose callback gets the results of the others::

    result = apply_group(
        request, [export.s(country) for country in countries], label='Customers', callback=make_archive.s()
    )
    return {'progress_id': result.id}

Each task is a part of one task (:meth:`pyramid_progress.Task.parts`), and so is the callback. In a chain, each task has
a bar of its own: the first one is pending from the moment the chain is sent, every other one from the moment the one
before it has returned. The ids are known before: ``result.parent.id``. To show one bar for several steps, use
:meth:`.Task.stage` in one task, or a chord.

A task that is called like a function is a task of its own, with a new id. A store that is down never breaks a task. If
:func:`pyramid_progress.configure` was not called, no task starts.
"""

from celery import signals

from . import reports
from .group import apply_group
from .task import ProgressTask

__all__ = ['ProgressTask', 'apply_group']

signals.celeryd_init.connect(reports.on_worker_start)
signals.task_postrun.connect(reports.on_postrun)
signals.task_failure.connect(reports.on_failure)
signals.task_revoked.connect(reports.on_revoked)
signals.worker_process_shutdown.connect(reports.on_process_shutdown)
