"""The record of the universe's changes: who, when, what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, insert, select

from autoindex.storage.tables import universe_changes

REFRESH: Final = "refresh"
"""Who restates share counts."""


@dataclass(frozen=True, slots=True)
class UniverseChange:
    """One change; `asset_id` is None for an asset that is no more."""

    changed_at: datetime
    changed_by: str
    asset_id: int | None
    change: str


def record(connection: Connection, by: str, changes: Sequence[tuple[int, str]]) -> None:
    """Record changes, each an asset and a sentence, as made by a user."""
    if changes:
        rows = [{"changed_by": by, "asset_id": id_, "change": text} for id_, text in changes]
        connection.execute(insert(universe_changes), rows)


def load(connection: Connection) -> list[UniverseChange]:
    """Every change, in the order in which they were made."""
    table = universe_changes.c
    query = select(table.changed_at, table.changed_by, table.asset_id, table.change)
    return [UniverseChange(*row) for row in connection.execute(query.order_by(table.id))]


def record_rename(
    connection: Connection, by: str, asset_id: int, old: str, new: str, since: date | None
) -> None:
    """Record that an asset has another symbol, and since when."""
    change = f"{old} renamed to {new}" + (f" from {since} on" if since else "")
    row = {"changed_by": by, "asset_id": asset_id, "former_symbol": old}
    connection.execute(insert(universe_changes).values(row | {"change": change}))


def former_symbols(connection: Connection) -> dict[str, int]:
    """The symbols that assets had before; the newest asset of each."""
    table = universe_changes.c
    query = select(table.former_symbol, table.asset_id).where(
        table.former_symbol.is_not(None), table.asset_id.is_not(None)
    )
    return dict(connection.execute(query.order_by(table.id)).tuples().all())
