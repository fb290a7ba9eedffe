"""The documentation, built as ``make docs`` does it, in an environment with the extra ``docs`` alone."""

import re

import pytest
from support.environments import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope='module')
def site(make_environment, tmp_path_factory):
    """The folder of the pages."""
    folder = tmp_path_factory.mktemp('docs') / 'site'
    environment = make_environment('docs')
    options = ['--quiet', '--fail-on-warning', '--keep-going', '--doctree-dir', folder.with_name('doctrees')]
    environment.run(environment.bin / 'sphinx-build', *options, ROOT / 'docs', folder, timeout=300)
    return folder


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob('*.html'))
    assert len(pages) > 20
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]*? src="(?:https?:)?//|<link[^>]*? rel="stylesheet"[^>]*? href="(?:https?:)?//'
    )
    assert [page.name for page in pages if loaded.search(page.read_text('utf-8'))] == []


def test_generated_parts_have_content(site):
    text = {
        name: site.joinpath(f'{name}.html').read_text('utf-8')
        for name in ('reference/element', 'reference/commands', 'design/capacity')
    }
    assert '--pp-color' in text['reference/element']
    assert 'usage: pprogress' in text['reference/commands']
    assert text['design/capacity'].count('<svg class="plot"') == 3
    assert (site / 'openapi.json').is_file()
