"""Metrics of the tasks that have ended, for Prometheus."""

from prometheus_client import Counter, Histogram

TASKS = Counter('tasks_ended', 'Tasks that have ended', ['kind', 'status'])
SECONDS = Histogram('task_seconds', 'How long tasks took', ['kind'], buckets=(1, 10, 60, 600, 3600))


def on_task_ended(event):
    kind = event.tags[0] if event.tags else 'other'
    TASKS.labels(kind, event.status).inc()
    SECONDS.labels(kind).observe(event.duration)


def includeme(config):
    config.add_subscriber(on_task_ended, 'pyramid_progress.TaskEnded')
