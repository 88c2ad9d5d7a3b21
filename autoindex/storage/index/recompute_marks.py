"""Recompute marks: from which session on an index has to be recomputed.

A mark is set in the transaction that changes prices, and cleared in the one that stores the index.
A process that dies in between leaves the mark, and the next computation starts from it.
"""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.postgres import locks
from autoindex.storage.tables import index_renewals


@dataclass(frozen=True, slots=True)
class RecomputeMark:
    """The session an index is due from, None where it is up to date.

    `changes` counts the changes of prices, so that `clear` keeps a newer mark.
    """

    due_from: date | None
    changes: int

    def is_covered_from(self, start: date | None) -> bool:
        """Whether a computation from `start` on leaves nothing due."""
        return start is None or self.due_from is None or start <= self.due_from


def add(connection: Connection, session: date) -> None:
    """Mark every stored index as due from `session`, where prices have changed."""
    # `least` ignores nulls.
    earliest = func.least(index_renewals.c.due_from, session)
    changes = index_renewals.c.changes + 1
    connection.execute(update(index_renewals).values(due_from=earliest, changes=changes))


def read(connection: Connection, strategy: str, frequency: str) -> RecomputeMark:
    """The mark of an index, created where it is missing; commit before reading prices."""
    row = {"strategy": strategy, "frequency": frequency}
    query = select(index_renewals.c.due_from, index_renewals.c.changes).filter_by(**row)
    found = connection.execute(query).one_or_none()
    if found is None:
        # A transaction that writes prices now has not seen a row to mark.
        locks.until_commit(connection, locks.PRICES)
        connection.execute(insert(index_renewals).values(row).on_conflict_do_nothing())
        found = connection.execute(query).one()
    return RecomputeMark(*found)


def clear(connection: Connection, strategy: str, frequency: str, mark: RecomputeMark) -> None:
    """Clear `mark`: the index was computed from the prices of when it was read, or newer ones."""
    seen = {"strategy": strategy, "frequency": frequency, "changes": mark.changes}
    connection.execute(update(index_renewals).filter_by(**seen).values(due_from=None))
