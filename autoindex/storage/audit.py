"""The audit: who did what, and when. Entries are added, and never changed or removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, insert, select

from autoindex.storage.tables import audit

Values = Mapping[str, Any]
Act = tuple[str | None, Values | None, Values | None]
"""What is acted on, how it was before, and how it is afterwards."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who acts, and in which request of the facade; a command has none."""

    user: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: what was acted on, and how it was before and is afterwards."""

    id: int
    at: datetime
    user: str
    request_id: str | None
    action: str
    subject: str | None
    before: Values | None
    after: Values | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries, those before the entry `before`; None does not filter."""

    user: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    before: int | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in SQL."""
        table = audit.c
        equal = (
            (table.user_name, self.user),
            (table.action, self.action),
            (table.subject, self.subject),
        )
        chosen = [column == value for column, value in equal if value is not None]
        if self.since is not None:
            chosen.append(table.at >= self.since)
        if self.before is not None:
            chosen.append(table.id < self.before)
        return chosen


def record(
    connection: Connection,
    author: Author,
    action: str,
    *subjects: UUID | str,
    before: Values | None = None,
    after: Values | None = None,
) -> None:
    """Add an entry for each subject, in the transaction of the act; one if there is no subject."""
    named = [None if one is None else str(one) for one in subjects or (None,)]
    record_all(connection, author, action, [(one, before, after) for one in named])


def record_all(
    connection: Connection,
    author: Author,
    action: str,
    acts: Sequence[Act],
) -> None:
    """Add an entry for each of equal acts."""
    same: dict[str, Any] = {
        "user_name": author.user,
        "request_id": author.request_id,
        "action": action,
    }
    rows = [same | {"subject": one, "before": old, "after": new} for one, old, new in acts]
    if rows:
        connection.execute(insert(audit), rows)


def load(
    connection: Connection, wanted: Wanted, *, limit: int, offset: int
) -> tuple[int, list[Entry]]:
    """The number of entries, and a page of them, the newest first."""
    total = connection.execute(
        select(func.count()).select_from(audit).where(*wanted.conditions)
    ).scalar_one()
    query = select(audit).where(*wanted.conditions).order_by(audit.c.id.desc())
    return total, [Entry(*row) for row in connection.execute(query.limit(limit).offset(offset))]
