"""What an index shows to the outside: pages of levels and allocations, as plain rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, func, select

from autoindex.requests import Frequency, Strategy
from autoindex.storage.tables import allocations, assets, index_levels

COLUMNS: Final = {"levels": ("session", "level"), "allocations": ("session", "symbol", "weight")}


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of an index to show: sessions from `start` to `end`, both included."""

    strategy: Strategy
    frequency: Frequency
    start: date = date.min
    end: date = date.max


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of rows, and how many the whole window has."""

    rows: Sequence[tuple[Any, ...]]
    total: int


def levels(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of session and level, oldest first."""
    chosen = _in(index_levels, window)
    query = (
        select(index_levels.c.session, index_levels.c.level)
        .where(*chosen)
        .order_by(index_levels.c.session)
    )
    return _page(connection, query, index_levels, chosen, limit, offset)


def weights(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of rebalance session, symbol and weight, oldest first, then by symbol."""
    chosen = _in(allocations, window)
    query = (
        select(allocations.c.session, assets.c.symbol, allocations.c.weight)
        .join(assets, assets.c.id == allocations.c.asset_id)
        .where(*chosen)
        .order_by(allocations.c.session, assets.c.symbol)
    )
    return _page(connection, query, allocations, chosen, limit, offset)


def _in(table: Table, window: Window) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.strategy == window.strategy,
        table.c.frequency == window.frequency,
        table.c.session.between(window.start, window.end),
    )


def _page(
    connection: Connection,
    query: Any,
    table: Table,
    chosen: tuple[ColumnElement[bool], ...],
    limit: int,
    offset: int,
) -> Rows:
    count = select(func.count()).select_from(table).where(*chosen)
    total = connection.execute(count).scalar_one()
    rows = connection.execute(query.limit(limit).offset(offset))
    return Rows([tuple(row) for row in rows], total)
