"""The contract of storage drivers, for every region type."""

import pytest

from pyramid_progress.runtime import current_store
from pyramid_progress.testing.storage import StorageContract


class TestEveryRegionType(StorageContract):
    @pytest.fixture
    def storage(self, region):
        return current_store().storage
