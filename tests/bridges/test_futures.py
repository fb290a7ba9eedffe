"""The workers of ``docs/guides/parts.md``, with real processes: cancels and errors, which the page does not show."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from support.parts import work_slowly
from support.waiting import wait_until

from pyramid_progress import ProgressError, TaskCancelled, cancel_task, configure, get_progress_status, start_task

#: Parts of a second each, for two processes.
COUNT = 60


@pytest.fixture
def settings(tmp_path):
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': str(tmp_path)}
    configure(settings)
    return settings


@pytest.fixture
def pool(settings):
    with ProcessPoolExecutor(2, get_context('spawn'), configure, [settings]) as pool:
        yield pool


@pytest.mark.parametrize('how', ['cancel', pytest.param('error', marks=pytest.mark.slow)])
def test_parts_that_wait_stop_with_their_task(pool, how):
    begun = time.monotonic()
    try:
        with start_task('A minute of sleep') as task:
            futures = [pool.submit(work_slowly, part) for part in task.parts(COUNT)]
            wait_until(lambda: get_progress_status(task.id)['current'], 30)
            if how == 'cancel':
                assert cancel_task(task.id)
            else:
                raise ProgressError('The disk is full.')
    except ProgressError:
        assert how == 'error'
    stopped = [isinstance(future.exception(30), TaskCancelled) for future in futures]
    assert time.monotonic() - begun < 20
    assert sum(stopped) > COUNT / 2
    status = get_progress_status(task.id)
    assert status['status'] == ('cancelled' if how == 'cancel' else 'failed')
    assert 0 < status['current'] < COUNT / 2
    if how == 'cancel':
        assert status['parts'] == {'ended': COUNT, 'total': COUNT}
    else:
        assert status['message'] == 'The disk is full.'
