"""What the parts of the contract have in common."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import pytest

from ...model.record import Record
from ...storage import Storage

T = TypeVar('T')


class StorageCase:
    """Tests of a storage."""

    @pytest.fixture
    def storage(self) -> Storage:
        """Return an empty storage; a subclass overrides this."""
        raise NotImplementedError('override the fixture "storage": it returns an empty storage')


def stored(storage: Storage, progress_id: str = 'job') -> Record | None:
    """Return the record of a task."""
    return storage.get_many([progress_id]).get(progress_id)


def record_of(storage: Storage, progress_id: str = 'job') -> Record:
    """Return the record of a task, which exists."""
    return storage.get_many([progress_id])[progress_id]


def listed(storage: Storage, *keys: str) -> list[str]:
    """Return the ids of the tasks in some indexes, in their order."""
    return [entry.progress_id for entry in storage.list_entries(keys, 99)]


def at_once(*functions: Callable[[], T]) -> list[T]:
    """Call functions at the same time, each in a thread of its own; return their results."""
    barrier = Barrier(len(functions))

    def call(function: Callable[[], T]) -> T:
        barrier.wait(10)
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(call, functions))
