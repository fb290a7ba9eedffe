"""The function of ``docs/futures.rst``, with real processes: cancels and errors, which the page does not show."""

import doctest
import threading
import time
from pathlib import Path

import pytest
from beaker.cache import cache_regions

from pyramid_progress import TaskCancelled, get_progress_status, start_task
from pyramid_progress.model.record import CANCEL
from pyramid_progress.runtime import current_store

PAGE = Path(__file__).parents[2] / 'docs' / 'futures.rst'


@pytest.fixture(scope='module')
def in_processes():
    """The function as it stands on the page."""
    examples = doctest.DocTestParser().get_examples(PAGE.read_text('utf-8'))
    names = {}
    for example in examples:
        if 'in_processes' not in names:
            exec(example.source, names)  # noqa: S102
    return names['in_processes']


@pytest.fixture(autouse=True)
def _memory():
    cache_regions.update({'default': {'type': 'memory'}, 'persistent': {'type': 'memory'}})


def test_results_are_in_the_order_of_the_items(in_processes):
    with start_task('Lengths') as task:
        assert in_processes(task, len, ['x' * n for n in range(30)]) == list(range(30))
        assert (task.current, task.length) == (30, 30)


def test_a_cancel_stops_the_items_that_have_not_begun(in_processes):
    with pytest.raises(TaskCancelled), start_task('A minute of sleep') as task:

        def cancel_when_it_runs():
            while not task.current:
                time.sleep(0.02)
            storage, expire, _ = current_store()
            storage.update_active({task.id: {CANCEL: 'true'}}, expire)

        threading.Thread(target=cancel_when_it_runs, daemon=True).start()
        begun = time.monotonic()
        in_processes(task, time.sleep, [0.1] * 1200)
    assert time.monotonic() - begun < 20
    status = get_progress_status(task.id)
    assert (status['status'], status['length']) == ('cancelled', 1200)
    assert 0 < status['current'] < 200


def test_an_error_stops_the_items_that_have_not_begun(in_processes):
    begun = time.monotonic()
    with pytest.raises(ValueError, match='non-negative'), start_task('Sleep') as task:
        in_processes(task, time.sleep, [0.05, -1, *[0.1] * 1200])
    assert time.monotonic() - begun < 20
    assert get_progress_status(task.id)['status'] == 'failed'
