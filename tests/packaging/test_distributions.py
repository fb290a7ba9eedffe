"""Each way to install or to copy the package has all that an application needs."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from support.environments import ROOT, Environment, build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

APPLICATION = Path(__file__).with_name('application.py')

KINDS = {'.css': 'text/css', '.js': 'text/javascript'}


@pytest.fixture(scope='module')
def dependencies(make_environment):
    """The directory with the packages that the package needs, and an installed wheel of it."""
    return make_environment().site_packages


@pytest.fixture
def environment(dependencies, tmp_path):
    """An environment with all that the package needs, without the package and its metadata."""
    environment = Environment(tmp_path / 'environment')
    shutil.copytree(
        dependencies,
        environment.site_packages,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns('pyramid_progress*', '__pycache__'),
    )
    return environment


def check_application(environment, directory, package, **variables):
    """Run the application, and compare the files that it serves with those of the checkout."""
    directory.mkdir()
    files = [path for path in (ROOT / 'static').iterdir() if path.suffix in KINDS]
    names = [path.name for path in files]
    output = environment.run(environment.python, APPLICATION, *names, cwd=directory, env=variables)
    result = json.loads(output)
    assert Path(result.pop('package')).parent == package
    assert result == {
        'label': True,
        'german': True,
        'files': {path.name: [KINDS[path.suffix], hashlib.sha256(path.read_bytes()).hexdigest()] for path in files},
    }


def test_the_wheel_works(make_environment, tmp_path):
    environment = make_environment()
    check_application(environment, tmp_path / 'run', environment.site_packages / 'pyramid_progress')


def test_the_wheel_of_a_checkout_without_symbolic_links_works(checkout, environment, tmp_path):
    _, wheel = build(checkout, tmp_path)
    environment.pip('install', '--no-deps', wheel)
    check_application(environment, tmp_path / 'run', environment.site_packages / 'pyramid_progress')


def test_an_editable_installation_of_a_checkout_without_symbolic_links_works(checkout, environment, tmp_path):
    environment.pip('install', '--no-deps', '--editable', checkout)
    check_application(environment, tmp_path / 'run', checkout / 'pyramid_progress')


def test_a_checkout_without_symbolic_links_works_without_installation(checkout, environment, tmp_path):
    check_application(environment, tmp_path / 'run', checkout / 'pyramid_progress', PYTHONPATH=str(checkout))


def test_a_copy_of_an_installed_package_works_without_metadata(make_environment, environment, tmp_path):
    installed = make_environment().site_packages / 'pyramid_progress'
    copy = shutil.copytree(installed, tmp_path / 'vendor/pyramid_progress')
    check_application(environment, tmp_path / 'run', copy, PYTHONPATH=str(copy.parent))


def test_an_application_overrides_a_file_of_a_checkout_without_symbolic_links(checkout, environment, tmp_path):
    (tmp_path / 'own.css').write_text('progress { color: red }')
    script = """
from pyramid.config import Configurator
from pyramid.request import Request
with Configurator(settings={'cache.regions': 'default, persistent', 'cache.type': 'memory'}) as config:
    config.include('pyramid_progress')
    config.override_asset('pyramid_progress:static/progress.css', %r)
app = config.make_wsgi_app()
request = Request.blank('/')
request.registry = app.registry
url = request.static_path('pyramid_progress:static/progress.css')
print(Request.blank(url).get_response(app).text)
"""
    output = environment.run(
        environment.python, '-c', script % str(tmp_path / 'own.css'), env={'PYTHONPATH': str(checkout)}
    )
    assert output == 'progress { color: red }\n'


def test_the_sdist_has_the_sources_and_the_tests(distributions):
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        names = {name.split('/', 1)[1] for name in archive.getnames() if '/' in name}
    assert {
        'static/progress.js',
        'pyramid_progress/py.typed',
        'pyramid_progress/web/templates/bar.pt',
        'tests/unit/test_docs.py',
        'LICENSE',
        'CHANGES.md',
        'docs/reference/life.rst',
    } <= names
