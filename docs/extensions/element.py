"""The directive ``element``: what ``static/`` says of ``<pyramid-progress>``.

The argument ``attributes``, ``members``, ``events`` or ``cssProperties`` gives a table of the custom-elements manifest;
``states`` gives the states of ``types.d.ts``, and ``sizes`` the files that pages load.
"""

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from generated import MarkdownDirective, table

STATIC = Path(__file__).parents[2] / 'static'


class ElementDirective(MarkdownDirective):
    """``{element} subject``."""

    required_arguments = 1

    def markdown(self) -> Iterable[str]:
        for path in STATIC.iterdir():
            self.env.note_dependency(path)
        subject = self.arguments[0]
        if subject == 'states':
            return table(['state', 'meaning'], states())
        if subject == 'sizes':
            return table(['when', 'file', 'bytes'], sizes())
        items = declaration().get(subject)
        if items is None:
            raise ValueError(f'the manifest has no {subject}')
        return table(['name', 'type', 'default', 'meaning'], map(_row, items))


def declaration() -> dict[str, Any]:
    """Return the declaration of the element in the manifest."""
    (module,) = json.loads(STATIC.joinpath('custom-elements.json').read_text('utf-8'))['modules']
    (element,) = module['declarations']
    return dict(element)


def _row(item: dict[str, Any]) -> list[str]:
    name = item['name'] + ('()' if item.get('kind') == 'method' else '')
    type_ = item.get('type', item.get('return', {}).get('type', {})).get('text')
    cells = [name, type_, item.get('default')]
    meaning = item['description']
    if 'attribute' in item:
        meaning = f'The attribute `{item["attribute"]}`.'
    elif item.get('readonly'):
        meaning += ' Read-only.'
    return [*(f'`{cell}`' if cell else '' for cell in cells), meaning]


def states() -> list[list[str]]:
    """Return the states, each with its comment."""
    types = STATIC.joinpath('types.d.ts').read_text('utf-8')
    (body,) = re.findall(r'export type State =(.*?);\n', types, re.DOTALL)
    found = re.findall(r"(?:/\*\* (.*?) \*/\s*)?\| '([\w-]+)'", body)
    return [[f'`{name}`', comment] for comment, name in found]


def sizes() -> list[list[str]]:
    """Return the scripts and style sheets, with their sizes as gzip compresses them."""
    always = _imported('progress.js')
    when = dict.fromkeys(_names('.js'), 'on demand') | dict.fromkeys(always, 'every page with a bar')
    when |= {'progress.css': 'every page with a bar', 'tasks.css': 'on demand'}
    files = sorted(when, key=lambda name: (when[name] == 'on demand', not name.startswith('progress'), name))
    return [[when[name], f'`{name}`', f'{compressed_size(name):,}'] for name in files]


def compressed_size(name: str) -> int:
    """Return how many bytes a file has, compressed with gzip."""
    return len(gzip.compress(STATIC.joinpath(name).read_bytes(), 9))


def _names(suffix: str) -> list[str]:
    return [path.name for path in STATIC.iterdir() if path.suffix == suffix]


def _imported(name: str) -> set[str]:
    """Return the modules that are loaded with one, and that one."""
    script = STATIC.joinpath(name).read_text('utf-8')
    names = re.findall(r"^import .*?'\./([\w-]+\.js)';", script, re.MULTILINE)
    return {name}.union(*map(_imported, names))


def setup(app: Any) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive('element', ElementDirective)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
