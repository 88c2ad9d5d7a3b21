"""Daily prices: bulk writes of the rows that differ, and reads into a matrix."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection, text

from autoindex import sessions
from autoindex.market_data import restatement
from autoindex.market_data.bars import Bars
from autoindex.market_data.restatement import Comparison
from autoindex.storage import versions
from autoindex.storage.index import allocations, corrections
from autoindex.storage.postgres import binary_copy, locks
from autoindex.storage.prices import price_diff
from autoindex.storage.prices.price_diff import Difference
from autoindex.storage.universe import share_counts
from autoindex.storage.universe.assets import Asset

_CLOSES: Final = {"session": "date", "close": "float8"}

_COLUMNS: Final = {"number": "int4", "count": "int4"} | _CLOSES
# About so many closes are sent at a time: a message for each asset would cost more than its closes.
_CLOSES_A_MESSAGE: Final = 16_384
# A lateral join, so that PostgreSQL looks each asset up in the index.
_MATRIX: Final = sql.SQL("""
    select 0, string_agg(int4send(w.number::int - 1), ''), string_agg(int4send(stored.count), ''),
        string_agg(stored.sessions, ''), string_agg(stored.closes, '')
    from unnest({}::int[]) with ordinality as w (id, number)
    cross join lateral (
        select count(*)::int, {}
        from prices where asset_id = w.id and session between {} and {}
    ) as stored (count, sessions, closes)
    group by (w.number - 1) / {}
""")
_UPDATE: Final = text("""
    update prices p
    set open = s.open, high = s.high, low = s.low, close = s.close, volume = s.volume
    from staged_prices s
    where p.asset_id = s.asset_id and p.session = s.session
""")
_DELETE: Final = text("delete from prices where asset_id = :id and session = any(:sessions)")


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a load by outcome."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.deleted + other.deleted,
        )

    @property
    def written(self) -> int:
        """Rows that were written."""
        return self.inserted + self.updated + self.deleted


def upsert(
    connection: Connection,
    bars: Sequence[Bars],
    ids: Mapping[str, int],
    window: int = corrections.WINDOW_SESSIONS,
) -> Counts:
    """Insert new bars and update those that differ; equal rows are not written.

    `ids` maps symbols to assets; `bars` has each symbol once. Holds the lock on prices until the
    transaction ends, raises the data version where a row was written, and notes the corrections
    that indexes have to apply; for `window` see there.
    """
    locks.until_commit(connection, locks.PRICES)
    found = price_diff.find(connection, bars, ids)
    counts = _write(connection, found)
    changed = {one.asset_id: one.changed_closes for one in found if one.changes_close.any()}
    corrections.note(connection, changed, corrections.CLOSES_CHANGED, window)
    return counts


def replace(
    connection: Connection, bars: Bars, asset_id: int, window: int = corrections.WINDOW_SESSIONS
) -> Counts:
    """Replace the stored history by a restated one, in the caller's transaction.

    Stored holdings and share counts are restated with it, so that units × close and shares × close
    stay the same.
    """
    locks.until_commit(connection, locks.PRICES)
    stored = closes_of(connection, asset_id)
    comparison = restatement.compare(bars, stored.sessions, stored.closes)
    found = price_diff.find(connection, [bars], {bars.symbol: asset_id}, whole=True)
    deleted = sum(_delete(connection, one) for one in found)
    written = _write(connection, found)
    _restate_holdings(connection, asset_id, comparison)
    if deleted and not written.written:
        versions.bump(connection, versions.PRICES)
    changed = {asset_id: comparison.changed_returns()}
    corrections.note(connection, changed, corrections.HISTORY_RESTATED, window)
    return dataclasses.replace(written, deleted=deleted)


def _write(connection: Connection, found: Sequence[Difference]) -> Counts:
    """Insert new bars and update changed ones; raises the data version where there are any."""
    new = [(one.asset_id, one.bars.select(one.is_new)) for one in found if one.is_new.any()]
    changed = [
        (one.asset_id, one.bars.select(one.is_changed)) for one in found if one.is_changed.any()
    ]
    if new:
        binary_copy.load(connection, "prices", columns(new))
    if changed:
        _update(connection, changed)
    if new or changed:
        versions.bump(connection, versions.PRICES)
    inserted = sum(len(bars) for _, bars in new)
    updated = sum(len(bars) for _, bars in changed)
    total = sum(len(one.bars) for one in found)
    return Counts(inserted, updated, total - inserted - updated)


def _update(connection: Connection, changed: Sequence[tuple[int, Bars]]) -> None:
    connection.execute(text("create temporary table staged_prices (like prices) on commit drop"))
    binary_copy.load(connection, "staged_prices", columns(changed))
    connection.execute(text("analyze staged_prices"))
    connection.execute(_UPDATE)
    connection.execute(text("drop table staged_prices"))


def _delete(connection: Connection, one: Difference) -> int:
    if not len(one.gone):
        return 0
    gone = {"id": one.asset_id, "sessions": one.gone.tolist()}
    return connection.execute(_DELETE, gone).rowcount


def columns(bars: Sequence[tuple[int, Bars]]) -> dict[str, NDArray[Any]]:
    """Bars of several assets as columns of the table, one asset after another."""
    lengths = [len(one) for _, one in bars]
    joined = {
        name: np.concatenate([getattr(one, name) for _, one in bars])
        for name in ("open", "high", "low", "close", "volume")
    }
    return {
        "asset_id": np.repeat(np.array([asset_id for asset_id, _ in bars], np.int32), lengths),
        "session": np.concatenate([one.sessions for _, one in bars]),
        **joined,
        "volume": np.ma.masked_less(joined["volume"], 0),
    }


def _restate_holdings(connection: Connection, asset_id: int, comparison: Comparison) -> None:
    days, factors, closes = comparison.scaled()
    if len(days):
        allocations.restate(connection, asset_id, days, factors, closes)
        new = comparison.added[comparison.added > comparison.sessions[-1]]
        first_new = new[0].item() if len(new) else None
        share_counts.restate(connection, asset_id, days, comparison.splits(), first_new)


@dataclass(frozen=True, slots=True)
class Closes:
    """One asset's closes: sessions as datetime64[D], increasing, and float64 of the same length."""

    sessions: NDArray[np.datetime64]
    closes: NDArray[np.float64]


def closes_of(connection: Connection, asset_id: int, start: date | None = None) -> Closes:
    """The stored closes of one asset, from `start` on."""
    query = sql.SQL("select {}, {} from prices where asset_id = {} and session >= {}").format(
        sql.Literal(asset_id),
        binary_copy.packed(_CLOSES),
        sql.Literal(asset_id),
        sql.Literal(start or date.min),
    )
    ((_, (days, closes)),) = binary_copy.unload_packed(connection, query, _CLOSES)
    order = np.argsort(days)
    return Closes(binary_copy.as_days(days[order]), closes[order].astype(np.float64))


def newest_sessions(connection: Connection, assets: Sequence[Asset]) -> dict[str, date]:
    """The newest stored session by symbol, without assets that have no prices."""
    symbols = {asset.id: asset.symbol for asset in assets}
    # One index look-up an asset: a grouped maximum would read every row.
    query = text(
        "select a.id, (select max(session) from prices where asset_id = a.id) "
        "from unnest(cast(:ids as int[])) as a(id)"
    )
    found = connection.execute(query, {"ids": list(symbols)})
    return {symbols[asset_id]: session for asset_id, session in found if session is not None}


def load_closes(
    connection: Connection, assets: Sequence[Asset], start: date, end: date
) -> pd.DataFrame:
    """Closes of the exchange's sessions from `start` to `end`, one column a symbol, by symbol.

    NaN where there is no bar. Rows are parsed as they arrive to save memory.
    """
    index = sessions.between(start, end)
    ordered = sorted(assets, key=lambda asset: asset.symbol)
    matrix = np.full((len(index), len(ordered)), np.nan)
    if matrix.size:
        _fill(matrix, connection, index, [asset.id for asset in ordered])
    return pd.DataFrame(matrix, index, [asset.symbol for asset in ordered], copy=False)


def _fill(
    matrix: NDArray[np.float64],
    connection: Connection,
    index: pd.DatetimeIndex,
    ids: Sequence[int],
) -> None:
    days = index.to_numpy().astype("datetime64[D]")
    row_of = np.full(int((days[-1] - days[0]).astype(int)) + 1, -1)
    row_of[(days - days[0]).astype(int)] = np.arange(len(days))
    query = _MATRIX.format(
        sql.Literal(list(ids)),
        binary_copy.packed(_CLOSES),
        *(sql.Literal(day.item()) for day in (days[0], days[-1])),
        sql.Literal(max(1, _CLOSES_A_MESSAGE // len(days))),
    )
    for _, found in binary_copy.unload_packed(connection, query, _COLUMNS):
        columns, counts, stored, closes = found
        at = row_of[(binary_copy.as_days(stored) - days[0]).astype(int)]
        known = at >= 0  # bars on days that are not sessions are left out
        matrix[at[known], np.repeat(columns, counts)[known]] = closes[known]
