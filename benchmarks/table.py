"""The table, for people and as JSON."""

import json
import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import missing

#: The versions that matter.
_PACKAGES = ('Beaker', 'celery', 'celery-progress', 'pyams_utils', 'pyramid', 'redis', 'tqdm', 'waitress')

_COLUMNS = '{:<38} {:<35} {:>7} {:>7} {:>15} {:>12} {:>12}  {}'

HEAD = _COLUMNS.format('figure', 'against', 'target', 'ratio', 'quartiles', 'ours', 'theirs', '')


def line(row: dict[str, Any]) -> str:
    """Return a line of the table."""
    if 'skipped' in row:
        return _COLUMNS.format(
            row['figure'], row['against'], row['to_reach'], '-', '-', '-', '-', 'skipped: ' + row['skipped']
        )
    low, high = row['quartiles']
    return _COLUMNS.format(
        row['figure'],
        row['against'],
        row['to_reach'],
        f'{row["ratio"]:.2f}',
        f'{low:.2f} to {high:.2f}',
        f'{row["ours"]:,.4g} {row["unit"]}',
        f'{row["theirs"]:,.4g} {row["unit"]}',
        'met' if row['met'] else 'MISSED',
    )


def save(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Save the table, with what the figures depend on."""
    results = {'machine': _machine(), 'figures': rows}
    file.write_text(json.dumps(results, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def _machine() -> dict[str, Any]:
    return {
        'system': f'{platform.system()} {platform.machine()}',
        'processors': os.cpu_count(),
        'python': f'{platform.python_implementation()} {platform.python_version()}',
        'sqlite': sqlite3.sqlite_version,
        'redis-server': _redis_version(),
        'packages': {name: _version(name) for name in _PACKAGES},
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _redis_version() -> str | None:
    try:
        program = missing.program('redis-server')
    except missing.Missing:
        return None
    text = subprocess.run([program, '--version'], capture_output=True, text=True, check=True).stdout  # noqa: S603
    found = re.search(r'v=(\S+)', text)
    return found[1] if found else None
