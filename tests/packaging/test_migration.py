"""docs/guides/migration-pyams.md: the same calls of pyams_utils, from PyPI, and of this package."""

import json

import pytest
from support.environments import ROOT, Environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TUPLE = "[('current', None), ('label', 'Import'), ('length', None), ('owner', None), ('started', '…'), ('status', "
VIEW = "[('current', None), ('label', 'Import'), ('length', None), ('message', None), "
OMITTED = "[('current', 3), ('label', 'Import again'), ('length', {}), ('message', {}), ('owner', 'mary'), "

#: What pyams_utils does, and what this package does, in the order of the table.
DIFFERENT = {
    'list after the end': ("['a', 'b']", "['a']"),
    'after omitted': (OMITTED.format(None, None), OMITTED.format(10, "'Row 2'")),
    'owner': ('None', 'ValueError'),
    'strings': ('None', 'TypeError'),
    'no JSON value': ('None', 'TypeError'),
    'after tuple': (TUPLE + "'running'), ('tags', ('x', 'y'))]", TUPLE + "'running'), ('tags', ['x', 'y'])]"),
    'number': ('None', 'TypeError'),
    'view': (VIEW + "('owner', None), ('started', ", VIEW + "('started', "),
    'view again': ("[('status', 'unknown')]", VIEW),
}


@pytest.fixture(scope='module')
def environment(distributions, tmp_path_factory):
    path = tmp_path_factory.mktemp('migration') / 'environment'
    return Environment(path, '--no-compile', distributions[1], 'pyams_utils == 2.10.0')


@pytest.mark.parametrize('region_type', ['memory', 'file'])
def test_the_same_calls(environment, tmp_path, region_type):
    def results(module):
        folder = tmp_path / module
        folder.mkdir()
        script = ROOT / 'tests' / 'support' / 'migration.py'
        printed = environment.run(environment.python, '-W', 'ignore', script, module, region_type, folder)
        return json.loads(printed)

    theirs, ours = results('pyams_utils.progress'), results('pyramid_progress.progress')
    assert theirs.keys() == ours.keys()
    prefix = 'DIFFERENT '
    for name, result in theirs.items():
        if not name.startswith(prefix):
            assert (name, result) == (name, ours[name])
    differences = {name.removeprefix(prefix) for name in theirs if name.startswith(prefix)}
    assert differences == DIFFERENT.keys()
    for name, (their_result, our_result) in DIFFERENT.items():
        if region_type == 'memory' and name == 'list after the end':
            their_result = our_result
        assert theirs[prefix + name].startswith(their_result), name
        assert ours[prefix + name].startswith(our_result), name
