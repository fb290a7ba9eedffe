"""The message catalogues contain all messages of the add-on, in each language."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

import pyramid_progress

PACKAGE = Path(pyramid_progress.__file__).parent
LOCALE = PACKAGE / 'locale'
LANGUAGES = ['ar', 'de', 'en', 'es', 'fr', 'it', 'ja', 'pt_BR']


def messages(file):
    """Return a catalogue's messages by id, without its header."""
    with file.open('rb') as stream:
        catalogue = read_mo(stream) if file.suffix == '.mo' else read_po(stream)
    return {message.id: message for message in catalogue if message.id}


def placeholders(text):
    return sorted(re.findall(r'\$\{\w+\}', text))


@pytest.fixture(scope='module')
def template():
    """Messages by id, each with its English words."""
    found = messages(LOCALE / 'pyramid_progress.pot')
    return {name: message.auto_comments[0].removeprefix('Default: ') for name, message in found.items()}


def test_the_template_has_the_words_of_the_code(tmp_path, template):
    fresh = tmp_path / 'fresh.pot'
    command = [Path(sys.executable).with_name('pot-create'), '--output', fresh, PACKAGE]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    words = {name: message.auto_comments[0] for name, message in messages(fresh).items()}
    assert words == {name: f'Default: {text}' for name, text in template.items()}, 'run `make messages`'


def test_the_languages():
    assert sorted(path.name for path in LOCALE.iterdir() if path.is_dir()) == LANGUAGES


@pytest.mark.parametrize('language', LANGUAGES)
def test_a_catalogue_is_whole(template, language):
    found = messages(LOCALE / language / 'LC_MESSAGES' / 'pyramid_progress.po')
    assert set(found) == set(template)
    for name, message in found.items():
        assert message.string
        assert not message.fuzzy
        assert placeholders(message.string) == placeholders(template[name]), name
    if language == 'en':
        assert {name: message.string for name, message in found.items()} == template


@pytest.mark.parametrize('language', LANGUAGES)
def test_a_catalogue_is_compiled(language):
    source = LOCALE / language / 'LC_MESSAGES' / 'pyramid_progress.po'
    compiled = messages(source.with_suffix('.mo'))
    strings = {name: message.string for name, message in messages(source).items()}
    assert {name: message.string for name, message in compiled.items()} == strings, 'run `make messages`'
