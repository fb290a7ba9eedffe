"""The metrics of docs/guides/operations.md."""

from pathlib import Path

import pytest

from pyramid_progress import ProgressError

EXAMPLES = Path(__file__).parents[2] / 'examples' / 'guides'


def test_metrics(make_app, monkeypatch):
    prometheus = pytest.importorskip('prometheus_client')
    monkeypatch.syspath_prepend(EXAMPLES)

    def work(request):
        with request.progress.start('Import of customers.csv', tags=['import']):
            pass
        with pytest.raises(ProgressError), request.progress.start('Export'):
            raise ProgressError('The disk is full.')
        for part in divide(request):
            part.start().finish()
        return {}

    def divide(request):
        with request.progress.start('Import of all', tags=['import', 'all']) as task:
            return task.parts(2)

    def configure(config):
        config.include('metrics')
        config.add_route('work', '/work')
        config.add_view(work, route_name='work', renderer='json')

    make_app(configure).get('/work')
    text = prometheus.generate_latest().decode()
    assert 'tasks_ended_total{kind="import",status="finished"} 2.0' in text
    assert 'tasks_ended_total{kind="other",status="failed"} 1.0' in text
    assert 'task_seconds_bucket{kind="import",le="1.0"} 2.0' in text
