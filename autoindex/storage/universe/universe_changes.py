"""The record of the universe's changes: who, when, what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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


def renamed(old: str, new: str) -> str:
    """The sentence on a new symbol."""
    return f"{old} renamed to {new}"


def was_renamed(connection: Connection, asset_id: int, old: str, new: str) -> bool:
    """Whether the newest change of an asset's symbol was this one."""
    table = universe_changes.c
    found = select(table.change).where(
        table.asset_id == asset_id, table.change.like("% renamed to %")
    )
    newest = connection.execute(found.order_by(table.id.desc()).limit(1)).scalar_one_or_none()
    return newest == renamed(old, new)
