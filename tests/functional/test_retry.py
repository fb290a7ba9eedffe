"""`request.progress.start` in a view that pyramid_retry repeats: only the last attempt has a task."""

import logging

import pytest
from pyramid.response import Response
from pyramid_retry import mark_error_retryable
from support.shop import Conflict
from transaction.interfaces import TransientError

from pyramid_progress import TaskEnded, get_progress_status, list_tasks

#: An id that the widget generates.
POSTED = '0123456789abcdef' * 2


class Apology(LookupError):
    """An error for which the application has an exception view, and that pyramid_retry tries again."""


mark_error_retryable(Apology)


class Attempts:
    """A view whose attempts do what a test says.

    :param shop: the application
    :param outcomes: for each attempt, a function of the task that its block calls
    """

    def __init__(self, shop, *outcomes):
        self.ids = []
        self.during = []
        self._shop = shop
        self._outcomes = iter(outcomes)

    def view(self, request):
        with request.progress.start('Import', length=2) as task:
            self.ids.append(task.id)
            self.during.append([found['status'] for found in list_tasks()])
            task.advance()
            next(self._outcomes)(request)
        return Response()

    def post(self, body=None):
        return self._shop.post(self.view, body)


def raising(error):
    """Return a function that raises an error."""

    def outcome(request):
        raise error

    return outcome


def succeed(request):
    pass


@pytest.fixture
def ends(shop, caplog):
    """The statuses of the ends that were announced; the test expects as many records of the log."""
    found = []
    shop.registry.registerHandler(lambda event: found.append(event.status), (TaskEnded,))
    with caplog.at_level(logging.INFO, 'pyramid_progress'):
        yield found
    assert len([record for record in caplog.get_records('call') if record.name == 'pyramid_progress']) == len(found)


class TemporaryErrors:
    """A data manager that regards a RuntimeError as temporary, as those of databases do with some of their errors."""

    transaction_manager = None

    def should_retry(self, error):
        return isinstance(error, RuntimeError)

    def abort(self, transaction):
        pass

    tpc_begin = commit = tpc_vote = tpc_finish = tpc_abort = abort

    def sortKey(self):
        return 'temporary'


def fail_temporarily(request):
    request.tm.get().join(TemporaryErrors())
    raise RuntimeError('try again')


def fail_to_commit(request):
    request.tm.get().addBeforeCommitHook(raising(TransientError()), (request,))


@pytest.mark.parametrize('body', [{}, {'progress_id': POSTED}], ids=['no id', 'a posted id'])
@pytest.mark.parametrize('fail', [raising(Conflict()), raising(Apology()), fail_temporarily])
def test_only_the_last_attempt_has_a_task(shop, ends, fail, body):
    attempts = Attempts(shop, fail, fail, succeed)
    assert attempts.post(body) is None
    assert attempts.during == [['running']] * 3
    assert [(task['progress_id'], task['status']) for task in list_tasks()] == [(attempts.ids[-1], 'finished')]
    assert ends == ['finished']
    if body:
        assert attempts.ids == [POSTED] * 3
    else:
        assert len(set(attempts.ids)) == 3


def test_a_commit_that_fails_after_the_task_has_ended(shop, ends):
    attempts = Attempts(shop, fail_to_commit, succeed)
    assert attempts.post({'progress_id': POSTED}) is None
    assert attempts.ids == [POSTED] * 2
    assert attempts.during == [['running']] * 2
    assert [task['status'] for task in list_tasks()] == ['finished']
    assert ends == ['finished', 'finished'], 'the first end was announced before the commit'


def test_the_last_attempt_fails(shop, ends):
    attempts = Attempts(shop, *[raising(Conflict())] * 3)
    assert isinstance(attempts.post({'progress_id': POSTED}), Conflict)
    assert [(task['progress_id'], task['status']) for task in list_tasks()] == [(POSTED, 'failed')]
    assert ends == ['failed']


def test_another_error_ends_the_task_at_once(shop, ends):
    attempts = Attempts(shop, raising(ZeroDivisionError()))
    assert isinstance(attempts.post(), ZeroDivisionError)
    assert ends == ['failed']


def test_a_view_that_catches_the_error(shop, ends):
    attempts = Attempts(shop, raising(Conflict()))

    def view(request):
        with pytest.raises(Conflict):
            attempts.view(request)
        assert ends == []
        return Response()

    assert shop.post(view) is None
    assert get_progress_status(attempts.ids[0])['status'] == 'failed'
    assert ends == ['failed']


def test_a_task_that_is_still_running_when_the_request_is_repeated(shop):
    """One that was started without a block."""
    ids = []

    def view(request):
        ids.append(request.progress.start('Import').id)
        if len(ids) == 1:
            raise Conflict
        return Response()

    assert shop.post(view, {'progress_id': POSTED}) is None
    assert ids == [POSTED] * 2
