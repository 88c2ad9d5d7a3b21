"""Pages of an index's stored levels, weights and metrics, as plain rows."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Table,
    case,
    func,
    select,
    union_all,
)

from autoindex.requests import Frequency, Strategy
from autoindex.storage.index import publications
from autoindex.storage.tables import allocations, assets, index_levels, superseded_levels
from autoindex.storage.tables import metrics as metrics_table
from autoindex.storage.tables import publications as publications_table


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an index: sessions from `start` to `end`, both included, in one of two orders.

    Levels are those that were published at `as_of`, the newest where it is None.
    """

    strategy: Strategy
    frequency: Frequency
    start: date = date.min
    end: date = date.max
    newest_first: bool = False
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of rows, how many rows the whole window has, and when the index was launched.

    `about` is what is said once of all rows.
    """

    rows: Sequence[tuple[Any, ...]]
    total: int
    launched_at: datetime | None
    about: Mapping[str, Any] = field(default_factory=dict)


def levels(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of session, level, its status and version, and whether it is back-tested."""
    every = _versions(window).subquery()
    order = every.c.session.desc() if window.newest_first else every.c.session
    rows = connection.execute(select(every).order_by(order).limit(limit).offset(offset)).all()
    total = connection.execute(select(func.count()).select_from(every)).scalar_one()
    launch = publications.launch(connection, window.strategy, window.frequency)
    if launch is None:
        return Rows([], 0, None)
    return Rows([(*row, row.session <= launch.session) for row in rows], total, launch.at)


def _versions(window: Window) -> Select[Any] | CompoundSelect[Any]:
    """The levels that are published, or that were at the instant of the window."""
    current, old = (
        select(
            table.c.session,
            table.c.level,
            case((table.c.missing.is_(None), "final"), else_="provisional").label("status"),
            table.c.version,
        ).where(*_in(table, window))
        for table in (index_levels, superseded_levels)
    )
    if window.as_of is None:
        return current
    p = publications_table.c
    known = p.strategy == window.strategy, p.frequency == window.frequency
    newest = (
        select(func.coalesce(func.max(p.id), -1))
        .where(*known, p.published_at <= window.as_of)
        .scalar_subquery()
    )
    gone = superseded_levels.c
    return union_all(
        current.where(index_levels.c.publication <= newest),
        old.where(gone.publication <= newest, gone.replaced_by > newest),
    )


def weights(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of rebalance session, symbol and weight; those of a session by symbol.

    Only the page's own sessions are read, and the rows of each are counted to find them: an offset
    over all rows would join and sort those before the page, too.
    """
    counted = connection.execute(_counts(window)).all()
    ends = [0, *accumulate(count for _, count in counted)]
    first, last = bisect_right(ends, offset) - 1, bisect_left(ends, offset + limit)
    shown = [session for session, _ in counted[first:last]]
    part = replace(window, start=min(shown, default=date.max), end=max(shown, default=date.min))
    query = (
        select(allocations.c.session, assets.c.symbol, allocations.c.weight)
        .join(assets, assets.c.id == allocations.c.asset_id)
        .where(*_in(allocations, part))
        .order_by(_in_order(allocations, window), assets.c.symbol)
    )
    rows = connection.execute(query.limit(limit).offset(offset - ends[first]))
    launch = publications.launch(connection, window.strategy, window.frequency)
    return Rows([tuple(row) for row in rows], ends[-1], launch.at if launch else None)


def _counts(window: Window) -> Select[tuple[date, int]]:
    session: ColumnElement[date] = allocations.c.session
    chosen = _in(allocations, window)
    counts = select(session, func.count()).where(*chosen).group_by(session)
    return counts.order_by(_in_order(allocations, window))


def metrics(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of session and values: {window: {metric: number or None}}."""
    table = metrics_table
    query = (
        select(table.c.session, table.c["values"])
        .where(*_in(table, window))
        .order_by(_in_order(table, window))
    )
    return _page(connection, query, table, window, limit, offset)


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
    window: Window,
    limit: int,
    offset: int,
) -> Rows:
    count = select(func.count()).select_from(table).where(*_in(table, window))
    total = connection.execute(count).scalar_one()
    rows = connection.execute(query.limit(limit).offset(offset))
    launch = publications.launch(connection, window.strategy, window.frequency)
    return Rows([tuple(row) for row in rows], total, launch.at if launch else None)
