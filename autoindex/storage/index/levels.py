"""Index levels by strategy, frequency and session; `publications` writes them."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from psycopg import sql
from sqlalchemy import Connection, select

from autoindex.requests import Frequency, Strategy
from autoindex.storage.postgres import binary_copy
from autoindex.storage.tables import index_levels

SAME: Final = 1e-10
"""A computation in another order of steps differs by rounding: no change, relative to the value."""
_SERIES: Final = {"session": "date", "level": "float8"}


@dataclass(frozen=True, slots=True)
class Level:
    """One stored level."""

    session: date
    level: float


def load(
    connection: Connection,
    strategy: Strategy,
    frequency: Frequency,
    start: date = date.min,
    end: date = date.max,
) -> pd.Series:
    """Levels by session (naive midnights, increasing); empty where none are stored."""
    query = sql.SQL(
        "select 0, {} from index_levels where strategy = {} and frequency = {} "
        "and session between {} and {}"
    ).format(
        binary_copy.packed(_SERIES),
        *map(sql.Literal, (str(strategy), str(frequency), start, end)),
    )
    ((_, (days, values)),) = binary_copy.unload_packed(connection, query, _SERIES)
    order = np.argsort(days)
    index = pd.DatetimeIndex(binary_copy.as_days(days[order])).as_unit("ns")
    return pd.Series(values[order].astype(np.float64), index, name="level")


def kept(computed: pd.Series, stored: pd.Series) -> pd.Series:
    """The computed levels, but the stored one where it is the same."""
    before = stored.reindex(computed.index)
    return computed.mask((computed - before).abs() <= SAME * before, before)


def provisional(
    connection: Connection, strategy: Strategy, frequency: Frequency, start: date = date.min
) -> dict[date, list[str]]:
    """The provisional sessions from `start` on, and the symbols that each is missing."""
    table = index_levels.c
    query = select(table.session, table.missing).where(
        table.strategy == strategy,
        table.frequency == frequency,
        table.session >= start,
        table.missing.is_not(None),
    )
    return {row.session: row.missing for row in connection.execute(query)}


def last(
    connection: Connection, strategy: Strategy, frequency: Frequency, before: date = date.max
) -> Level | None:
    """The newest stored level before a day; None where there is none."""
    table = index_levels.c
    query = (
        select(table.session, table.level)
        .where(table.strategy == strategy, table.frequency == frequency, table.session < before)
        .order_by(table.session.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Level(row.session, row.level)
