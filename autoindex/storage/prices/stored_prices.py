"""Daily prices: bulk load that writes only what differs, and reads into a matrix."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection, func, select, text

from autoindex import sessions
from autoindex.market_data.bars import Bars
from autoindex.storage import versions
from autoindex.storage.index import allocations, recompute_marks
from autoindex.storage.postgres import binary_copy, locks
from autoindex.storage.prices import price_diff
from autoindex.storage.prices.price_diff import Difference
from autoindex.storage.tables import prices
from autoindex.storage.universe.assets import Asset

# A factor between old and new closes that is this steady changes no return: see `_first_return`.
_STEADY: Final = 1e-3

_CLOSES: Final = {"session": "date", "close": "float8"}

# Index look-ups asset by asset, whatever the planner would think of it.
_MATRIX: Final = sql.SQL("""
    select w.id, stored.*
    from unnest({}::int[]) as w (id)
    cross join lateral (
        select {} from prices where asset_id = w.id and session between {} and {}
    ) as stored
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
    """What a load did, row by row; `first_changed` is the earliest session whose return changed."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    first_changed: date | None = None

    def __add__(self, other: "Counts") -> "Counts":
        changed = [day for day in (self.first_changed, other.first_changed) if day]
        return Counts(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.deleted + other.deleted,
            min(changed, default=None),
        )

    @property
    def written(self) -> int:
        """Rows that were written."""
        return self.inserted + self.updated + self.deleted


def upsert(connection: Connection, bars: Sequence[Bars], ids: Mapping[str, int]) -> Counts:
    """Insert new bars and update those that differ; rows that are the same are not touched.

    `ids` maps symbol to asset; a symbol comes once. Takes turns with other loads until the
    transaction ends, raises the data version when anything was written, and notes from where
    indexes have to be renewed.
    """
    locks.until_commit(connection, locks.PRICES)
    return _noted(connection, _write(connection, price_diff.find(connection, bars, ids)))


def replace(connection: Connection, bars: Bars, asset_id: int) -> Counts:
    """Put a restated history in the place of the stored one, in the caller's transaction.

    Stored holdings are restated with it: units times close stays what it was.
    """
    locks.until_commit(connection, locks.PRICES)
    stored = closes_of(connection, asset_id)
    found = price_diff.find(connection, [bars], {bars.symbol: asset_id}, whole=True)
    deleted = sum(_delete(connection, one) for one in found)
    written = _write(connection, found)
    _restate_units(connection, asset_id, stored, bars)
    if deleted and not written.written:
        versions.bump(connection, versions.PRICES)
    first = _first_return(stored, bars)
    return _noted(connection, dataclasses.replace(written, deleted=deleted, first_changed=first))


def _noted(connection: Connection, counts: Counts) -> Counts:
    if counts.first_changed is not None:
        recompute_marks.note(connection, counts.first_changed)
    return counts


def _write(connection: Connection, found: Sequence[Difference]) -> Counts:
    """Insert what is new and update what changed; raises the data version where either is."""
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
    first = min((one.first_changed for one in found if one.first_changed), default=None)
    return Counts(inserted, updated, total - inserted - updated, first_changed=first)


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


def _restate_units(connection: Connection, asset_id: int, stored: "Closes", bars: Bars) -> None:
    days, ours, theirs = np.intersect1d(stored.sessions, bars.sessions, return_indices=True)
    if len(days):
        factors = stored.closes[ours] / bars.close[theirs]
        allocations.restate(connection, asset_id, days, factors)


def _first_return(stored: "Closes", bars: Bars) -> date | None:
    """The earliest session whose return a restated history changed; None where none did.

    A split multiplies all closes before it by one factor: only where the factor between old and
    new closes steps, or where a session came or went, is there another return.
    """
    _, ours, theirs = np.intersect1d(stored.sessions, bars.sessions, return_indices=True)
    came_or_went = np.setxor1d(stored.sessions, bars.sessions)
    factors = np.log(bars.close[theirs] / stored.closes[ours])
    steps = stored.sessions[ours][1:][np.abs(np.diff(factors)) > _STEADY]
    # The stored history could end before a split that the new one has after it: no step of ours.
    changed = np.concatenate([came_or_went, steps])
    return changed.min().item() if len(changed) else None


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
    """The newest stored session by symbol; assets without prices are left out."""
    symbols = {asset.id: asset.symbol for asset in assets}
    # One index look-up an asset, where a grouped maximum would read every row.
    query = text(
        "select a.id, (select max(session) from prices where asset_id = a.id) "
        "from unnest(cast(:ids as int[])) as a(id)"
    )
    found = connection.execute(query, {"ids": list(symbols)})
    return {symbols[asset_id]: session for asset_id, session in found if session is not None}


def stored_window(connection: Connection) -> tuple[date, date] | None:
    """The first and last stored session of all; None where no prices are stored."""
    query = select(func.min(prices.c.session), func.max(prices.c.session))
    first, last = connection.execute(query).one()
    return None if first is None else (first, last)


def load_closes(
    connection: Connection, assets: Sequence[Asset], start: date, end: date
) -> pd.DataFrame:
    """Closes of the exchange's sessions from `start` to `end`, one column a symbol, by symbol.

    NaN where there is no bar. Assets are parsed as they arrive, so that the matrix is all it takes.
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
    column_of = {asset_id: column for column, asset_id in enumerate(ids)}
    query = _MATRIX.format(
        sql.Literal(list(ids)),
        binary_copy.packed(_CLOSES),
        *(sql.Literal(day.item()) for day in (days[0], days[-1])),
    )
    for asset_id, (stored, closes) in binary_copy.unload_packed(connection, query, _CLOSES):
        at = row_of[(binary_copy.as_days(stored) - days[0]).astype(int)]
        known = at >= 0  # a bar on a day that is no session has no place
        matrix[at[known], column_of[asset_id]] = closes[known]
