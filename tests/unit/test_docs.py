"""The examples in the documentation that are sessions of Python work."""

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / 'docs'


def documents():
    """Return the pages with sessions, in reStructuredText or Markdown."""
    paths = sorted([*DOCS.rglob('*.rst'), *DOCS.rglob('*.md')])
    return [path for path in paths if 'build' not in path.parts and '>>> ' in path.read_text('utf-8')]


@pytest.mark.parametrize('path', documents(), ids=lambda path: str(path.relative_to(DOCS)))
def test_document(path):
    # The line that ends a block of Markdown is not output of the last example in it.
    text = re.sub(r'(?m)^ *```.*', '', path.read_text('utf-8'))
    test = doctest.DocTestParser().get_doctest(text, {'__name__': '__main__'}, path.name, str(path), 0)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert results.attempted > 0
    assert results.failed == 0
