"""Which indexes no longer follow from the stored prices, and from which session on.

Noted in the transaction that changes prices, settled in the one that stores the index: whoever dies
in between leaves the note, and the next computation begins there.
"""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.postgres import locks
from autoindex.storage.tables import index_renewals


@dataclass(frozen=True, slots=True)
class Renewal:
    """From where an index has to be computed again, None where it is up to date.

    `changes` counts what was noted of it, so that `settle` keeps what was noted since.
    """

    due_from: date | None
    changes: int

    def is_met_from(self, start: date | None) -> bool:
        """Whether a computation that was asked to begin at `start` leaves nothing due."""
        return start is None or self.due_from is None or start <= self.due_from


def note(connection: Connection, session: date) -> None:
    """Prices have changed from `session` on: every index that there is has to be renewed."""
    # `least` passes over nulls.
    earliest = func.least(index_renewals.c.due_from, session)
    changes = index_renewals.c.changes + 1
    connection.execute(update(index_renewals).values(due_from=earliest, changes=changes))


def open_for(connection: Connection, strategy: str, frequency: str) -> Renewal:
    """What is due of an index, and from now on notes for it; commit it before prices are read."""
    row = {"strategy": strategy, "frequency": frequency}
    query = select(index_renewals.c.due_from, index_renewals.c.changes).filter_by(**row)
    found = connection.execute(query).one_or_none()
    if found is None:
        # Whoever writes prices now has not seen the row to note them in.
        locks.until_commit(connection, locks.PRICES)
        connection.execute(insert(index_renewals).values(row).on_conflict_do_nothing())
        found = connection.execute(query).one()
    return Renewal(*found)


def settle(connection: Connection, strategy: str, frequency: str, renewal: Renewal) -> None:
    """The index follows from the prices there were when `renewal` was read."""
    seen = {"strategy": strategy, "frequency": frequency, "changes": renewal.changes}
    connection.execute(update(index_renewals).filter_by(**seen).values(due_from=None))
