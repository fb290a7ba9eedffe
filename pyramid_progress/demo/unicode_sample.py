"""A large CSV file with real data that needs no download: the Unicode character database of Python."""

import csv
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

COLUMNS = (
    'code point',
    'name',
    'category',
    'bidirectional class',
    'combining class',
    'east asian width',
    'mirrored',
    'decimal',
    'numeric',
    'decomposition',
)
FILE_NAME = f'unicode-{unicodedata.unidata_version}.csv'


def rows() -> Iterator[tuple[str | int | float, ...]]:
    """Yield one row for each character that has a name: more than 130,000 in every supported Python version."""
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if name := unicodedata.name(char, ''):
            yield (
                f'U+{code:04X}',
                name,
                unicodedata.category(char),
                unicodedata.bidirectional(char),
                unicodedata.combining(char),
                unicodedata.east_asian_width(char),
                unicodedata.mirrored(char),
                unicodedata.decimal(char, ''),
                unicodedata.numeric(char, ''),
                unicodedata.decomposition(char),
            )


def sample_file(data_dir: Path) -> Path:
    """Return the path of the sample in ``data_dir``. The first call writes the file, in less than a second."""
    path = data_dir / FILE_NAME
    if not path.exists():
        # Under another name until it is complete: two requests may come at the same time.
        with tempfile.NamedTemporaryFile(
            'w', encoding='utf-8', newline='', dir=data_dir, suffix='.part', delete=False
        ) as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(rows())
        Path(file.name).replace(path)
    return path
