"""Data versions: a number that rises in the transaction that changes data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, text

from autoindex.storage.tables import data_versions

PRICES: Final = "prices"
INDEX: Final = "index"
UNIVERSE: Final = "universe"

# Texts, because every reader of the index asks this first, and every writer of data raises some.
_RAISE: Final = text("""
    insert into data_versions as d (name, version) values (:name, 1)
    on conflict (name) do update set version = d.version + 1, changed_at = now()
    returning version
""")
_SEVERAL: Final = text("select name, version from data_versions where name = any(:names)")
_STAMP: Final = text("select version, changed_at from data_versions where name = :name")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A version, and when it was made: None before the first change."""

    version: int
    changed_at: datetime | None


def bump(connection: Connection, name: str) -> int:
    """Raise a version; readers see it when the caller commits. The new version."""
    raised = connection.execute(_RAISE, {"name": name})
    version: int = raised.scalar_one()
    return version


def try_writing(connection: Connection) -> None:
    """Raise the error of a write where tables are missing or the database is read-only."""
    connection.execute(text("update data_versions set version = version where false"))


def current(connection: Connection, name: str) -> int:
    """The current version; 0 before the first change."""
    query = select(data_versions.c.version).where(data_versions.c.name == name)
    return connection.execute(query).scalar_one_or_none() or 0


def currents(connection: Connection, *names: str) -> tuple[int, ...]:
    """The current versions of several kinds of data."""
    found = dict(connection.execute(_SEVERAL, {"names": [*names]}).tuples().all())
    return tuple(found.get(name, 0) for name in names)


def stamp(connection: Connection, name: str) -> Stamp:
    """The current version, distinct from one of the same number in another database."""
    row = connection.execute(_STAMP, {"name": name}).one_or_none()
    return Stamp(0, None) if row is None else Stamp(row.version, row.changed_at)
