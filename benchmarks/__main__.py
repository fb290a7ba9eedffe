"""Measure, print the table and save it: ``python -m benchmarks [--save FILE] [SUBJECT...]``."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from .environment import Environment
from .table import HEAD, line, save

#: In the order of the table; each has a module with its figures.
SUBJECTS = ('redis', 'sqlite', 'memory', 'file', 'view', 'scale', 'lists', 'processes', 'loop', 'browser', 'push')

#: Where the figures of all subjects are saved.
RESULTS = Path(__file__).with_name('results.json')


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description='Measure what progress costs.')
    parser.add_argument('subjects', nargs='*', metavar='SUBJECT', help=f'all by default: {", ".join(SUBJECTS)}')
    parser.add_argument('--save', type=Path, metavar='FILE', help='where to; all subjects: benchmarks/results.json')
    options = parser.parse_args(arguments)
    unknown = set(options.subjects).difference(SUBJECTS)
    if unknown:
        parser.error(f'there is no {", ".join(unknown)}; there are {", ".join(SUBJECTS)}')
    print(HEAD)
    rows = []
    with Environment() as environment:
        for subject in options.subjects or SUBJECTS:
            for figure in import_module(f'.{subject}_bench', __package__).FIGURES:
                row = figure.row(environment)
                print(line(row), flush=True)
                rows.append(row)
    file = options.save or (None if options.subjects else RESULTS)
    if file:
        save(file, rows)
        print(f'\nSaved in {os.path.relpath(file)}')


if __name__ == '__main__':
    main(sys.argv[1:])
