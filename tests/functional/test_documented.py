"""The examples of README.md."""

import configparser
import re
from pathlib import Path

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from webtest import TestApp

from pyramid_progress import init_progress_status, testing

README = Path(__file__).parents[2] / 'README.md'

ROWS = [{'name': 'Ada'}, {'name': 'Grace'}]


@pytest.mark.parametrize('threads', ['0', '2'])
def test_the_example_of_the_readme(make_app, threads):
    (code,) = re.findall(r'```python\n(def import_customers.*?)```', README.read_text(), re.DOTALL)
    loaded = []
    views = []
    names = {
        'HTTPSeeOther': HTTPSeeOther,
        'load': loaded.append,
        'read_rows': lambda request: ROWS,
        'view_config': lambda **options: lambda view: views.append((view, options)),
    }
    exec(code, names)  # noqa: S102
    ((view, options),) = views

    def configure(config):
        config.add_route('import', '/import')
        config.add_route('wait', '/wait/{progress_id}')
        config.add_view(view, **options)

    app = make_app(configure, **{'progress.threads': threads})
    answer = app.post('/import', status=303)
    status = testing.wait_for(answer.location.removeprefix('http://localhost/wait/'))
    assert (status['label'], status['current'], status['length']) == ('Importing customers', 2, 2)
    assert loaded == ROWS


def test_the_lines_of_configuration_and_template_show_a_bar(tmp_path):
    text = README.read_text()
    blocks = {
        language: re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL)[0] for language in ('ini', 'python', 'html')
    }
    parser = configparser.ConfigParser({'here': str(tmp_path)})
    parser.read_string(f'[app:main]\n{blocks["ini"]}')
    template = tmp_path / 'page.pt'
    template.write_text(f'<html xmlns:metal="http://xml.zope.org/namespaces/metal">{blocks["html"]}</html>')
    with testing.isolated(), Configurator(package='pyramid_progress', settings=dict(parser['app:main'])) as config:
        exec(blocks['python'], {'config': config})  # noqa: S102
        config.add_route('page', '/')
        config.add_view(lambda request: {'progress_id': 'a'}, route_name='page', renderer=str(template))
        app = TestApp(config.make_wsgi_app())
        init_progress_status('a', None, 'Importing customers', length=100, current=42)
        page = app.get('/').html
    assert page.head.select_one('script[type=module]')
    assert page.select_one('pyramid-progress progress')['value'] == '42'
    assert page.select_one('.pp-label').text == 'Importing customers'
