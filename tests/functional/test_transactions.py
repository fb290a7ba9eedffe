"""Submitted work in an application with pyramid_tm, zope.sqlalchemy and pyramid_retry: the transaction decides."""

import gc
import logging
import os
import subprocess
import sys
import time

import pytest
from pyramid.request import Request
from pyramid.response import Response
from support.shop import EXPLICIT, Conflict, Customer, Shop
from transaction import TransactionManager

from pyramid_progress import cancel_task, get_progress_status, init_progress_status, list_tasks, new_request
from pyramid_progress.model.status import record_to_status
from pyramid_progress.runtime import current_store
from pyramid_progress.testing import wait_for

#: An id that the widget generates.
POSTED = '0123456789abcdef' * 2


def never_veto(request, response):
    return False


class TestCommitted:
    """The work runs once, and finds what the view wrote."""

    def test_work_starts_after_the_commit(self, shop):
        def view(request):
            shop.add(request)
            time.sleep(0.3)
            assert get_progress_status(shop.ids[0])['status'] == 'pending'
            assert shop.ran == []
            return Response()

        assert shop.post(view) is None
        wait_for(shop.ids[0])
        assert shop.ran == [1]

    def test_an_exception_view_that_commits(self, make_shop):
        shop = make_shop(**{'tm.commit_veto': never_veto})

        def view(request):
            shop.add(request)
            raise LookupError

        assert shop.post(view) is None
        wait_for(shop.ids[0])
        assert shop.ran == [1]

    def test_a_view_that_commits_by_itself(self, shop):
        def view(request):
            shop.add(request)
            request.tm.commit()
            wait_for(shop.ids[0])
            request.tm.begin()
            raise RuntimeError('too late')

        assert str(shop.post(view)) == 'too late'
        assert shop.ran == [1]

    @pytest.mark.parametrize('body', [{}, {'progress_id': POSTED}], ids=['no id', 'a posted id'])
    def test_the_last_attempt_of_several(self, shop, body):
        def view(request):
            shop.add(request)
            if len(shop.ids) < 3:
                raise Conflict
            return Response()

        assert shop.post(view, body) is None
        wait_for(shop.ids[2])
        assert shop.ran == [1]
        assert [task['progress_id'] for task in list_tasks()] == [shop.ids[2]]
        if body:
            assert shop.ids == [POSTED] * 3

    def test_a_savepoint_that_is_rolled_back_does_not_matter(self, shop):
        def view(request):
            savepoint = request.tm.savepoint()
            shop.add(request)
            savepoint.rollback()
            return Response()

        assert shop.post(view) is None
        wait_for(shop.ids[0])
        assert shop.ran == [0]


class TestNotCommitted:
    """The work never runs, and the task is gone."""

    @pytest.mark.parametrize('error', [RuntimeError, LookupError], ids=['unhandled', 'an exception view answers'])
    def test_an_exception(self, shop, error):
        def view(request):
            shop.add(request)
            raise error

        assert isinstance(shop.post(view), RuntimeError if error is RuntimeError else type(None))
        assert shop.is_discarded()

    def test_a_doomed_transaction(self, shop):
        def view(request):
            shop.add(request)
            request.tm.doom()
            return Response()

        assert shop.post(view) is None
        assert shop.is_discarded()

    def test_a_commit_veto(self, make_shop):
        shop = make_shop(**{'tm.commit_veto': 'pyramid_tm.default_commit_veto'})

        def view(request):
            shop.add(request)
            return Response(status=400)

        assert shop.post(view) is None
        assert shop.is_discarded()

    def test_a_commit_that_fails(self, shop):
        def view(request):
            shop.add(request)
            request.dbsession.add(Customer(name='john'))
            request.dbsession.connection().exec_driver_sql("INSERT INTO customer VALUES ('john')")
            return Response()

        assert 'UNIQUE' in str(shop.post(view))
        assert shop.is_discarded()
        assert shop.post(lambda request: Response()) is None, 'the manager ends the failed transaction now'
        assert shop.is_discarded()

    def test_a_commit_that_fails_before_its_hooks(self, shop):
        def refuse():
            raise RuntimeError('refused')

        def view(request):
            shop.add(request)
            request.tm.get().addBeforeCommitHook(refuse)
            return Response()

        assert str(shop.post(view)) == 'refused'
        assert shop.is_discarded()

    def test_a_hook_of_other_code_that_raises_before_ours(self, shop):
        def refuse():
            raise RuntimeError('refused')

        def view(request):
            request.tm.get().addAfterAbortHook(refuse)
            shop.add(request)
            raise ZeroDivisionError

        assert shop.post(view) is not None
        assert shop.is_discarded()

    def test_every_attempt_fails(self, shop):
        def view(request):
            shop.add(request)
            raise Conflict

        assert isinstance(shop.post(view, {'progress_id': POSTED}), Conflict)
        assert shop.ids == [POSTED] * 3
        assert shop.is_discarded()

    def test_a_chosen_id_is_free_again(self, shop):
        def view(request):
            shop.add(request, progress_id='reindex:customers')
            raise RuntimeError

        shop.post(view)
        assert shop.ids == ['reindex:customers']
        assert shop.is_discarded()

    def test_a_task_that_was_started_anew_meanwhile_stays(self, shop):
        def view(request):
            shop.add(request, progress_id='reindex')
            time.sleep(0.01)
            init_progress_status('reindex', None, 'Newer')
            raise RuntimeError

        shop.post(view)
        time.sleep(0.4)
        assert get_progress_status('reindex')['label'] == 'Newer'

    def test_it_is_logged(self, shop, caplog):
        def view(request):
            shop.add(request)
            raise RuntimeError

        with caplog.at_level(logging.INFO, 'pyramid_progress'):
            shop.post(view)
        assert f'Task {shop.ids[0]} is discarded: its transaction was not committed' in caplog.messages
        assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_visitor_cancels_a_task_that_waits_for_the_commit(shop):
    def view(request):
        shop.add(request)
        assert cancel_task(shop.ids[0])
        wait_for(shop.ids[0], 'cancelled')
        return Response()

    assert shop.post(view) is None
    time.sleep(0.3)
    assert shop.ran == []
    assert get_progress_status(shop.ids[0])['status'] == 'cancelled'


class TestAtOnce:
    """Where no transaction is active, and where the view asks for it, the work does not wait."""

    @staticmethod
    def start(request, ran, **options):
        progress_id = request.progress.submit(lambda task: ran.append(task.id), label='Work', **options)
        wait_for(progress_id)

    def test_if_the_view_asks_for_it(self, shop):
        def view(request):
            self.start(request, shop.ran, after_commit=False)
            raise RuntimeError

        shop.post(view)
        assert len(shop.ran) == 1

    def test_without_pyramid_tm(self, make_app):
        ran = []

        def view(request):
            self.start(request, ran)
            return Response()

        def configure(config):
            config.add_route('work', '/work')
            config.add_view(view, route_name='work')

        make_app(configure).post('/work')
        assert len(ran) == 1

    def test_in_a_body_that_is_streamed(self, shop):
        def body(request):
            self.start(request, shop.ran)
            yield b'done'

        assert shop.post(lambda request: Response(app_iter=body(request))) is None
        assert len(shop.ran) == 1

    def test_after_the_view_has_ended_its_transaction(self, make_app, tmp_path):
        shop = Shop(make_app, tmp_path, EXPLICIT)

        def view(request):
            request.tm.commit()
            self.start(request, shop.ran)
            request.tm.begin()
            return Response()

        assert shop.post(view) is None
        assert len(shop.ran) == 1


class TestSubrequests:
    @pytest.mark.parametrize('use_tweens', [False, True])
    def test_a_request_of_its_own_does_not_depend_on_the_outer_one(self, shop, use_tweens):
        def inner(request):
            shop.ids.append(request.progress.submit(lambda task: shop.ran.append(1), label='Work'))
            return Response()

        def view(request):
            shop.view = inner
            request.invoke_subrequest(Request.blank('/work', POST={}), use_tweens=use_tweens)
            wait_for(shop.ids[0])
            raise RuntimeError

        shop.post(view)
        assert shop.ran == [1]

    @pytest.mark.parametrize('use_tweens', [False, True])
    @pytest.mark.parametrize('commits', [True, False])
    def test_a_copy_of_the_request_shares_its_transaction(self, shop, use_tweens, commits):
        def inner(request):
            shop.add(request)
            return Response()

        def view(request):
            shop.view = inner
            request.invoke_subrequest(request.copy(), use_tweens=use_tweens)
            time.sleep(0.3)
            assert get_progress_status(shop.ids[0])['status'] == 'pending'
            if not commits:
                raise RuntimeError
            return Response()

        shop.post(view)
        if commits:
            wait_for(shop.ids[0])
            assert shop.ran == [1]
        else:
            assert shop.is_discarded()


class TestWithoutThreads:
    """`progress.threads = 0`: the work is done in the caller."""

    def test_it_runs_after_the_commit_within_the_request(self, make_shop):
        shop = make_shop(**{'progress.threads': '0'})

        def view(request):
            shop.add(request)
            assert shop.ran == []
            return Response()

        assert shop.post(view) is None
        assert shop.ran == [1]
        assert get_progress_status(shop.ids[0])['status'] == 'finished'

    def test_its_exceptions_propagate(self, make_shop):
        shop = make_shop(**{'progress.threads': '0'})

        def work(task):
            raise ZeroDivisionError

        def view(request):
            shop.ids.append(request.progress.submit(work, label='Work'))
            return Response()

        assert isinstance(shop.post(view), ZeroDivisionError)
        assert get_progress_status(shop.ids[0])['status'] == 'failed'

    def test_it_does_not_run_if_the_transaction_does_not_commit(self, make_shop):
        shop = make_shop(**{'progress.threads': '0'})

        def view(request):
            shop.add(request)
            raise RuntimeError

        shop.post(view)
        assert shop.is_discarded()


def test_a_task_whose_block_ends_with_a_failing_commit_has_failed_whatever_finish_said(shop):
    def work(task):
        with new_request() as request, request.tm:
            request.dbsession.add(Customer(name='john'))
            request.dbsession.connection().exec_driver_sql("INSERT INTO customer VALUES ('john')")
            task.finish('Done', {'url': '/customers'})
            time.sleep(0.3)
            assert get_progress_status(task.id)['status'] == 'running'

    def view(request):
        shop.ids.append(request.progress.submit(work, label='Work'))
        return Response()

    assert shop.post(view) is None
    status = wait_for(shop.ids[0], 'failed')
    assert status['message'] == 'An unexpected error ended this task.'
    assert 'result' not in status


def test_a_transaction_that_is_dropped_leaves_no_task_pending(make_app, tmp_path):
    """A request of a test suite that sets `tm.active` itself, and forgets the transaction."""
    shop = Shop(make_app, tmp_path, {})
    manager = TransactionManager(explicit=True)
    manager.begin()
    shop.view = lambda request: shop.add(request) or Response()
    shop.app.post('/work', extra_environ={'tm.active': True, 'tm.manager': manager})
    wait_for(shop.ids[0], 'pending')
    del manager
    gc.collect()
    wait_for(shop.ids[0], 'failed')
    assert shop.ran == []


_DIES = """
import os, sys
from pyramid.config import Configurator
from pyramid.response import Response
from webtest import TestApp

def view(request):
    request.progress.submit(print, label='Work', progress_id='work')
    request.tm.get().addBeforeCommitHook(os._exit, (7,))
    return Response()

settings = {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': sys.argv[1]}
with Configurator(settings=settings) as config:
    config.include('pyramid_tm')
    config.include('pyramid_progress')
    config.add_route('work', '/work')
    config.add_view(view, route_name='work')
TestApp(config.make_wsgi_app()).post('/work')
"""


def test_a_process_that_dies_before_the_commit_leaves_a_stalled_task(tmp_path, make_app):
    command = [sys.executable, '-W', 'ignore', '-c', _DIES, str(tmp_path)]
    assert subprocess.run(command, env=dict(os.environ), timeout=60).returncode == 7
    make_app(**{'cache.type': 'sqlite', 'cache.data_dir': str(tmp_path)})
    storage = current_store().storage
    (record,) = storage.get_many(['work']).values()
    assert record['status'] == '"pending"'
    assert record_to_status(record, lambda: storage.now() + 16)['status'] == 'stalled'
