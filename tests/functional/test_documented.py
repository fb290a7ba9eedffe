"""The examples of README.md and docs/submit.md, whose views are the same but for their arguments."""

import re
import textwrap
from pathlib import Path

import pytest
from pyramid.httpexceptions import HTTPSeeOther
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Mapped, Session, mapped_column
from support.shop import Base, Customer, Shop

import pyramid_progress
from pyramid_progress import testing

ROOT = Path(__file__).parents[2]

FILE = [('file', 'customers.csv', b'mary\njohn\n')]


class Upload(Base):
    __tablename__ = 'upload'
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[bytes]

    @property
    def rows(self):
        return [{'name': line} for line in self.content.decode().splitlines()]


@pytest.fixture(params=['README.md', 'docs/submit.md'])
def example(request):
    """The example's code."""
    (code,) = re.findall(r'```python\n(def import_customers.*?)```', (ROOT / request.param).read_text(), re.DOTALL)
    return code


@pytest.mark.parametrize('threads', ['0', '2'])
def test_example(example, make_app, tmp_path, threads):
    loaded = []
    views = []
    names = {
        'Customer': Customer,
        'HTTPSeeOther': HTTPSeeOther,
        'Upload': Upload,
        'load': loaded.append,
        'pyramid_progress': pyramid_progress,
        'read_rows': lambda request: Upload(content=request.POST['file'].file.read()).rows,
        'view_config': lambda **options: lambda view: views.append((view, options)),
    }
    exec(example, names)  # noqa: S102
    ((view, options),) = views
    assert options == {'route_name': 'import', 'request_method': 'POST'}

    def make_app_with_routes(configure, **settings):
        def configure_all(config):
            configure(config)
            config.add_route('wait', '/wait/{progress_id}')
            config.add_route('customers', '/list')

        return make_app(configure_all, **settings)

    shop = Shop(make_app_with_routes, tmp_path, {'progress.threads': threads})
    shop.view = view
    answer = shop.app.post('/work', upload_files=FILE, status=303)
    status = testing.wait_for(answer.location.removeprefix('http://localhost/wait/'))
    assert (status['label'], status['current'], status['length']) == ('Importing customers', 2, 2)
    if loaded:
        assert [row['name'] for row in loaded] == ['mary', 'john']
    else:
        assert status['result'] == {'url': '/list', 'text': 'The customers'}
        with Session(create_engine(f'sqlite:///{tmp_path}/shop.db')) as dbsession:
            assert sorted(dbsession.scalars(select(Customer.name))) == ['john', 'mary']


def test_the_fixture_is_that_of_the_example():
    document = (ROOT / 'docs' / 'testing.md').read_text()
    (fixture,) = re.findall(r'  def dbsession.*?(?=\n *```)', document, re.DOTALL)
    code = (ROOT / 'examples' / 'sqlalchemy' / 'tests' / 'conftest.py').read_text()
    definition, _, body = textwrap.dedent(fixture).partition('\n')
    assert definition in code
    assert f'"""\n{body}\n' in code


def test_the_views_are_the_same_but_for_their_arguments():
    ends = {
        re.findall(r'( *progress_id = .*?)```', re.sub(r'import_customers, .*?, label', '…', text), re.DOTALL)[0]
        for text in ((ROOT / name).read_text() for name in ('README.md', 'docs/submit.md'))
    }
    assert len(ends) == 1
