"""Functions that work on parts in other processes."""

import logging
import os
import time
from pathlib import Path

from pyramid_progress import Part, configure
from pyramid_progress.runtime import current_store


def work(part, steps):
    """Do a part of some steps; return the id of the process."""
    with part.start() as task:
        for _ in task.track(range(steps)):
            pass
    return os.getpid()


def hang(settings, part, is_at_work):
    """Do half of a part, then hang until the process is killed."""
    configure(settings)
    with part.start() as task:
        task.length = 2
        task.advance()
        publish(task)
        is_at_work.set()
        time.sleep(600)


def publish(task):
    """Write what a part has completed now, and not in the publisher's next round."""
    changes = task.run.changes(current_store().storage.now())
    task.run.write(changes)
    task.run.published(changes)


def work_through(settings, members, updates, done, log):
    """Do parts one after the other, each with a number of updates; those that an earlier process did are left out.

    :param settings: the settings of the application
    :param members: the parts, as dicts
    :param updates: the number of updates of each part
    :param done: the path of the file with the numbers of the parts that have ended
    :param log: the path of the log file
    """
    logging.basicConfig(filename=log, level=logging.INFO)
    configure(settings)
    path = Path(done)
    path.touch()
    ended = set(path.read_text().split())
    for part in map(Part.from_dict, members):
        if str(part.number) in ended:
            continue
        with part.start() as task:
            task.length = updates
            for _ in range(updates):
                task.advance()
                publish(task)
        with path.open('a') as file:
            file.write(f'{part.number}\n')


def work_slowly(part):
    """Do a part that takes a second."""
    with part.start() as task:
        for _ in task.track(range(50)):
            time.sleep(0.02)
