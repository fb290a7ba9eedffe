"""The reference describes everything that is public, and each thing once."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

import pyramid_progress
from pyramid_progress.model.settings import Settings
from pyramid_progress.web.request import Progress

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / 'docs' / 'reference'

#: Defaults that the page describes in words: what None stands for.
IN_WORDS = {
    'linger': "as long as any other status; one hour on Beaker's own types",
    'permission': 'none',
    'operator_permission': 'none',
    'events_url': 'none',
    'events_origins': 'none',
}


def read(name):
    return REFERENCE.joinpath(name).read_text('utf-8')


@pytest.fixture(scope='module')
def settings():
    """The defaults on the page, by the name of the setting without its prefix."""
    return dict(re.findall(r'^### `progress\.(\w+)`\n\n\*.* · default: (.*)\*$', read('settings.md'), re.MULTILINE))


def test_the_page_has_each_setting_once(settings):
    names = re.findall(r'^### `progress\.(\w+)`', read('settings.md'), re.MULTILINE)
    assert sorted(names) == sorted(field.name for field in fields(Settings))
    assert set(names) == settings.keys(), 'a setting has no line with its type and default'


@pytest.mark.parametrize('field', fields(Settings), ids=lambda field: field.name)
def test_the_page_has_the_default(settings, field):
    described = settings[field.name]
    if field.name in IN_WORDS:
        assert described == IN_WORDS[field.name]
    else:
        assert Settings.parse({f'progress.{field.name}': described.strip('`')}) == Settings()


def test_no_other_page_has_a_table_of_settings():
    pages = [path for path in [ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')] if path.parent != REFERENCE]
    rows = re.compile(r'^(?:\| `progress\.\w+`.*\n){2}', re.MULTILINE)
    assert [path.name for path in pages if rows.search(path.read_text('utf-8'))] == []


def test_every_public_name_is_described():
    page = read('python.md')
    described = set(re.findall(r'^ *\.\. auto\w+:: (?:pyramid_progress\.)?(\w+)(?:\(\))?$', page, re.MULTILINE))
    assert set(pyramid_progress.__all__) - {'__version__'} <= described


def test_every_method_that_pages_and_views_call_is_described():
    (section,) = re.findall(r'## `request\.progress`(.*?)\n## ', read('python.md'), re.DOTALL)
    described = set(re.findall(r'auto(?:method|attribute):: (\w+)', section))
    assert {'start', 'submit', 'assets', 'bar', 'form', 'tasks', 'macros', 'preload'} == described
    assert all(hasattr(Progress, name) for name in described)


def test_every_request_and_value_is_described():
    description = json.loads(ROOT.joinpath('docs', 'openapi.json').read_text())
    page = read('http.md')
    requests = set(re.findall(r'^```\{openapi\} (\w+) (\S+)$', page, re.MULTILINE))
    # HEAD is as GET, without a body.
    methods = {(method, path) for path, item in description['paths'].items() for method in item if method != 'head'}
    assert requests == methods
    values = set(re.findall(r'^```\{openapi-schema\} (\w+)$', page, re.MULTILINE))
    objects = {name for name, schema in description['components']['schemas'].items() if 'properties' in schema}
    assert values == objects - {'Unknown'}


def test_every_command_is_described():
    setup = ROOT.joinpath('setup.py').read_text('utf-8')
    commands = dict(re.findall(r"'([\w-]+) = (pyramid_progress[\w.]+):main'", setup))
    page = read('commands.md')
    assert dict(re.findall(r'^## `([\w-]+)`.*?^```\{command\} (\S+)$', page, re.MULTILINE | re.DOTALL)) == commands
