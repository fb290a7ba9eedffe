"""The contract of storage drivers as tests, for the authors of drivers. It needs pytest.

A subclass of :class:`StorageContract` in a test module runs all tests. It only says how to open an empty storage::

    import pytest
    from pyramid_progress.testing.storage import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self, tmp_path):
            storage = MyStorage({'type': 'mine', 'data_dir': str(tmp_path)}, 'tests', 1.0)
            yield storage
            storage.close()
"""

import pytest

# Before these modules are imported, so that pytest shows the values in their failed assertions, too.
pytest.register_assert_rewrite(*(f'{__name__}.{name}' for name in ('records', 'runs', 'indexes', 'parts')))

from .indexes import IndexContract  # noqa: E402
from .parts import PartContract  # noqa: E402
from .records import RecordContract  # noqa: E402
from .runs import RunContract  # noqa: E402

__all__ = ['StorageContract']


class StorageContract(RecordContract, RunContract, IndexContract, PartContract):
    """What every :class:`pyramid_progress.storage.Storage` does.

    A subclass overrides the fixture ``storage``. It returns an empty storage, a new one for each test. The tests need
    no other fixture, and none waits longer than a second. They call the driver from one process, and from several of
    its threads.
    """
