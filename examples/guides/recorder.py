"""The ``ProgressRecorder`` of celery-progress for tasks with the base class ``ProgressTask``."""


class ProgressRecorder:
    """Feeds the bar of a task with the calls that celery-progress has.

    :param task: the Celery task (``self`` in its function)
    """

    def __init__(self, task):
        self._task = task.progress

    def set_progress(self, current, total, description=''):
        self._task.length = total
        self._task.current = current
        self._task.message = description

    def increment_progress(self, by=1, description=''):
        self._task.advance(by)
        if description:
            self._task.message = description
