"""The published past: sessions whose members and shares stand."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from sqlalchemy import Connection, func, select

from autoindex import sessions
from autoindex.storage.tables import index_levels


@dataclass(frozen=True, slots=True)
class PublishedPast:
    """The newest session with a published level of any index, and the one after it.

    Both are `date.min` where nothing is published: what is imported then counts from the beginning.
    """

    last: date = date.min
    following: date = date.min

    @classmethod
    def read(cls, connection: Connection) -> Self:
        """As it is now; later publications wait for the lock on prices, if the caller holds it."""
        newest = connection.execute(select(func.max(index_levels.c.session))).scalar_one()
        return cls() if newest is None else cls(newest, session_after(newest))

    def holds(self, day: date) -> bool:
        """Whether a day is in it."""
        return date.min < self.last and day <= self.last


def session_after(day: date) -> date:
    """The first session after a day."""
    return sessions.ahead(day + timedelta(days=1), 0)
