"""The jobs that tests run in other processes.

It reads ``[regions, settings, job, arguments]``, says "ready", waits for another line, does the job, and prints its
result, or the traceback of its error: all of it JSON, a line each.
"""

import json
import sys
import traceback
from contextlib import suppress

from beaker.cache import cache_regions

from pyramid_progress import (
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    set_progress_status,
)
from pyramid_progress.model.record import Start, new_run
from pyramid_progress.runtime import current_store
from pyramid_progress.testing.records import task_record


def starts(name, count):
    """Start tasks."""
    for number in range(count):
        init_progress_status(f'{name}-{number}', name, f'Task {number}', length=count)


def lives(name, count):
    """Take tasks through their whole lives, and return how many were seen in each state."""
    seen = {'listed': 0, 'running': 0, 'finished': 0, 'unknown': 0, 'left': 0}
    for number in range(count):
        progress_id = f'{name}-{number}'
        init_progress_status(progress_id, name, f'Task {number}', length=count)
        set_progress_status(progress_id, message='half', current=number)
        status = get_progress_status(progress_id)
        seen['running'] += (status['status'], status['message'], status['current']) == ('running', 'half', number)
    listed = get_running_tasks()
    for number in range(count):
        progress_id = f'{name}-{number}'
        seen['listed'] += progress_id in listed
        set_progress_status(progress_id, 'finished', current=count)
        status = get_progress_status(progress_id)
        seen['finished'] += (status['status'], status['message'], status['current']) == ('finished', 'half', count)
        seen['unknown'] += get_progress_status(progress_id) == {'status': 'unknown'}
    seen['left'] = sum(progress_id.startswith(f'{name}-') for progress_id in get_running_tasks())
    return seen


def changes(name, count, times):
    """Change tasks of one's own many times, and return how many changes were not there afterwards."""
    ids = [f'{name}-{number}' for number in range(count)]
    lost = 0
    for turn in range(times):
        for progress_id in ids:
            set_progress_status(progress_id, message=f'at {turn}', length=2 * turn, current=turn)
        for progress_id in ids:
            status = get_progress_status(progress_id)
            lost += (status['message'], status['length'], status['current']) != (f'at {turn}', 2 * turn, turn)
    return lost


def changes_together(progress_id, count):
    """Change a task that others change too, and return how often its parts did not fit together."""
    torn = 0
    for number in range(count):
        set_progress_status(progress_id, message=f'at {number}', length=2 * number, current=number)
        status = get_progress_status(progress_id)
        torn += (status['message'], status['length']) != (f'at {status["current"]}', 2 * status['current'])
    return torn


def changes_of_one_member(progress_id, member, count):
    """Change a member of a task whose other members others change, and return how many changes got lost."""
    lost = 0
    for number in range(count):
        set_progress_status(progress_id, **{member: number})
        lost += get_progress_status(progress_id)[member] != number
    return lost


def takes(progress_ids):
    """Read tasks that are finished, and return of how many this process learned the end."""
    return sum(get_progress_status(progress_id)['status'] == 'finished' for progress_id in progress_ids)


def claims(progress_ids, owner):
    """Start tasks whose ids others want too, and return those that this owner got."""
    won = []
    for progress_id in progress_ids:
        with suppress(ValueError):
            init_progress_status(progress_id, owner, 'Mine')
            won.append(progress_id)
    return won


def starts_of_new_ids(progress_ids, owner):
    """Start tasks whose ids must be new, and return those that this owner started."""
    storage = current_store().storage
    record = task_record(1, json.dumps(owner)) | {'_run': new_run(storage.now())}
    return [progress_id for progress_id in progress_ids if storage.start(progress_id, record, 60, Start.NEW)]


def restores(progress_ids, run):
    """Restore the same run of several tasks."""
    for progress_id in progress_ids:
        current_store().storage.start(progress_id, task_record(run), 60, Start.RESTORE)


def parts(task_run, numbers, count):
    """Start parts of the task 'job', complete *count* steps of each, and end them; return how many have ended."""
    storage = current_store().storage
    run = {'task_run': task_run, 'part_run': task_run, 'expire': 60}
    ended = 0
    for number in numbers:
        storage.start_part('job', number, heartbeat='1.0', **run)
        for step in range(count):
            storage.update_part('job', number, {'current': str(step)}, **run)
        end = {'current': str(count), 'status': '"finished"'}
        ended += storage.update_part('job', number, end, **run) is not None
    return ended


def main():
    for line in sys.stdin:
        regions, settings, job, arguments = json.loads(line)
        cache_regions.clear()
        cache_regions.update(regions)
        configure(settings)
        print('"ready"', flush=True)
        sys.stdin.readline()
        try:
            answer = {'result': globals()[job](*arguments)}
        except Exception:  # noqa: BLE001
            answer = {'error': traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
