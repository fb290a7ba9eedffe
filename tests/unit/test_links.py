"""The files at the root of the repository: their links, and the picture of README.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILES = ['README.md', 'CHANGES.md', 'CONTRIBUTING.md', 'RELEASING.md']


def slugs(path):
    """Return the anchors of the headings of a page."""
    headings = re.findall(r'^#+ (.*)$', path.read_text('utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('name', FILES)
def test_links_lead_to_files_and_headings(name):
    broken = []
    for target in re.findall(r'\]\(([^)\s]+)\)', ROOT.joinpath(name).read_text('utf-8')):
        if re.match(r'https?:', target):
            continue
        path, _, anchor = target.partition('#')
        file = ROOT / path if path else ROOT / name
        if not file.is_file() or (anchor and anchor not in slugs(file)):
            broken.append(target)
    assert broken == []


def test_the_animation_of_the_readme_is_small():
    (name,) = re.findall(r'!\[.*?\]\((\S+\.gif)\)', ROOT.joinpath('README.md').read_text('utf-8'))
    content = ROOT.joinpath(name).read_bytes()
    assert len(content) < 500_000
    assert content.count(b'\x21\xf9\x04') > 10, 'it has few frames'
