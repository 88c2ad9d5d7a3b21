"""Index levels by strategy, frequency and session."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from psycopg import sql
from sqlalchemy import Connection, delete, func, select

from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.postgres import binary_copy
from autoindex.storage.tables import index_levels

_SERIES: Final = {"session": "date", "level": "float8"}


@dataclass(frozen=True, slots=True)
class Level:
    """One stored level."""

    session: date
    level: float


def store(
    connection: Connection, strategy: Strategy, frequency: Frequency, levels: pd.Series
) -> None:
    """Replace the stored levels from the first session of `levels` on; raises the version.

    Earlier sessions do not change: published history stays.
    """
    if levels.empty:
        return
    table = index_levels.c
    connection.execute(
        delete(index_levels).where(
            table.strategy == strategy,
            table.frequency == frequency,
            table.session >= levels.index[0].date(),
        )
    )
    columns = {
        "strategy": binary_copy.repeated(strategy, len(levels)),
        "frequency": binary_copy.repeated(frequency, len(levels)),
        "session": levels.index.to_numpy().astype("datetime64[D]"),
        "level": levels.to_numpy(np.float64),
    }
    binary_copy.load(connection, "index_levels", columns)
    versions.bump(connection, versions.INDEX)


def load(
    connection: Connection,
    strategy: Strategy,
    frequency: Frequency,
    start: date = date.min,
    end: date = date.max,
) -> pd.Series:
    """Levels by session (naive midnights, increasing); empty where none are stored."""
    query = sql.SQL(
        "select session, level from index_levels where strategy = {} and frequency = {} "
        "and session between {} and {} order by session"
    ).format(*map(sql.Literal, (str(strategy), str(frequency), start, end)))
    rows = np.concatenate(list(binary_copy.unload(connection, query, _SERIES)))
    index = pd.DatetimeIndex(binary_copy.as_days(rows["session"])).as_unit("ns")
    return pd.Series(rows["level"].astype(np.float64), index, name="level")


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


def window(
    connection: Connection, strategy: Strategy, frequency: Frequency
) -> tuple[date, date] | None:
    """First and last stored session of an index; None where there is none."""
    table = index_levels.c
    query = select(func.min(table.session), func.max(table.session)).where(
        table.strategy == strategy, table.frequency == frequency
    )
    first, newest = connection.execute(query).one()
    return None if first is None else (first, newest)
