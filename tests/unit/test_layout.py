"""The layout: imports between the parts of the package point in one direction."""

import ast
from pathlib import Path

import pytest

import pyramid_progress

PACKAGE = Path(pyramid_progress.__file__).parent

#: Every part of the package, with the parts that it may import: none of those above it, and not itself if it is a
#: module.
LAYERS = {
    'version': (),
    'system': (),
    'model': (),
    'beaker_sqlite': ('system',),
    'storage': ('beaker_sqlite', 'model', 'system'),
    'runtime': ('storage', 'beaker_sqlite', 'model', 'system'),
    'statuses': ('runtime', 'storage', 'model'),
    'queries': ('runtime', 'storage', 'model'),
    'work': ('queries', 'statuses', 'runtime', 'storage', 'model', 'system'),
    'web': ('work', 'queries', 'statuses', 'runtime', 'storage', 'model', 'system'),
    'progress': ('web', 'queries', 'statuses'),
    'configuration': ('web', 'work', 'runtime', 'model', 'system', 'version'),
    '__init__': ('configuration', 'progress', 'runtime', 'storage', 'version', 'work'),
    'celery': ('web', 'work', 'queries', 'statuses', 'runtime', 'storage', 'model', 'system'),
    'asgi': ('web', 'runtime', 'storage'),
    'tqdm': ('work',),
    'toolbar': ('web', 'queries', 'runtime', 'storage', 'model'),
    'testing': ('web', 'work', 'queries', 'statuses', 'runtime', 'storage', 'model', 'system', '__init__'),
    'scripts': ('asgi', 'queries', 'statuses', 'runtime', 'storage', 'model'),
    'demo': ('__init__', 'celery', 'model', 'web'),
}

MODULES = sorted(
    path for path in PACKAGE.rglob('*.py') if not {'static', 'locale'} & set(path.relative_to(PACKAGE).parts)
)


def name_of(path):
    """Return the dotted name of a module inside the package; that of a package ends with '__init__'."""
    return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)


NAMES = {name_of(path) for path in MODULES}


def imports_of(path):
    """Yield the modules of the package, and the top-level names of others, that a module imports anywhere."""
    parts = name_of(path).split('.')
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from resolve(alias.name.split('.'), [])
        elif isinstance(node, ast.ImportFrom):
            base = ['pyramid_progress', *parts[: len(parts) - node.level]] if node.level else []
            base += node.module.split('.') if node.module else []
            yield from resolve(base, [alias.name for alias in node.names])


def resolve(base, names):
    if base[0] != 'pyramid_progress':
        yield f'{base[0]} (external)'
        return
    inner = '.'.join(base[1:])
    for name in names or ['']:
        for candidate in (f'{inner}.{name}.__init__', f'{inner}.{name}', f'{inner}.__init__', inner, '__init__'):
            if candidate.strip('.') in NAMES:
                yield candidate.strip('.')
                break


def part_of(name):
    return name.split('.')[0]


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_a_module_imports_only_parts_below_its_own(path):
    part = part_of(name_of(path))
    imported = {name for name in imports_of(path) if not name.endswith('(external)')}
    others = {part_of(name) for name in imported} - {part}
    assert others <= set(LAYERS[part]), f'{name_of(path)} imports {sorted(others - set(LAYERS[part]))}'


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_models_and_drivers_know_nothing_of_pyramid(path):
    if part_of(name_of(path)) in ('system', 'model', 'beaker_sqlite', 'storage'):
        external = {name for name in imports_of(path) if name.endswith('(external)')}
        assert not external & {'pyramid (external)', 'webob (external)', 'pyramid_beaker (external)'}


def test_only_the_contract_of_drivers_needs_pytest():
    users = {name_of(path) for path in MODULES if 'pytest (external)' in imports_of(path)}
    assert 'testing.storage.__init__' in users
    assert all(name.startswith('testing.storage.') for name in users)


def test_no_modules_import_each_other_in_a_circle():
    graph = {name_of(path): set(imports_of(path)) & NAMES for path in MODULES}
    while leaves := [name for name, imported in graph.items() if not imported - {name}]:
        for leaf in leaves:
            del graph[leaf]
        graph = {name: imported - set(leaves) for name, imported in graph.items()}
    assert not graph


def test_every_part_of_the_layout_is_there():
    assert {part_of(name) for name in NAMES} - set(LAYERS) == set()
