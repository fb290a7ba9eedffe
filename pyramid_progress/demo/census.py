"""What Python code is made of: files, lines, functions and classes of an installed package."""

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

# The parser warns of invalid escapes in code that is not ours to mend. It knows the code by the
# name we give it, and so does this filter: no other warning is silenced.
_CODE = '<census>'
warnings.filterwarnings('ignore', module=_CODE)


@cache
def offered_packages() -> dict[str, Path]:
    """The names a visitor may choose from, each with its folder.

    The standard library, and every installed package with source in a folder of its own.
    """
    packages = {STANDARD_LIBRARY: Path(sysconfig.get_path('stdlib'))}
    for name in sorted(packages_distributions(), key=str.lower):
        if not name.isidentifier() or name.startswith('_'):
            continue
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):  # what is left of a broken installation
            continue
        if spec and spec.origin and spec.submodule_search_locations:
            packages[name] = Path(spec.origin).parent
    return packages


@dataclass
class Counts:
    """What is counted; a file that Python cannot parse is ``unparsed`` and only gives its lines."""

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
    """Parse every ``.py`` file below ``root``; the bar counts files.

    Returns the :class:`Counts` of the whole as a dict, and in it under ``parts`` a list of the same
    with a ``name`` for each file and folder directly in ``root``, the most lines first.
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
    """The ``.py`` files below ``root``, without what pip installed below the standard library."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in ('site-packages', 'dist-packages')]
        paths = (Path(folder, name) for name in names if name.endswith('.py'))
        yield from filter(Path.is_file, paths)


def count_file(path: Path) -> Counts:
    """The counts of one file."""
    counts = Counts(files=1)
    try:
        source = path.read_bytes()
        counts.lines = len(source.splitlines())
        tree = ast.parse(source, _CODE)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        # ValueError: NUL bytes or an encoding unknown; the last two: nested too deeply.
        counts.unparsed = 1
        return counts
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            counts.functions += 1
        elif isinstance(node, ast.ClassDef):
            counts.classes += 1
    return counts
