"""The folder ``static`` as an npm package: packed, installed in a new folder, type-checked and bundled."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.environments import ROOT

from pyramid_progress.version import __version__

STATIC = ROOT / 'static'
TOOLS = ROOT / 'node_modules' / '.bin'

MAIN = """
import 'pyramid-progress';
import 'pyramid-progress/form.js';
import { type PyramidProgressElement } from 'pyramid-progress';
import { percentage, poll } from 'pyramid-progress/poller.js';
import type { Status } from 'pyramid-progress/types.js';

const stop: () => void = poll('/progress_status', 'a', (status, state, estimate) => {
    const tags: string[] | null | undefined = status.tags;
    const started: string | undefined = status.started;
    const left: number | undefined = estimate?.left;
    console.log(state.length, tags, started, left, percentage(status));
}, { min: 500 });

const bar: PyramidProgressElement | null = document.querySelector('pyramid-progress');
bar?.restart();
bar?.addEventListener('progress:finished', (event) => show(event.detail));
document.addEventListener('progress:update', ({ detail }) => show(detail));
function show(status: Status) { console.log(status.label); stop(); }

// @ts-expect-error: an id is a string
poll('/progress_status', 1, () => {});
// @ts-expect-error: there is no such state
if (bar?.state === 'done') stop();
"""

#: As a page imports a module of the server: by its path, without a package.
BY_PATH = """
import { poll } from './node_modules/pyramid-progress/poller.js';
const stop: () => void = poll('/progress_status', 'a', (status) => console.log(status.tags?.length, status.started));
stop();
"""

OPTIONS = ['--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--types', '', '--noEmit']


def run(*command, cwd):
    """Run a program, which must succeed, and return its output."""
    result = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def tool(name):
    """Return the path of a program of the repository's npm packages."""
    path = TOOLS / name
    if not path.exists():
        sentence = f'{name} is missing: run `npm install`'
        if os.environ.get('CI') == 'true':
            pytest.fail(sentence)
        pytest.skip(sentence)
    return path


@pytest.fixture(scope='module')
def project(program, tmp_path_factory):
    """A folder in which the packed package is installed."""
    npm = program('npm')
    folder = tmp_path_factory.mktemp('npm')
    packed = json.loads(run(npm, 'pack', '--json', '--pack-destination', folder, cwd=STATIC))
    (tarball,) = packed.values() if isinstance(packed, dict) else packed
    project = folder / 'project'
    project.mkdir()
    project.joinpath('package.json').write_text('{"private": true, "type": "module"}')
    run(npm, 'install', '--offline', '--no-audit', '--no-fund', folder / tarball['filename'], cwd=project)
    return project


@pytest.mark.parametrize('path', ['static/package.json', 'docs/openapi.json'])
def test_the_versions_agree(path):
    content = json.loads(ROOT.joinpath(path).read_text())
    # 0.2.0.dev0 in Python is 0.2.0-dev.0 elsewhere.
    assert content.get('info', content)['version'].replace('-dev.', '.dev') == __version__


def test_what_is_exported_is_there():
    package = json.loads(STATIC.joinpath('package.json').read_text())
    targets = [package['types'], package['customElements']]
    for target in package['exports'].values():
        targets += target.values() if isinstance(target, dict) else [target]
    assert [target for target in targets if not STATIC.joinpath(target).is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    'resolution', [['--module', 'nodenext'], ['--module', 'es2022', '--moduleResolution', 'bundler']]
)
@pytest.mark.parametrize('source', [MAIN, BY_PATH], ids=['by name', 'by path'])
def test_it_is_typed_without_configuration(project, source, resolution):
    file = project / 'main.ts'
    file.write_text(source)
    run(tool('tsc'), *OPTIONS, *resolution, '--ignoreConfig', file, cwd=project)


@pytest.mark.slow
def test_it_is_bundled(project):
    esbuild = tool('esbuild')
    project.joinpath('main.ts').write_text(MAIN)
    project.joinpath('main.css').write_text("@import 'pyramid-progress/progress.css';\n")
    options = ['--bundle', '--minify', '--splitting', '--format=esm', '--outdir=out', '--log-level=warning']
    assert run(esbuild, 'main.ts', 'main.css', *options, cwd=project) == ''
    written = {path.name: path.read_text() for path in Path(project, 'out').iterdir()}
    assert 'pyramid-progress' in written['main.js']
    assert '--pp-color' in written['main.css']
    # What is loaded on demand stays so.
    assert [name for name, text in written.items() if 'location.reload' in text and name != 'main.js']
