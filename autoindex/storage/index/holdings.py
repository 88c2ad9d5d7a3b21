"""Holdings: a stored level, and the units held from its close on."""

from dataclasses import dataclass
from datetime import date

import pandas as pd
from sqlalchemy import Connection

from autoindex.requests import Frequency, Strategy
from autoindex.storage.index import allocations, levels
from autoindex.storage.universe.assets import Asset


@dataclass(frozen=True, slots=True)
class Holdings:
    """`units` by symbol, held since the decision session `decided`; only symbols that are held."""

    session: date
    decided: date
    level: float
    units: pd.Series


def before(
    connection: Connection,
    strategy: Strategy,
    frequency: Frequency,
    assets: list[Asset],
    day: date,
) -> Holdings | None:
    """Holdings after the last stored level before `day`; None where there is none."""
    level = levels.last(connection, strategy, frequency, before=day)
    if level is None:
        return None
    decided = allocations.last_session(connection, strategy, frequency, until=level.session)
    if decided is None:
        return None
    rows = allocations.load(connection, strategy, frequency, assets, decided, decided)
    units = rows.units.iloc[0]
    return Holdings(level.session, decided, level.level, units[units > 0])
