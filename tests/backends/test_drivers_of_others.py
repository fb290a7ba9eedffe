"""The contract of storage drivers, as other projects use it: it passes their drivers, and finds their faults."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pyramid_progress.testing.storage import StorageContract

ROOT = Path(__file__).parents[2]

#: Tests of drivers with a fault each.
FAULTS = """
import time

import pytest

from pyramid_progress.model.record import Start
from pyramid_progress.storage.memory import MemoryStorage
from pyramid_progress.testing.storage import StorageContract


class IgnoresRuns(MemoryStorage):
    def update_active(self, changes, expire, runs=None):
        return super().update_active(changes, expire)


class AcknowledgesTwice(MemoryStorage):
    def acknowledge(self, progress_id, linger):
        return super().acknowledge(progress_id, linger) or '_acknowledged' in self.get_many([progress_id]).get(
            progress_id, ()
        )


class ListsOldestFirst(MemoryStorage):
    def list_entries(self, keys, limit, before=None):
        return super().list_entries(keys, limit, before)[::-1]


class KeepsForEver(MemoryStorage):
    def update_active(self, changes, expire, runs=None):
        return super().update_active(changes, 1000, runs)


class StartsInTwoSteps(MemoryStorage):
    def start(self, progress_id, record, expire, mode=Start.ANY):
        if mode is Start.NEW and self.get_many([progress_id]):
            return False
        time.sleep(0.001)
        return super().start(progress_id, record, expire, Start.ANY if mode is Start.NEW else mode)


class LosesParts(MemoryStorage):
    def start_part(self, progress_id, number, **options):
        return super().start_part(progress_id, 0, **options)


class Faulty(StorageContract):
    @pytest.fixture
    def storage(self):
        return self.driver({'type': 'memory'}, 'tests', 1.0)


class TestIgnoresRuns(Faulty):
    driver = IgnoresRuns


class TestAcknowledgesTwice(Faulty):
    driver = AcknowledgesTwice


class TestListsOldestFirst(Faulty):
    driver = ListsOldestFirst


class TestKeepsForEver(Faulty):
    driver = KeepsForEver


class TestStartsInTwoSteps(Faulty):
    driver = StartsInTwoSteps


class TestLosesParts(Faulty):
    driver = LosesParts


class TestNoFixture(StorageContract):
    pass
"""

#: Uses the driver of the documentation.
APPLICATION = """
from pyramid_progress import configure, get_running_tasks, list_tasks, start_task
from pyramid_progress.runtime import current_store
from pyramid_progress.storage import register_driver


def test_an_application():
    register_driver('shop', 'shop_storage:ShopStorage')
    configure({'cache.regions': 'default, persistent', 'cache.type': 'shop'})
    with start_task('Import', owner='ann') as task:
        assert get_running_tasks() == {task.id}
    assert [found['status'] for found in list_tasks(owner='ann')] == ['finished']
    assert type(current_store().storage).__name__ == 'ShopStorage'
"""


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """Run the contract as other projects do; return the names of failed and of passed tests by class or module."""
    directory = tmp_path_factory.mktemp('project')
    document = ROOT.joinpath('docs', 'reference', 'drivers.md').read_text('utf-8')
    for name, text in re.findall(r'```python\n# (\w+\.py)\n(.*?)```', document, re.DOTALL):
        directory.joinpath(name).write_text(text, 'utf-8')
    directory.joinpath('test_faults.py').write_text(FAULTS, 'utf-8')
    directory.joinpath('test_application.py').write_text(APPLICATION, 'utf-8')
    # To save time, tests that wait run only where they may find the fault.
    chosen = (
        'TestShopStorage or application or (TestKeepsForEver and (lives or acknowledged))'
        ' or (TestNoFixture and empty) or not (TestKeepsForEver or TestNoFixture or live)'
    )
    command = [sys.executable, '-m', 'pytest', '-q', '--junitxml=report.xml', '-p', 'no:xdist', '-k', chosen]
    # Of this run, pytest inherits nothing.
    env = {name: value for name, value in os.environ.items() if not name.startswith('PYTEST_')}
    result = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=100)
    outcomes = {}
    for case in ElementTree.parse(directory / 'report.xml').iter('testcase'):  # noqa: S314  (our own file)
        name = case.get('classname').rpartition('.')[2]
        failed, passed = outcomes.setdefault(name, (set(), set()))
        is_failed = case.find('failure') is not None or case.find('error') is not None
        (failed if is_failed else passed).add(case.get('name').partition('[')[0])
    return outcomes | {'output': result.stdout}


def test_the_driver_of_the_documentation_fulfils_the_contract(outcomes):
    failed, passed = outcomes['TestShopStorage']
    assert not failed, outcomes['output']
    assert passed == {name for name in dir(StorageContract) if name.startswith('test_')}
    assert outcomes['test_application'] == (set(), {'test_an_application'})


@pytest.mark.parametrize(('driver', 'expected'), [
    ('IgnoresRuns', 'test_an_older_run_does_not_change_a_newer_one'),
    ('AcknowledgesTwice', 'test_an_end_is_acknowledged_once'),
    ('ListsOldestFirst', 'test_the_newest_task_comes_first'),
    ('KeepsForEver', 'test_a_record_lives_for_its_lifetime_after_its_last_change'),
    ('StartsInTwoSteps', 'test_of_simultaneous_starts_of_a_new_id_one_succeeds'),
    ('LosesParts', 'test_what_parts_complete_adds_up'),
])  # fmt: skip
def test_a_driver_with_a_fault_does_not_fulfil_it(outcomes, driver, expected):
    failed, passed = outcomes[f'Test{driver}']
    assert expected in failed
    assert len(passed) > len(failed), 'a fault of one method fails most tests'


def test_the_fixture_must_be_overridden(outcomes):
    failed, passed = outcomes['TestNoFixture']
    assert failed
    assert not passed
    assert 'override the fixture "storage"' in outcomes['output']


def test_failures_show_the_values(outcomes):
    """That is what pytest does for test modules by itself, and for other modules on request."""
    assert re.search(r"assert \['b', .*\] == \['c', 'a', ", outcomes['output'])
