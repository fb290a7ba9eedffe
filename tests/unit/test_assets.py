"""The size of the widget's files, compressed with gzip (RFC 1952), and their agreement with the manifest and types."""

import gzip
import json
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / 'static'

#: The modules that every page with a bar loads.
SCRIPT = ('progress.js', 'poller.js', 'format.js')

#: The modules that are loaded by the pages that need them.
ON_DEMAND = ('cancel.js', 'form.js', 'pace.js', 'stream.js', 'tasks.js', 'when-finished.js')

KIB = 1024


def compressed_size(*texts):
    return sum(len(gzip.compress(text.encode(), 9)) for text in texts)


def read(*names):
    return [STATIC.joinpath(name).read_text('utf-8') for name in names]


def without_comments(script):
    script = re.sub(r'/\*.*?\*/', '', script, flags=re.DOTALL)
    script = re.sub(r'(^|\s)//.*$', '', script, flags=re.MULTILINE)
    return re.sub(r'\n\s*\n', '\n', script)


def imports(name):
    """Return the names of the modules that a module imports, at its start or on demand. Comments import types only."""
    (script,) = map(without_comments, read(name))
    return set(re.findall(r"""(?:from|import)\s*\(?'\./([\w-]+\.js)'""", script))


def test_every_module_has_a_limit():
    assert {path.name for path in STATIC.glob('*.js')} == {*SCRIPT, *ON_DEMAND}


def test_what_a_page_with_a_bar_loads_is_small():
    scripts = read(*SCRIPT)
    assert compressed_size(*scripts) <= 10 * KIB
    assert compressed_size(*map(without_comments, scripts)) <= 8 * KIB


@pytest.mark.parametrize('name', ON_DEMAND)
def test_a_module_that_is_loaded_on_demand_is_small(name):
    assert compressed_size(*read(name)) <= 3 * KIB


def test_the_style_sheet_is_small():
    assert compressed_size(*read('progress.css')) <= 2 * KIB


def test_modules_do_not_import_in_a_circle():
    graph = {name: imports(name) for name in (*SCRIPT, *ON_DEMAND)}
    assert graph['progress.js'] == {'poller.js', 'format.js', 'pace.js', 'cancel.js', 'form.js', 'when-finished.js'}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.fixture
def element():
    """The declaration in the custom-elements manifest."""
    (module,) = json.loads(*read('custom-elements.json'))['modules']
    (element,) = module['declarations']
    return element


def names(items):
    return {item['name'] for item in items}


def test_the_manifest_has_the_custom_properties_of_the_style_sheet(element):
    (style,) = read('progress.css')
    first = style[: style.index('}')]
    assert {(item['name'], item['default']) for item in element['cssProperties']} == set(
        re.findall(r'(--pp-[\w-]+): (.+);', first)
    )


def test_the_manifest_has_what_the_types_have(element):
    (types,) = read('types.d.ts')
    attributes = re.search(r'interface Attributes \{(.*?)\n\}', types, re.DOTALL)[1]
    written = {name.strip("'") for name in re.findall(r"^  ('?[\w-]+'?)\??:", attributes, re.MULTILINE)}
    assert {item['name'] for item in element['attributes'] if 'fieldName' in item} == written
    assert names(element['events']) == set(re.findall(r"'(progress:\w+)'", types))


def test_the_manifest_has_what_the_element_has(element):
    (script,) = read('progress.js')
    observed = re.search(r'observedAttributes = \[(.*?)\]', script, re.DOTALL)[1]
    # The element observes the status, which other scripts may write, and reads when-finished only at the end.
    watched = set(re.findall(r"'(.*?)'", observed)) - {'status'} | {'when-finished'}
    assert {item['name'] for item in element['attributes'] if 'fieldName' in item} == watched
    fields = [item for item in element['members'] if item['kind'] == 'field']
    assert names(fields) == set(re.findall(r'^  get (\w+)\(\)', script, re.MULTILINE))
    settable = {item['name'] for item in fields if not item.get('readonly')}
    assert settable == set(re.findall(r'^  set (\w+)\(', script, re.MULTILINE))
    methods = [item for item in element['members'] if item['kind'] == 'method']
    assert names(methods) == {'restart'} <= set(re.findall(r'^  (\w+)\(\) \{', script, re.MULTILINE))
