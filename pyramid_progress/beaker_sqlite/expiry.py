"""Rows that expire are deleted when others are added, without a search through the whole table.

The table has the columns ``namespace`` and ``key``, its primary key, and three more:

``expires``
    when the row expires, in seconds since the epoch; NULL for never
``expire``
    how many seconds after its last change that is
``due``
    when to check the row, with an index. It stays if a change postpones the expiry, so that the index need not change.
"""

from .database import Execute

#: A row is checked when it expires, or this number of seconds after the last check, whichever comes first.
_CHECK_INTERVAL = 3600.0

#: How many rows are checked in one call.
_ROWS = 1000


def due(now: float, expires: float) -> float:
    """Return when to check a row that is checked *now*."""
    return min(expires, now + _CHECK_INTERVAL)


def sweep(execute: Execute, table: str, now: float) -> bool:
    """Delete expired rows; to be called when a row is added. Return whether there was something to check.

    A row that is due later than the check interval was written before the clock was set back. Its lifetime starts anew.

    :param execute: what executes statements
    :param table: the table's name, which is part of them
    :param now: seconds since the epoch
    """
    times = {'now': now, 'interval': _CHECK_INTERVAL}
    some_due = f'FROM {table} WHERE due <= :now OR due > :now + :interval LIMIT'
    if not execute(f'SELECT 1 {some_due} 1', times).fetchone():
        return False
    rows = f'(namespace, key) IN (SELECT namespace, key {some_due} {_ROWS})'
    execute(f'DELETE FROM {table} WHERE expires <= :now AND {rows}', times)  # noqa: S608
    execute(
        f'UPDATE {table} SET expires = min(expires, :now + expire),'  # noqa: S608
        f' due = min(expires, :now + min(expire, :interval)) WHERE {rows}',
        times,
    )
    return True
