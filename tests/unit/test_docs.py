"""The examples in the documentation work."""

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('path', sorted((ROOT / 'docs').glob('*.rst')), ids=lambda path: path.name)
def test_document(path):
    failures, examples = doctest.testfile(
        str(path), module_relative=False, encoding='utf-8', optionflags=doctest.ELLIPSIS
    )
    assert examples > 0
    assert failures == 0
