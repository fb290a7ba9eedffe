"""Finds words and phrases that do not belong in plain technical English: ``python tests/prose.py``.

Prints each line of the repository that has one, and exits with status 1 if there are any.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

PLACES = [
    'pyramid_progress',
    'static',
    'tests',
    'benchmarks',
    'examples',
    'docs',
    'CHANGES.md',
    'CONTRIBUTING.md',
    'README.md',
    'RELEASING.md',
    'Makefile',
    'pyproject.toml',
    'setup.py',
]

SUFFIXES = re.compile(r'(\.(css|ini|jinja2|js|json|lua|md|mjs|pt|py|rst|sh|toml|ts))?')

#: What to look for, by the reason why it is not used. Upper and lower case are alike.
REASONS = {
    'vague pronoun': r'(some|no|every|any)body|someone|everyone|whoever',
    'gendered pronoun': r'he|him|his|himself|she|her|hers|herself',
    'figure of speech': (
        r"(is|are|be|was|were|been|being|gets?|n't|not) told|tells? (of|as|the)|hears? of|lies|heart|farewell"
        r'|(will|would) not do|will do|in good time|looks? on|(his|her|their|its) eyes|half a (character|record)'
        r'|comes? for it|takes? its time|goes on up|speaks? (the|its) language'
    ),
}

# Words of an identifier count, too.
_PATTERNS = {
    reason: re.compile(f'(?<![a-z])(?:{words.replace(" ", "[ _]")})(?![a-z])', re.IGNORECASE)
    for reason, words in REASONS.items()
}


def paths() -> Iterator[Path]:
    """Yield the files to check."""
    for place in PLACES:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob('*')):
            is_text = file.is_file() and SUFFIXES.fullmatch(file.suffix)
            if is_text and not {'locale', '__pycache__'} & set(file.parts) and file != Path(__file__):
                yield file


def complaints(path: Path) -> Iterator[str]:
    """Yield a sentence for each find in a file."""
    for number, line in enumerate(path.read_text('utf-8').splitlines(), 1):
        for reason, pattern in _PATTERNS.items():
            for match in pattern.finditer(line):
                yield f'{path.relative_to(ROOT)}:{number}: {reason} {match[0]!r}'


def main() -> int:
    """Print what was found, and return the status to exit with."""
    found = [complaint for path in paths() for complaint in complaints(path)]
    for complaint in found:
        print(complaint)
    return bool(found)


if __name__ == '__main__':
    sys.exit(main())
