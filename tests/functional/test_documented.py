"""The example of README.md."""

import re
from pathlib import Path

import pytest
from pyramid.httpexceptions import HTTPSeeOther

from pyramid_progress import testing

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
