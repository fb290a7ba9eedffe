"""What the widget's files weigh, as a server sends them with gzip (RFC 1952), and what they say of themselves."""

import gzip
import json
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / 'static'

#: What a page with a bar loads; the parts for forms, and for the page of tasks, come where there is such a thing.
SCRIPT = ('poller.js', 'progress.js')

KB = 1024


def weight(*texts):
    return sum(len(gzip.compress(text.encode(), 9)) for text in texts)


def read(*names):
    return [STATIC.joinpath(name).read_text('utf-8') for name in names]


def without_comments(script):
    script = re.sub(r'/\*.*?\*/', '', script, flags=re.DOTALL)
    script = re.sub(r'(^|\s)//.*$', '', script, flags=re.MULTILINE)
    return re.sub(r'\n\s*\n', '\n', script)


def test_script():
    scripts = read(*SCRIPT)
    assert weight(*scripts) <= 8 * KB
    assert weight(*map(without_comments, scripts)) <= 6 * KB


def test_style():
    assert weight(*read('progress.css')) <= 2 * KB


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
    observed = re.search(r'observedAttributes = \[(.*?)\]', script)[1]
    assert {item['name'] for item in element['attributes'] if 'fieldName' in item} == set(
        re.findall(r"'(.*?)'", observed)
    )
    assert names(element['members']) == set(re.findall(r'^  get (\w+)\(\)', script, re.MULTILINE))
    settable = {item['name'] for item in element['members'] if not item.get('readonly')}
    assert settable == set(re.findall(r'^  set (\w+)\(', script, re.MULTILINE))
