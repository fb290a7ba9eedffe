"""Keeps the ends of tasks: statuses themselves are removed when they expire."""

import json
from pathlib import Path


def on_task_ended(event):
    """Append a line to the history."""
    line = {
        'id': event.progress_id,
        'label': event.label,
        'owner': event.owner,
        'status': event.status,
        'seconds': event.duration,
    }
    with Path(HISTORY).open('a', encoding='utf-8') as file:
        file.write(json.dumps(line) + '\n')


def includeme(config):
    """``config.include('events')``."""
    config.add_subscriber(on_task_ended, 'pyramid_progress.TaskEnded')


HISTORY = 'history.jsonl'
