"""The code census: it counts the files, lines, functions and classes of an installed package."""

import ast
import importlib.util
import os
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from pyramid_progress import Task

STANDARD_LIBRARY = 'the standard library'

# The parser warns about invalid escape sequences in the code of others. This is the file name that the parser gets, so
# that the filter silences no other warning.
_CODE = '<census>'
warnings.filterwarnings('ignore', module=_CODE)


@cache
def offered_packages() -> dict[str, Path]:
    """Return the packages that a visitor can choose: their names, each with its directory.

    These are the standard library and every installed package that has a directory with source code.
    """
    packages = {STANDARD_LIBRARY: Path(sysconfig.get_path('stdlib'))}
    for name in sorted(packages_distributions(), key=str.lower):
        if not name.isidentifier() or name.startswith('_'):
            continue
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):  # the remains of a broken installation
            continue
        if spec and spec.origin and spec.submodule_search_locations:
            packages[name] = Path(spec.origin).parent
    return packages


@dataclass
class Counts:
    """Counts of source files. Of a file that Python cannot parse (``unparsed``), only the lines are counted."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    unparsed: int = 0

    def __iadd__(self, other: 'Counts') -> 'Counts':
        for name, number in asdict(other).items():
            setattr(self, name, getattr(self, name) + number)
        return self


def take_census(task: Task, root: Path) -> dict[str, Any]:
    """Parse every ``.py`` file below a directory. The bar counts files.

    :param task: the task object
    :param root: the directory
    :return: the :class:`Counts` of all files as a dict, and under ``parts`` a list with a dict of the same keys and a
        ``name`` for each file and directory in ``root``, sorted by lines, the most first
    """
    with task.stage('Finding the files'):
        files = sorted(task.track(source_files(root)))
    total = Counts()
    parts: dict[str, Counts] = {}
    task.length = len(files)
    with task.stage('Parsing', weight=len(files)):
        for path in task.track(files):
            name = path.relative_to(root)
            task.message = name.as_posix()
            counts = count_file(path)
            total += counts
            part = parts.setdefault(name.parts[0], Counts())
            part += counts
    ranking = sorted(parts.items(), key=lambda part: -part[1].lines)
    return {**asdict(total), 'parts': [{'name': name, **asdict(part)} for name, part in ranking]}


def source_files(root: Path) -> Iterator[Path]:
    """Yield the ``.py`` files below a directory, without packages that are installed below the standard library."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in ('site-packages', 'dist-packages')]
        paths = (Path(folder, name) for name in names if name.endswith('.py'))
        yield from filter(Path.is_file, paths)


def count_file(path: Path) -> Counts:
    """Return the counts of one file."""
    counts = Counts(files=1)
    try:
        source = path.read_bytes()
        counts.lines = len(source.splitlines())
        tree = ast.parse(source, _CODE)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        # ValueError: NUL bytes or an unknown encoding. The last two: the code is nested too deeply.
        counts.unparsed = 1
        return counts
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            counts.functions += 1
        elif isinstance(node, ast.ClassDef):
            counts.classes += 1
    return counts
