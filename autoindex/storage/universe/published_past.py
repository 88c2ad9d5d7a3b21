"""The published past: sessions whose members and shares stand."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from sqlalchemy import Connection, func, select

from autoindex import sessions
from autoindex.storage.tables import index_levels


@dataclass(frozen=True, slots=True)
class PublishedPast:
    """The newest session with a published level of any index, the one after it, and the first.

    All are `date.min` where nothing is published: what is imported then counts from the beginning.
    """

    last: date = date.min
    following: date = date.min
    first: date = date.min

    @classmethod
    def read(cls, connection: Connection) -> Self:
        """As it is now; later publications wait for the lock on prices, if the caller holds it."""
        session = index_levels.c.session
        first, last = connection.execute(select(func.min(session), func.max(session))).one()
        return cls() if last is None else cls(last, session_after(last), first)

    def holds(self, day: date) -> bool:
        """Whether a day is in it."""
        return date.min < self.last and day <= self.last


def session_after(day: date) -> date:
    """The first session after a day."""
    return sessions.ahead(day + timedelta(days=1), 0)
