"""The page of the reference about log records and events, and its example."""

import json
import logging
import re
from contextlib import suppress
from dataclasses import fields

import pytest
from support.environments import ROOT
from support.examples import EXAMPLES, load

from pyramid_progress import ProgressError, TaskEnded

PAGE = (ROOT / 'docs' / 'reference' / 'events.md').read_text('utf-8')


def table(head):
    """Return the cells of the table whose first line begins with *head*."""
    (lines,) = re.findall(rf'(?m)^\| {re.escape(head)}.*\n\|---.*\n((?:\|.*\n)+)', PAGE)
    return [[cell.strip() for cell in line.strip('|\n').split('|')] for line in lines.splitlines()]


def work(request):
    """End a task in each way."""
    for error in (None, ProgressError('Line 3 has no name.'), ValueError('a bug')):
        with (
            suppress(ProgressError, ValueError),
            request.progress.start('Importing customers', length=10, tags=['import']) as task,
        ):
            task.advance(4)
            if error:
                raise error
    return request.response


@pytest.fixture
def run(make_app, caplog):
    """Return a function that runs the work in an application with further configuration; it returns the log records."""

    def run(configure=lambda config: None):
        def configure_all(config):
            configure(config)
            config.add_route('work', '/work')
            config.add_view(work, route_name='work')

        with caplog.at_level(logging.INFO, 'pyramid_progress'):
            make_app(configure_all).get('/work')
        return [record for record in caplog.records if record.name == 'pyramid_progress']

    return run


def test_the_example_keeps_the_ends_of_tasks(run, tmp_path, monkeypatch):
    example = load(EXAMPLES / 'reference' / 'events.py')
    monkeypatch.setattr(example, 'HISTORY', str(tmp_path / 'history'))
    run(lambda config: config.include(example))
    lines = [json.loads(line) for line in (tmp_path / 'history').read_text().splitlines()]
    assert [(line['label'], line['status']) for line in lines] == [
        ('Importing customers', 'finished'),
        ('Importing customers', 'failed'),
        ('Importing customers', 'failed'),
    ]


def test_the_page_has_the_attributes(run):
    record = run()[0]
    names = {name for cell, _ in table('attribute') for name in re.findall(r'`(\w+)`', cell)}
    assert all(hasattr(record, name) for name in names)
    assert names | {'message', 'error'} == {field.name for field in fields(TaskEnded)}


def test_the_page_has_the_levels(run):
    levels = [re.match(r'\w+', cell)[0] for cell, _ in table('level of the record')]
    assert [record.levelname for record in run()] == levels == ['INFO', 'WARNING', 'ERROR']
