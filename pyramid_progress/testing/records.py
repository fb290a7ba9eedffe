"""Records of tasks, as storage drivers get them: for the tests of drivers."""

from ..model.record import Record


def run_number(milliseconds: int) -> str:
    """Return the number of a run, as JSON text.

    :param milliseconds: when the run started, since the epoch
    """
    return f'"{milliseconds:013d}-00000000"'


def task_record(run: int | str, owner: str = '"ann"', **members: str) -> Record:
    """Return the record of a running task.

    :param run: the number of its run, or when it started, in milliseconds since the epoch
    :param owner: the owner as JSON text
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
