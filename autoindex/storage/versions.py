"""Data versions: a number that rises in the transaction that changes data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.tables import data_versions

PRICES: Final = "prices"
INDEX: Final = "index"
UNIVERSE: Final = "universe"

# A text, because every reader of the index asks this first.
_STAMP: Final = text("select version, changed_at from data_versions where name = :name")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A version, and when it was made: None before the first change."""

    version: int
    changed_at: datetime | None


def bump(connection: Connection, name: str) -> int:
    """Raise a version; readers see it when the caller commits. The new version."""
    first = insert(data_versions).values(name=name, version=1)
    raised = first.on_conflict_do_update(
        index_elements=[data_versions.c.name],
        set_={"version": data_versions.c.version + 1, "changed_at": func.now()},
    ).returning(data_versions.c.version)
    version: int = connection.execute(raised).scalar_one()
    return version


def try_writing(connection: Connection) -> None:
    """Raise the error of a write where tables are missing or the database is read-only."""
    connection.execute(text("update data_versions set version = version where false"))


def current(connection: Connection, name: str) -> int:
    """The current version; 0 before the first change."""
    query = select(data_versions.c.version).where(data_versions.c.name == name)
    return connection.execute(query).scalar_one_or_none() or 0


def stamp(connection: Connection, name: str) -> Stamp:
    """The current version, distinct from one of the same number in another database."""
    row = connection.execute(_STAMP, {"name": name}).one_or_none()
    return Stamp(0, None) if row is None else Stamp(row.version, row.changed_at)
