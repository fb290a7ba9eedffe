"""The figures of ``make bench``, from ``benchmarks/results.json``.

The directive ``benchmarks`` is their table, ``plot`` a chart of some; ``ratio`` and ``ours`` are roles for one of them.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bars import Bar, Group, chart
from docutils import nodes
from generated import MarkdownDirective, table
from sphinx.util.docutils import SphinxDirective, SphinxRole

#: How the names of the figures of push begin.
_PUSH = 'push: '

#: The figure of the processor time of streams and polls.
_PROCESSOR = 'push: 1,000 streams on 1,000 tasks, processor'

RESULTS = Path(__file__).parents[2] / 'benchmarks' / 'results.json'

Row = dict[str, Any]


def figures() -> list[Row]:
    """Return the rows of all figures that were measured."""
    return [row for row in json.loads(RESULTS.read_text('utf-8'))['figures'] if 'skipped' not in row]


class BenchmarksDirective(MarkdownDirective):
    """``{benchmarks}``: the table; ``{benchmarks} machine``: what the figures depend on.

    ``{benchmarks} capacity``: how many visitors one processor serves; nothing if that was not measured.
    """

    optional_arguments = 1

    def markdown(self) -> Iterable[str]:
        self.env.note_dependency(RESULTS)
        if self.arguments == ['capacity']:
            return _capacity(figures())
        if self.arguments:
            return [_machine(json.loads(RESULTS.read_text('utf-8'))['machine'])]
        head = ['figure', 'compared with', 'target', 'ratio', 'quartiles', 'ours', 'theirs', '']
        return table(head, map(_cells, figures()))


def _cells(row: Row) -> list[str]:
    low, high = row['quartiles']
    return [
        row['figure'],
        row['against'],
        row['to_reach'],
        f'{row["ratio"]:.2f}',
        f'{low:.2f}–{high:.2f}',  # noqa: RUF001  (a range)
        _amount(row['ours'], row['unit']),
        _amount(row['theirs'], row['unit']),
        '' if row['met'] else '**missed**',
    ]


def _machine(machine: dict[str, Any]) -> str:
    packages = ', '.join(f'{name} {version}' for name, version in machine['packages'].items() if version)
    return (
        f'{machine["system"]}, {machine["processors"]} processors, {machine["python"]}, SQLite {machine["sqlite"]},'
        f' Redis {machine["redis-server"]}; {packages}.'
    )


def _amount(value: float, unit: str) -> str:
    """Return an amount for people: times of less than a microsecond as nanoseconds, and of more than 1,000 as ms."""
    if unit == 'µs' and value < 1:
        value, unit = value * 1000, 'ns'
    elif unit == 'µs' and value >= 1000:
        value, unit = value / 1000, 'ms'
    return f'{value:,.0f} {unit}' if value >= 100 else f'{value:.3g} {unit}'


def _capacity(rows: list[Row]) -> Iterable[str]:
    """Return a table of what one processor serves, and how many a million open bars need."""
    for row in rows:
        if row['figure'] == _PROCESSOR:
            # ms in a second, of 1,000 streams and of 1,000 pages that poll
            sides = {'pages with a stream, each with a task that changes twice a second': row['ours']}
            sides[f'pages that poll ({row["against"].partition(" ")[2]})'] = row['theirs']
            head = ['', 'one processor serves', 'processors for 1,000,000 of them']
            return table(head, [[what, _rounded(1e6 / used), _rounded(used)] for what, used in sides.items()])
    return []


def _rounded(number: float) -> str:
    """Return a number with two digits that count."""
    return f'{float(f"{number:.2g}"):,.0f}'


class PlotDirective(SphinxDirective):
    """``{plot} name``: a chart of some figures; nothing if none of them was measured."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(RESULTS))
        plot = PLOTS.get(self.arguments[0])
        if plot is None:
            raise self.error(f'there is no plot {self.arguments[0]}; there are {", ".join(PLOTS)}')
        svg = plot(figures())
        return [nodes.raw('', f'<div class="plot-frame">{svg}</div>', format='html')] if svg else []


def _bar(rows: list[Row], figure: str, against: str, label: str, side: str = 'ours') -> Iterable[Bar]:
    for row in rows:
        if (row['figure'], row['against']) == (figure, against):
            yield Bar(label, row[side], _amount(row[side], row['unit']), side == 'ours')


def _update(rows: list[Row]) -> str | None:
    """Draw what one update costs in regions of each type."""
    pyams = 'pyams_utils 2.10'
    groups = [
        Group(
            'memory',
            [
                *_bar(rows, 'set on memory', 'pyams_utils on memory', 'pyramid_progress'),
                *_bar(rows, 'set on memory', 'pyams_utils on memory', pyams, 'theirs'),
            ],
        ),
        Group(
            'sqlite',
            [
                *_bar(rows, 'set on sqlite', 'a raw prepared upsert', 'pyramid_progress'),
                *_bar(
                    rows, 'set on sqlite', 'a raw prepared upsert', 'the same row, written without any rules', 'theirs'
                ),
            ],
        ),
        Group(
            'ext:redis',
            [
                *_bar(rows, 'set on Redis', 'celery-progress on Redis', 'pyramid_progress'),
                *_bar(rows, 'set on Redis', 'one raw SET of the same bytes', 'one SET of the same bytes', 'theirs'),
                *_bar(rows, 'set on Redis', 'celery-progress on Redis', 'celery-progress 0.5', 'theirs'),
                *_bar(rows, 'set on Redis', 'pyams_utils on Redis', pyams, 'theirs'),
            ],
        ),
        Group(
            'file, with 1,000 tasks',
            [
                *_bar(rows, 'set on file, 1,000 tasks', 'pyams_utils on file, 1,000 tasks', 'pyramid_progress'),
                *_bar(rows, 'set on file, 1,000 tasks', 'pyams_utils on file, 1,000 tasks', pyams, 'theirs'),
            ],
        ),
    ]
    return _drawn('Time of one update by type of the region, on a logarithmic scale', groups, is_logarithmic=True)


def _list(rows: list[Row]) -> str | None:
    """Draw what a list of five tasks costs beside many tasks of others, against one."""
    groups = []
    for store, title in (('sqlite', 'sqlite'), ('Redis', 'ext:redis')):
        name = f'list of 5 tasks on {store}, '
        found = {row['figure'].removeprefix(name): row['ratio'] for row in rows if row['figure'].startswith(name)}
        bars = [Bar(f'beside {others}', ratio, f'{ratio:.2f}', True) for others, ratio in found.items()]
        groups.append(Group(title, [Bar('beside 1', 1, '1', False), *bars] if bars else []))
    return _drawn('Time to list the five tasks of a user, by the number of tasks of others, beside one as 1', groups)


def _loop(rows: list[Row]) -> str | None:
    """Draw what a loop pays for its progress."""
    groups = [
        Group(
            'A loop over an iterable: added to each iteration',
            [
                *_bar(rows, 'what task.track() adds to an iteration', 'what tqdm adds', 'task.track(rows)'),
                *_bar(rows, 'what task.track() adds to an iteration', 'what tqdm adds', 'tqdm(rows)', 'theirs'),
            ],
        ),
        Group(
            'A step that is counted by hand',
            [
                *_bar(rows, 'task.advance()', 'tqdm.update()', 'task.advance()'),
                *_bar(rows, 'task.advance()', 'tqdm.update()', 'bar.update() of tqdm', 'theirs'),
            ],
        ),
    ]
    return _drawn('Time that a loop pays for its progress, beside tqdm', groups)


def _push(rows: list[Row]) -> str | None:
    """Draw what push costs beside polling."""
    groups = []
    for row in rows:
        if row['figure'].startswith(_PUSH) and 'poll' in row['against']:
            bars = [
                Bar(row['figure'].removeprefix(_PUSH), row['ours'], _amount(row['ours'], row['unit']), True),
                Bar(row['against'], row['theirs'], _amount(row['theirs'], row['unit']), False),
            ]
            groups.append(Group('', bars))
    return _drawn('Push beside polling', groups)


def _drawn(title: str, groups: list[Group], *, is_logarithmic: bool = False) -> str | None:
    groups = [group for group in groups if group.bars]
    return chart(title, groups, is_logarithmic=is_logarithmic) if groups else None


PLOTS: dict[str, Callable[[list[Row]], str | None]] = {
    'update': _update,
    'list': _list,
    'loop': _loop,
    'push': _push,
}


class FigureRole(SphinxRole):
    """``{ratio}`figure | against` `` and ``{ours}`figure | against` ``: that of a figure, as text."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        self.env.note_dependency(str(RESULTS))
        figure, against = ' '.join(self.text.split()).split(' | ')
        for row in figures():
            if (row['figure'], row['against']) == (figure, against):
                text = f'{row["ratio"]:.2g}' if self.name == 'ratio' else _amount(row['ours'], row['unit'])
                return [nodes.Text(text)], []
        return [], [self.inliner.reporter.error(f'there is no figure {self.text!r}', line=self.lineno)]


def setup(app: Any) -> dict[str, bool]:
    """Add the directives and the roles."""
    app.add_role('ratio', FigureRole())
    app.add_role('ours', FigureRole())
    app.add_directive('benchmarks', BenchmarksDirective)
    app.add_directive('plot', PlotDirective)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
