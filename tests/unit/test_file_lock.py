"""Locks on files."""

import time
from contextlib import closing

import pytest

from pyramid_progress.system import file_lock
from pyramid_progress.system.file_lock import FileLock


def test_a_lock_has_one_holder(tmp_path):
    path = tmp_path / 'lock'
    with closing(FileLock(path)) as first, closing(FileLock(path)) as second:
        assert first.acquire(time.monotonic())
        assert not second.acquire(time.monotonic() + 0.05)


@pytest.mark.skipif(file_lock.fcntl is None, reason='other systems do not remove a file that is open')
def test_a_file_that_is_removed_before_it_is_locked(tmp_path):
    """A program that deletes old temporary files may remove it. Other processes then lock a new one."""
    path = tmp_path / 'lock'
    with closing(FileLock(path)) as first:
        path.unlink()
        with closing(FileLock(path)) as second:
            assert second.acquire(time.monotonic())
            assert not first.acquire(time.monotonic() + 0.05)
        assert first.acquire(time.monotonic())
        assert path.exists()
