"""docs/openapi.json describes the routes: each documented answer is given, and each answer is as documented."""

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pyramid.interfaces import IRoutesMapper

from pyramid_progress import init_progress_status, set_progress_status, start_task

DOCUMENT = json.loads((Path(__file__).parents[2] / 'docs' / 'openapi.json').read_text())

JSON = {'Accept': 'application/json'}
HTML = {'Accept': 'text/html'}
MARY = {'X-User': 'mary'}
SAME_ORIGIN = {'Sec-Fetch-Site': 'same-origin'}
POST = SAME_ORIGIN | MARY


def resolve(node):
    """Return a node of the document, whose reference is resolved."""
    while '$ref' in node:
        path = node['$ref'].removeprefix('#/').split('/')
        node = DOCUMENT
        for name in path:
            node = node[name]
    return node


def validate(value, schema):
    """Validate a value against a schema of the document."""
    # References begin at the root of the document.
    Draft202012Validator(schema | {'components': DOCUMENT['components']}).validate(value)


def check(answer, method, path):
    """Check an answer against the document."""
    documented = resolve(DOCUMENT['paths'][path][method.lower()]['responses'][str(answer.status_int)])
    for name, header in documented.get('headers', {}).items():
        header = resolve(header)
        assert name in answer.headers, name
        value = answer.headers[name]
        validate(int(value) if header['schema'].get('type') == 'integer' else value, header['schema'])
    if 'content' not in documented:
        assert not answer.body
    elif answer.content_type == 'application/json':
        validate(answer.json, documented['content']['application/json']['schema'])
    else:
        assert answer.content_type in documented['content']


def get(path, query, status, headers=JSON | MARY, method='GET'):
    return method, path, query, headers, status


def post(path, body, status, headers=POST):
    return 'POST', path, body, headers, status


CASES = [
    get('/progress_status', {'progress_id': 'running'}, 200),
    get('/progress_status', {'progress_id': ['running', 'bare', 'failed', 'finished', 'none']}, 200),
    *(
        get('/progress_status', {'progress_id': name}, 200)
        for name in ('bare', 'failed', 'finished', 'odd', 'parts', 'none')
    ),
    get('/progress_status', {}, 400),
    get('/progress_status', {'progress_id': 'x' * 256}, 400, HTML),
    # The tasks have ended, and so the streams do.
    get('/progress_events', {'progress_id': 'failed'}, 200),
    get('/progress_events', {'progress_id': ['failed', 'finished']}, 200, {'Accept': 'text/event-stream'} | MARY),
    get('/progress_events', {}, 400),
    get('/progress_tasks', {}, 200),
    get('/progress_tasks', {}, 200, JSON | {'X-User': 'root', 'X-Permissions': 'operate'}),
    get('/progress_tasks', {'tag': 'import', 'status': 'failed', 'before': '1.a'}, 200),
    get('/progress_tasks', {}, 200, HTML | MARY),
    get('/progress_tasks', {'tag': b'\xff'}, 400),
    *(
        get(path, {'progress_id': progress_id}, status, method='HEAD')
        for path, progress_id, status in (
            ('/progress_status', 'running', 200),
            ('/progress_status', '', 400),
            ('/progress_events', 'running', 200),
            ('/progress_events', '', 400),
            ('/progress_tasks', '', 200),
            ('/progress_tasks', b'\xff', 400),
        )
    ),
    post('/progress_cancel', {'progress_id': 'running'}, 200),
    post('/progress_remove', {'progress_id': 'failed'}, 200),
    post('/progress_cancel', 'progress_id=running', 303),
    post('/progress_remove', 'progress_id=failed', 303, POST | HTML),
    post('/progress_cancel', {'progress_id': 'failed'}, 409),
    post('/progress_remove', {'progress_id': 'running'}, 409),
    *(
        case
        for path in ('/progress_cancel', '/progress_remove')
        for case in (
            post(path, {}, 400),
            post(path, 'progress_id=', 400, POST | HTML),
            post(path, {'progress_id': 'running'}, 403, MARY),
            post(path, {'progress_id': 'none'}, 404),
        )
    ),
]

#: Each route, and how it is asked for where there is no permission, and where the store is down.
ASKED = [
    get('/progress_status', {'progress_id': 'a'}, None),
    get('/progress_status', {'progress_id': 'a'}, None, method='HEAD'),
    get('/progress_events', {'progress_id': 'a'}, None),
    get('/progress_events', {'progress_id': 'a'}, None, method='HEAD'),
    get('/progress_tasks', {}, None),
    get('/progress_tasks', {}, None, method='HEAD'),
    post('/progress_cancel', {'progress_id': 'a'}, None),
    post('/progress_remove', {'progress_id': 'a'}, None),
]


def name_of(case):
    return ' '.join(map(str, (case[0], case[1], case[2], case[4])))


def send(app, case):
    """Send the request of a case, and check the answer."""
    method, path, content, headers, status = case
    if method == 'POST' and isinstance(content, str):
        answer = app.post(path, content, headers=headers, status=status)
    elif method == 'POST':
        answer = app.post_json(path, content, headers=headers, status=status)
    else:
        query = urlencode(content, doseq=True)
        environ = {'wsgi.multithread': True}
        answer = app.request(f'{path}?{query}', method=method, headers=headers, status=status or '*', environ=environ)
    check(answer, method, path)
    return answer


@pytest.fixture
def app(make_app, with_policy):
    """An application with users, and tasks of mary in all kinds of statuses."""
    app = make_app(with_policy, **{'progress.operator_permission': 'operate', 'progress.streams': '1'})
    for name in ('failed', 'finished', 'odd'):
        init_progress_status(name, 'mary', 'Import', tags=['import'], length=10)
    set_progress_status('failed', 'failed', message='No good', current=4.5)
    set_progress_status('odd', 'digesting', message={'any': ['value']})
    set_progress_status('bare', current=1)
    start_task({'any': 'label'}, owner='mary', progress_id='finished').finish('Done', {'url': '/', 'text': 'Result'})
    with start_task('Parts', owner='mary', progress_id='parts') as divided:
        divided.parts(3)[1].start().finish()
    task = start_task('Import', owner='mary', progress_id='running')
    yield app
    task.finish()


def test_the_routes(make_app):
    routes = make_app().app.registry.getUtility(IRoutesMapper).get_routes()
    assert {f'/{route.path}' for route in routes if route.name.startswith('progress_')} == set(DOCUMENT['paths'])


def test_the_schemas():
    for schema in DOCUMENT['components']['schemas'].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize('case', CASES, ids=name_of)
def test_an_answer(app, case):
    send(app, case)


@pytest.mark.parametrize('case', ASKED, ids=name_of)
def test_without_permission(make_app, with_policy, case):
    app = make_app(with_policy, **{'progress.permission': 'watch', 'progress.streams': '1'})
    assert send(app, (*case[:4], '*')).status_int == 403


@pytest.mark.parametrize('case', ASKED, ids=name_of)
def test_a_store_that_is_down(make_app, with_policy, tmp_path, case):
    settings = {'cache.type': 'file', 'cache.data_dir': str(tmp_path), 'progress.streams': '1'}
    app = make_app(with_policy, **settings)
    init_progress_status('a', 'mary', 'Import')
    for path in tmp_path.rglob('*.cache'):
        path.write_bytes(b'no pickle')
    assert send(app, (*case[:4], '*')).status_int == 503


WITHOUT_STREAMS = [
    get('/progress_events', {'progress_id': 'a'}, 404),
    get('/progress_events', {'progress_id': 'a'}, 404, method='HEAD'),
]


@pytest.mark.parametrize('case', WITHOUT_STREAMS, ids=name_of)
def test_without_streams(make_app, case):
    send(make_app(), case)


def test_each_documented_answer_is_given():
    given_answers = {(case[0].lower(), case[1], str(case[4])) for case in CASES + WITHOUT_STREAMS}
    given_answers |= {(case[0].lower(), case[1], status) for case in ASKED for status in ('403', '503')}
    assert given_answers == {
        (method, path, status)
        for path, operations in DOCUMENT['paths'].items()
        for method, operation in operations.items()
        for status in operation['responses']
    }


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text() | st.binary().map(lambda value: value.decode('latin-1')), max_size=3), st.data())
def test_any_input(app, ids, data):
    """A small share of what tests/packaging/test_schemathesis.py sends."""
    ids = [progress_id.encode('utf-8', 'surrogatepass') for progress_id in ids]
    method = data.draw(st.sampled_from(['GET', 'HEAD']))
    send(app, get('/progress_status', {'progress_id': ids}, '*', method=method))
    send(app, get('/progress_tasks', {data.draw(st.sampled_from(['tag', 'status', 'before'])): ids}, '*'))
    body = data.draw(st.recursive(st.none() | st.text() | st.floats(allow_nan=False), st.lists, max_leaves=3))
    for path in ('/progress_cancel', '/progress_remove'):
        send(app, post(path, {'progress_id': body}, '*'))
        send(app, post(path, body, '*'))
