"""Rows that end: a table of theirs loses them in good time, and is never searched as a whole.

Such a table has the columns ``namespace`` and ``key``, its key, and three more:

``expires``
    when the row ends, in seconds since the epoch; NULL for never
``expire``
    how many seconds after its last change that is
``due``
    when to look at it, with an index. Where a change puts off the end, this stays, so that the index need not change.
"""

from .sqlite_database import Execute

#: A row is looked at when it ends, or so many seconds after the last look at it, whichever comes first.
_LOOK = 3600.0

#: How many rows are looked at in one go.
_ROWS = 1000


def due(now: float, expires: float) -> float:
    """Return when to look at a row that is looked at *now*."""
    return min(expires, now + _LOOK)


def sweep(execute: Execute, table: str, now: float) -> None:
    """Delete rows that have ended; to be called where rows are added.

    A row that is due later than anything that was looked at by now comes from before the clock was put back. It gets
    its lifetime from now on.

    :param execute: what executes statements
    :param table: the table's name, which is part of them
    :param now: seconds since the epoch
    """
    times = {'now': now, 'look': _LOOK}
    some_due = f'FROM {table} WHERE due <= :now OR due > :now + :look LIMIT'
    if not execute(f'SELECT 1 {some_due} 1', times).fetchone():
        return
    rows = f'(namespace, key) IN (SELECT namespace, key {some_due} {_ROWS})'
    execute(f'DELETE FROM {table} WHERE expires <= :now AND {rows}', times)  # noqa: S608
    execute(
        f'UPDATE {table} SET expires = min(expires, :now + expire),'  # noqa: S608
        f' due = min(expires, :now + min(expire, :look)) WHERE {rows}',
        times,
    )
