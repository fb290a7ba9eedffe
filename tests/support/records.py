"""Records of tasks, as storage drivers get them."""


def run_number(milliseconds):
    """Return the number of a run that started at a time, in milliseconds since the epoch."""
    return f'"{milliseconds:013d}-00000000"'


def task_record(run, owner='"ann"', **members):
    """Return the record of a running task.

    :param run: the number of its run, or when it started, in milliseconds
    :param members: further members as JSON texts
    """
    return {
        'status': '"running"',
        'owner': owner,
        'label': '"Import"',
        'tags': 'null',
        'length': 'null',
        'current': 'null',
        'started': '"2030-01-01T00:00:00+00:00"',
        '_run': run if isinstance(run, str) else run_number(run),
    } | members
