"""Pages of an index's stored levels, weights and metrics, as plain rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from autoindex.requests import Frequency, Strategy
from autoindex.storage.tables import allocations, assets, index_levels
from autoindex.storage.tables import metrics as metrics_table


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an index: sessions from `start` to `end`, both included, in one of two orders."""

    strategy: Strategy
    frequency: Frequency
    start: date = date.min
    end: date = date.max
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of rows, and how many rows the whole window has."""

    rows: Sequence[tuple[Any, ...]]
    total: int


def levels(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of session and level."""
    chosen = _in(index_levels, window)
    query = (
        select(index_levels.c.session, index_levels.c.level)
        .where(*chosen)
        .order_by(_in_order(index_levels, window))
    )
    return _page(connection, query, index_levels, chosen, limit, offset)


def weights(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of rebalance session, symbol and weight; those of a session by symbol."""
    chosen = _in(allocations, window)
    query = (
        select(allocations.c.session, assets.c.symbol, allocations.c.weight)
        .join(assets, assets.c.id == allocations.c.asset_id)
        .where(*chosen)
        .order_by(_in_order(allocations, window), assets.c.symbol)
    )
    return _page(connection, query, allocations, chosen, limit, offset)


def metrics(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of session and values: {window: {metric: number or None}}."""
    table = metrics_table
    chosen = _in(table, window)
    query = (
        select(table.c.session, table.c["values"]).where(*chosen).order_by(_in_order(table, window))
    )
    return _page(connection, query, table, chosen, limit, offset)


def _in_order(table: Table, window: Window) -> ColumnElement[date]:
    session: ColumnElement[date] = table.c.session
    return session.desc() if window.newest_first else session


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
