"""Pages of an index's levels, weights and metrics, of now or as of an instant, as plain rows."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Subquery,
    Table,
    case,
    func,
    select,
    text,
    true,
    union_all,
)

from autoindex.requests import Frequency, Strategy
from autoindex.storage.index import level_versions
from autoindex.storage.index.level_versions import Launch
from autoindex.storage.tables import (
    allocations,
    assets,
    audit,
    index_levels,
    pro_formas,
    publications,
    superseded_allocations,
    superseded_levels,
    superseded_metrics,
)
from autoindex.storage.tables import metrics as metrics_table
from autoindex.storage.universe import universe_changes

_PRO_FORMA: Final = text("""
    select a.symbol, row.weight, row.current_weight, row.weight - row.current_weight
    from pro_formas p
    cross join unnest(p.asset_ids, p.weights, p.current_weights)
        as row (asset_id, weight, current_weight)
    join assets a on a.id = row.asset_id
    where p.strategy = :strategy and p.frequency = :frequency
    order by a.symbol limit :limit offset :offset
""")
_ABOUT: Final = ("decided_with", "next_rebalance", "turnover")


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an index: sessions from `start` to `end`, both included, in one of two orders.

    What is read is what was published at `as_of`, the newest where it is None.
    """

    strategy: Strategy
    frequency: Frequency
    start: date = date.min
    end: date = date.max
    newest_first: bool = False
    as_of: datetime | None = None

    def going_on(self, session: date) -> "Window":
        """What is left of it, in its order, from a session on."""
        return replace(self, end=session) if self.newest_first else replace(self, start=session)


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
    order = _in_order(every.c.session, window)
    rows = connection.execute(select(every).order_by(order).limit(limit).offset(offset)).all()
    total = connection.execute(select(func.count()).select_from(every)).scalar_one()
    launch = _launch(connection, window)
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
    p = publications.c
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
    """Rows of rebalance session, symbol, weight and sector; those of a session by symbol.

    Only the page's own sessions are read, and the rows of each are counted to find them: an offset
    over all rows would join and sort those before the page, too.
    """
    every = _weights(window).subquery().c
    counts = select(every.session, func.count()).group_by(every.session)
    counted = connection.execute(counts.order_by(_in_order(every.session, window))).all()
    ends = [0, *accumulate(count for _, count in counted)]
    first, last = bisect_right(ends, offset) - 1, bisect_left(ends, offset + limit)
    shown = [session for session, _ in counted[first:last]]
    part = replace(window, start=min(shown, default=date.max), end=max(shown, default=date.min))
    rows = connection.execute(_named(part).limit(limit).offset(offset - ends[first]))
    return _rows(connection, window, rows, ends[-1])


def _weights(window: Window) -> Select[Any] | CompoundSelect[Any]:
    """The weights that were decided, or had been at the instant of the window."""
    held = allocations.c
    current = select(held.session, held.asset_id, held.weight).where(*_in(allocations, window))
    if window.as_of is None:
        return current
    gone = _replaced(superseded_allocations, window)
    row = func.unnest(gone.c.asset_ids, gone.c.weights).table_valued("asset_id", "weight")
    row = row.render_derived()
    old = select(gone.c.session, row.c.asset_id, row.c.weight).select_from(gone.join(row, true()))
    return _then(window, current, old, allocations, gone)


def _named(window: Window) -> Select[Any]:
    """The weights by symbol, as the assets were called at the instant of the window."""
    every = _weights(window).subquery().c
    symbol: ColumnElement[str] = assets.c.symbol
    if window.as_of is not None:
        asset_id, former = universe_changes.ASSET_ID, universe_changes.FORMER_SYMBOL
        renamed = (
            select(asset_id.label("asset_id"), former.label("former_symbol"))
            .distinct(asset_id)
            .where(universe_changes.IS_RENAME, audit.c.at > window.as_of)
            .order_by(asset_id, audit.c.id)
            .subquery()
        )
        symbol = func.coalesce(renamed.c.former_symbol, symbol)
    columns = every.session, symbol, every.weight, assets.c.sector
    query = select(*columns).join(assets, assets.c.id == every.asset_id)
    if window.as_of is not None:
        query = query.outerjoin(renamed, renamed.c.asset_id == every.asset_id)
    return query.order_by(_in_order(every.session, window), symbol)


def metrics(connection: Connection, window: Window, *, limit: int, offset: int) -> Rows:
    """Rows of session and values: {window: {metric: number or None}}."""
    every = _metrics(window).subquery()
    total = connection.execute(select(func.count()).select_from(every)).scalar_one()
    query = select(every).order_by(_in_order(every.c.session, window))
    rows = connection.execute(query.limit(limit).offset(offset))
    return _rows(connection, window, rows, total)


def _metrics(window: Window) -> Select[Any] | CompoundSelect[Any]:
    """The metrics that are stored, or that were at the instant of the window."""
    table = metrics_table
    current = select(table.c.session, table.c["values"]).where(*_in(table, window))
    if window.as_of is None:
        return current
    gone = _replaced(superseded_metrics, window)
    return _then(window, current, select(gone.c.session, gone.c["values"]), table, gone)


def _replaced(table: Table, window: Window) -> Subquery:
    """The rows that were answered at the instant of the window, and have been replaced since."""
    return (
        select(table)
        .distinct(table.c.session)
        .where(*_in(table, window), table.c.replaced_at > window.as_of)
        .order_by(table.c.session, table.c.replaced_at)
        .subquery()
    )


def _then(
    window: Window, current: Select[Any], old: Select[Any], table: Table, gone: Subquery
) -> CompoundSelect[Any]:
    """What belongs to levels that were published at the instant of the window."""
    published = select(_versions(window).subquery().c.session)
    return union_all(
        current.where(
            table.c.session.not_in(select(gone.c.session)), table.c.session.in_(published)
        ),
        old.where(gone.c.session.in_(published)),
    )


def pro_forma(
    connection: Connection, window: Window, *, limit: int | None = None, offset: int = 0
) -> Rows:
    """Rows of symbol, weight, current weight and trade, by symbol."""
    which = {"strategy": window.strategy, "frequency": window.frequency}
    table = pro_formas.c
    columns = (*(table[name] for name in _ABOUT), func.cardinality(table.asset_ids))
    found = connection.execute(select(*columns).filter_by(**which)).one_or_none()
    if found is None:
        return replace(_rows(connection, window, [], 0), about=dict.fromkeys(_ABOUT))
    rows = connection.execute(_PRO_FORMA, which | {"limit": limit, "offset": offset})
    *about, total = found
    page = _rows(connection, window, rows, total)
    return replace(page, about=dict(zip(_ABOUT, about, strict=True)))


def _in_order(session: ColumnElement[date], window: Window) -> ColumnElement[date]:
    return session.desc() if window.newest_first else session


def _in(table: Table, window: Window) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.strategy == window.strategy,
        table.c.frequency == window.frequency,
        table.c.session.between(window.start, window.end),
    )


def _rows(connection: Connection, window: Window, rows: Iterable[Any], total: int) -> Rows:
    launch = _launch(connection, window)
    return Rows([tuple(row) for row in rows], total, launch.at if launch else None)


def _launch(connection: Connection, window: Window) -> Launch | None:
    """The launch, unless it is later than the instant of the window."""
    launch = level_versions.launch(connection, window.strategy, window.frequency)
    if launch is None or (window.as_of is not None and launch.at > window.as_of):
        return None
    return launch
