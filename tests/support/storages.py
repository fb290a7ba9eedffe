"""A storage driver whose calls tests count, and make fail."""

import math
from collections import Counter

from pyramid_progress import StorageError, configure
from pyramid_progress.runtime import current_store
from pyramid_progress.storage import register_driver
from pyramid_progress.storage.memory import MemoryStorage

#: The settings of an application that uses it.
FAULTY = {'cache.regions': 'default, persistent', 'cache.type': 'faulty'}

register_driver('faulty', f'{__name__}:FaultyStorage')


class FaultyStorage(MemoryStorage):
    """A region of the type ``faulty``: memory that counts reads, and refuses what a test says."""

    broke_at = -math.inf

    def __init__(self, region, namespace, timeout):
        super().__init__(region, namespace, timeout)
        #: The number of calls that read, by name.
        self.reads = Counter()
        #: Ids whose records are not written.
        self.refused = set()
        #: Whether it refuses every call.
        self.is_down = False

    def start(self, progress_id, *args, **options):
        self._check({progress_id})
        return super().start(progress_id, *args, **options)

    def update(self, progress_id, *args):
        self._check({progress_id})
        super().update(progress_id, *args)

    def update_active(self, changes, *args):
        self._check(changes.keys())
        return super().update_active(changes, *args)

    def start_part(self, progress_id, *args, **options):
        self._check({progress_id})
        return super().start_part(progress_id, *args, **options)

    def update_part(self, progress_id, *args, **options):
        self._check({progress_id})
        return super().update_part(progress_id, *args, **options)

    def acknowledge(self, progress_id, *args):
        self._check({progress_id})
        return super().acknowledge(progress_id, *args)

    def get_many_serialized(self, progress_ids):
        return self._read('get_many_serialized', progress_ids)

    def get_many(self, progress_ids):
        return self._read('get_many', progress_ids)

    def list_entries(self, *args):
        return self._read('list_entries', *args)

    def running_ids(self):
        return self._read('running_ids')

    def _read(self, name, *args):
        self._check(set())
        self.reads[name] += 1
        return getattr(super(), name)(*args)

    def _check(self, written):
        if self.is_down or self.refused & written:
            raise StorageError(f'the store refuses {sorted(self.refused & written)}')


def faulty_storage(**settings):
    """Make a faulty storage the default one, and return it."""
    configure(FAULTY | settings)
    return current_store().storage
