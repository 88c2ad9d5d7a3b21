"""Allocations: target weights at each rebalance, and the units behind them.

Weights that were published and are replaced are kept in `superseded_allocations`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection, func, select, text

from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.index.levels import SAME
from autoindex.storage.postgres import binary_copy
from autoindex.storage.tables import allocations, index_levels
from autoindex.storage.universe.assets import Asset

_HELD: Final = {"session": "date", "asset_id": "int4", "weight": "float8", "units": "float8"}
_ANY: Final = text("""
    select exists (
        select from allocations
        where strategy = :strategy and frequency = :frequency and session >= :start
    )
""")
_DIFFERENT: Final = text("""
    select session, bool_or(stored.weight is distinct from new.weight)
    from (
        select session, asset_id, weight, units from allocations
        where strategy = :strategy and frequency = :frequency and session >= :start
    ) as stored
    full join new_allocations as new using (session, asset_id)
    group by session
    having bool_or(
        stored.weight is null or new.weight is null
        or abs(new.weight - stored.weight) > :same
        or abs(new.units - stored.units) > :same * stored.units
    )
""")
# A session that is not published yet has nothing to keep.
_SUPERSEDE: Final = text("""
    insert into superseded_allocations
    select l.strategy, l.frequency, l.session, (select clock_timestamp()),
        coalesce(array_agg(a.asset_id) filter (where a.asset_id is not null), '{}'),
        coalesce(array_agg(a.weight) filter (where a.asset_id is not null), '{}')
    from index_levels l left join allocations a using (strategy, frequency, session)
    where l.strategy = :strategy and l.frequency = :frequency and l.session = any(:sessions)
    group by l.strategy, l.frequency, l.session
""")
_DELETE: Final = text("""
    delete from allocations
    where strategy = :strategy and frequency = :frequency and session = any(:sessions)
""")
_INSERT: Final = text("""
    insert into allocations select * from new_allocations where session = any(:sessions)
""")
# Units say by which close they were bought. If that is the new one already, they stay.
_RESTATE: Final = text("""
    update allocations a set units = a.units * f.factor
    from unnest(
        cast(:strategies as text[]), cast(:frequencies as text[]), cast(:sessions as date[]),
        cast(:levels as float8[]), cast(:factors as float8[]), cast(:closes as float8[])
    ) as f (strategy, frequency, session, level, factor, close)
    where a.strategy = f.strategy and a.frequency = f.frequency
        and a.session = f.session and a.asset_id = :asset_id
        and not abs(ln(a.weight * f.level / a.units / f.close))
            < least(:same, abs(ln(a.weight * f.level / a.units / f.close / f.factor)))
""")
_SAME_CLOSE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Allocations:
    """Rebalance sessions × symbols; 0 where a symbol is not held. Both frames have one shape."""

    weights: pd.DataFrame
    units: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Held:
    """What some rebalances hold, without the symbols that they do not: many times smaller.

    `counts` says how many holdings each of the `sessions` has.
    """

    sessions: NDArray[np.datetime64]
    counts: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, rows: Allocations, ids: Mapping[str, int]) -> Self:
        """The holdings of rebalances."""
        weights = rows.weights.to_numpy(np.float64)
        at, column = np.nonzero(weights > 0)
        assets = np.array([ids[symbol] for symbol in rows.weights.columns], np.int32)
        columns = {
            "asset_id": assets[column],
            "weight": weights[at, column],
            "units": rows.units.to_numpy(np.float64)[at, column],
        }
        days = rows.weights.index.to_numpy().astype("datetime64[D]")
        return cls(days, np.bincount(at, minlength=len(days)), columns)


def store(
    connection: Connection,
    strategy: Strategy,
    frequency: Frequency,
    rows: Sequence[Held],
    start: date,
) -> None:
    """Replace the stored allocations that differ, not before `start`, and keep the old weights.

    Raises the version if any does. Where there are none yet, they are loaded directly.
    """
    which = {"strategy": strategy, "frequency": frequency, "start": start}
    if not connection.execute(_ANY, which).scalar_one():
        days = [day for part in rows for day in part.sessions.tolist()]
        connection.execute(_SUPERSEDE, which | {"sessions": days})
        _load(connection, "allocations", strategy, frequency, rows)
        versions.bump(connection, versions.INDEX)
        return
    connection.execute(text("create temporary table new_allocations (like allocations)"))
    _load(connection, "new_allocations", strategy, frequency, rows)
    different = connection.execute(_DIFFERENT, which | {"same": SAME}).all()
    if different:
        reweighted = [session for session, of_weights in different if of_weights]
        connection.execute(_SUPERSEDE, which | {"sessions": reweighted})
        changed = which | {"sessions": [session for session, _ in different]}
        connection.execute(_DELETE, changed)
        connection.execute(_INSERT, changed)
        versions.bump(connection, versions.INDEX)
    connection.execute(text("drop table new_allocations"))


def _load(
    connection: Connection,
    table: str,
    strategy: Strategy,
    frequency: Frequency,
    rows: Sequence[Held],
) -> None:
    for part in rows:
        count = int(part.counts.sum())
        which = {
            "strategy": binary_copy.repeated(strategy, count),
            "frequency": binary_copy.repeated(frequency, count),
            "session": np.repeat(part.sessions, part.counts),
        }
        binary_copy.load(connection, table, which | part.columns)


def restate(
    connection: Connection,
    asset_id: int,
    days: NDArray[np.datetime64],
    factors: NDArray[np.float64],
    closes: NDArray[np.float64],
) -> None:
    """Multiply the units of one asset at each rebalance by the factor of its day.

    `days` are increasing, `closes` are the new ones. A rebalance between two of them takes the
    factor of the earlier one, one before all of them takes the first. Units that are in the new
    share basis already stay: closes of before a split may have come back from the archive.
    """
    # Each rebalance has a level, and levels are many times fewer than allocations.
    levels = index_levels.c
    columns = levels.strategy, levels.frequency, levels.session, levels.level
    decided = connection.execute(select(*columns)).all()
    if not decided:
        return
    strategies, frequencies, sessions, values = zip(*decided, strict=True)
    wanted = np.array(sessions, "datetime64[D]")
    at = np.maximum(np.searchsorted(days, wanted, side="right") - 1, 0)
    # The first close says nothing of a rebalance before it.
    bought_at = np.where(wanted < days[0], np.nan, closes[at])
    rows = {
        "strategies": list(strategies),
        "frequencies": list(frequencies),
        "sessions": list(sessions),
        "levels": list(values),
        "factors": factors[at].tolist(),
        "closes": bought_at.tolist(),
        "same": _SAME_CLOSE,
    }
    connection.execute(_RESTATE, rows | {"asset_id": asset_id})


def load(
    connection: Connection,
    strategy: Strategy,
    frequency: Frequency,
    assets: list[Asset],
    start: date = date.min,
    end: date = date.max,
) -> Allocations:
    """Stored allocations of a window; columns are the symbols that were ever held in it."""
    query = sql.SQL(
        "select 0, {} from allocations "
        "where strategy = {} and frequency = {} and session between {} and {} group by session"
    ).format(
        binary_copy.packed(_HELD),
        *map(sql.Literal, (str(strategy), str(frequency), start, end)),
    )
    rows = [[np.empty(0)] * len(_HELD)]
    rows += [columns for _, columns in binary_copy.unload_packed(connection, query, _HELD)]
    sessions, ids, *values = map(np.concatenate, zip(*rows, strict=True))
    days, at = np.unique(binary_copy.as_days(sessions), return_inverse=True)
    held, column = np.unique(ids, return_inverse=True)
    symbols = {asset.id: asset.symbol for asset in assets}
    index = pd.DatetimeIndex(days).as_unit("ns")
    columns = [symbols[int(asset_id)] for asset_id in held]
    return Allocations(*(_frame(one, at, column, index, columns) for one in values))


def _frame(values: Any, at: Any, column: Any, index: Any, columns: list[str]) -> pd.DataFrame:
    matrix = np.zeros((len(index), len(columns)))
    matrix[at, column] = values
    return pd.DataFrame(matrix, index, columns).sort_index(axis="columns")


def last_session(
    connection: Connection, strategy: Strategy, frequency: Frequency, until: date
) -> date | None:
    """The newest rebalance session not after `until`; None where there is none."""
    table = allocations.c
    query = select(func.max(table.session)).where(
        table.strategy == strategy, table.frequency == frequency, table.session <= until
    )
    newest: date | None = connection.execute(query).scalar_one()
    return newest
