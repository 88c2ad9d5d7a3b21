"""From when to when prices are stored."""

from datetime import date

from sqlalchemy import Connection, func, select

from autoindex.errors import EmptyWindow
from autoindex.storage.tables import prices


def read(connection: Connection) -> tuple[date, date] | None:
    """The first and last session with a stored price; None without prices."""
    query = select(func.min(prices.c.session), func.max(prices.c.session))
    first, last = connection.execute(query).one()
    return None if first is None else (first, last)


def check_end(connection: Connection, end: date) -> None:
    """Raise `EmptyWindow` for a computation that would end before the first stored session.

    Without prices it may still wait for a refresh.
    """
    stored = read(connection)
    if stored is not None and end < stored[0]:
        raise EmptyWindow("end_date", *stored)
