"""Calls of pyams_utils.progress, or of this package: ``python migration.py MODULE TYPE DIRECTORY``.

Prints a JSON object of the result of each call, which is a representation of what it returned or raised.
"""

import importlib
import json
import sys
from functools import partial

from beaker.cache import cache_regions
from pyramid.testing import DummyRequest

progress = importlib.import_module(sys.argv[1])
options = {'type': sys.argv[2], 'data_dir': sys.argv[3], 'lock_dir': sys.argv[3], 'expire': 999999}
cache_regions.update(default=options, persistent=options)
NAMES = ('init_progress_status', 'set_progress_status', 'get_progress_status', 'get_running_tasks')
init, set_, get, running = (getattr(progress, name) for name in NAMES)

printed = {}


def call(name, function, *args, **kwargs):
    """Call a function, and note the result."""
    try:
        result = function(*args, **kwargs)
        if isinstance(result, dict):
            # The time of the start differs. Both have the members in another order.
            result = sorted((key, '…' if key == 'started' else value) for key, value in result.items())
        printed[name] = repr(result)
    except Exception as error:  # noqa: BLE001
        printed[name] = type(error).__name__


def view(**params):
    """Call the view as a POST of the script does."""
    return progress.get_progress_status_view(DummyRequest(params=params, post=params))


call('unknown', get, 'none')
call('init', init, 'a', 'mary', 'Import', ['x'], 10, 0)
call('after init', get, 'a')
call('list', lambda: sorted(running()))
call('set', set_, 'a', message='Row 1', length=10, current=1)
call('after set', get, 'a')
call('again by the same owner', init, 'a', 'mary', 'Import again')
call('after again', get, 'a')
call('keywords', partial(init, progress_id='b', owner=None, label='Export', tags=None, length=None, current=None))
call('after keywords', get, 'b')
call('other words', set_, 'b', 'digesting', None, 3, 2.5)
call('after other words', get, 'b')
call('bare', set_, 'bare', length=100, current=50)
call('after bare', get, 'bare')
call('list with bare', lambda: sorted(running()))
call('view', view, progress_id='bare')
call('view of unknown', view, progress_id='none')
call('view without id', view)
call('finish', set_, 'b', 'finished', 'Done', 3, 3)
call('the end', get, 'b')
call('after the end', get, 'b')
call('failed', set_, 'bare', 'failed', 'No good', 100, 50)
call('after failed', get, 'bare')
call('after failed again', get, 'bare')

call('DIFFERENT list after the end', lambda: sorted(running()))
call('omitted', set_, 'a', message='Row 2', length=10, current=2)
call('omitted again', set_, 'a', current=3)
call('DIFFERENT after omitted', get, 'a')
call('DIFFERENT owner', init, 'a', 'john', 'Other')
call('DIFFERENT strings', set_, 'a', length='10', current='5')
call('DIFFERENT no JSON value', set_, 'a', message={1, 2})
call('tuple', init, 'tuple', None, 'Import', ('x', 'y'))
call('DIFFERENT after tuple', get, 'tuple')
call('DIFFERENT number', init, 5, None, 'Import')
call('finish again', set_, 'tuple', 'finished')
call('DIFFERENT view', view, progress_id='tuple')
call('DIFFERENT view again', view, progress_id='tuple')

print(json.dumps(printed))
