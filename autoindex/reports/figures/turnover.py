"""Turnover: which weights a rebalance changed, and which the next one will change."""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex import sessions as exchange
from autoindex.index.performance_measures import SESSIONS_A_YEAR
from autoindex.index.pro_forma import ProForma
from autoindex.reports.content import (
    NextRebalance,
    Number,
    Rebalance,
    Turnover,
    WeightChange,
    YearlyTurnover,
)
from autoindex.reports.figures.attribution import name_of
from autoindex.reports.figures.history import Floats
from autoindex.reports.figures.portfolio import Portfolio
from autoindex.reports.inputs import AssetFacts
from autoindex.requests import Frequency

_REBALANCES_A_YEAR: Final = {
    Frequency.DAILY: SESSIONS_A_YEAR,
    Frequency.WEEKLY: 52,
    Frequency.MONTHLY: 12,
    Frequency.QUARTERLY: 4,
}
# Half of the smallest change that the tables show.
_UNCHANGED: Final = 5e-5


def turnovers(portfolio: Portfolio) -> tuple[Turnover, ...]:
    """One-way turnover of each rebalance after the first: half the sum of absolute weight changes.

    A rebalance is left out where a close of a holding is missing.
    """
    rows = []
    for rebalance in range(1, len(portfolio.rebalances)):
        before = _before(portfolio, rebalance)
        if before is not None:
            traded = _one_way(portfolio.targets[rebalance] - before)
            session = portfolio.rebalances[rebalance].date()
            rows.append(Turnover(session=session, turnover=traded))
    return tuple(rows)


def by_year(rows: tuple[Turnover, ...]) -> tuple[YearlyTurnover, ...]:
    """Turnover added up by calendar year, oldest first."""
    years = groupby(rows, key=lambda row: row.session.year)
    grouped = [(year, [row.turnover for row in of_year]) for year, of_year in years]
    return tuple(
        YearlyTurnover(year=year, turnover=sum(traded), rebalances=len(traded))
        for year, traded in grouped
    )


def annual(rows: tuple[Turnover, ...], frequency: str) -> Number:
    """Mean turnover of a rebalance times the rebalances of a year: 252, 52, 12 or 4.

    None below so many rebalances: nothing shorter than a year is annualised.
    """
    a_year = _REBALANCES_A_YEAR[Frequency(frequency)]
    if len(rows) < a_year:
        return None
    return sum(row.turnover for row in rows) / len(rows) * a_year


def last_rebalance(portfolio: Portfolio, assets: Mapping[str, AssetFacts]) -> Rebalance | None:
    """The weight changes of the newest rebalance, largest first.

    None before the second rebalance, or where a close of a holding is missing.
    """
    newest = len(portfolio.rebalances) - 1
    before = _before(portfolio, newest) if newest > 0 else None
    if before is None:
        return None
    after = portfolio.targets[newest]
    return Rebalance(
        session=portfolio.rebalances[newest].date(),
        turnover=_one_way(after - before),
        **_changed(portfolio.symbols, before, after, assets),
    )


def next_rebalance(
    found: ProForma | None, last: pd.Timestamp, assets: Mapping[str, AssetFacts]
) -> NextRebalance | None:
    """The weight changes of the pro-forma; None where it is not of the last session."""
    if found is None or found.decided_with != last.date():
        return None
    before, after = found.current_weights.to_numpy(), found.weights.to_numpy()
    return NextRebalance(
        session=found.next_rebalance,
        decided_with=found.decided_with,
        turnover=_one_way(after - before),
        **_changed(tuple(found.weights.index), before, after, assets),
    )


def calendar(last: pd.Timestamp, frequency: str, count: int = 4) -> tuple[date, ...]:
    """The next rebalance sessions after `last`; fewer where the calendar ends before."""
    found: list[date] = []
    following = exchange.next_rebalance(last.date(), Frequency(frequency))
    while following is not None and len(found) < count:
        found.append(following)
        following = exchange.next_rebalance(following, Frequency(frequency))
    return tuple(found)


def _changed(
    symbols: Sequence[str], before: Floats, after: Floats, assets: Mapping[str, AssetFacts]
) -> dict[str, Any]:
    changes = after - before
    order = np.argsort(-np.abs(changes), kind="stable")
    return {
        "entered": _chosen(symbols, (before == 0.0) & (after > 0.0)),
        "left": _chosen(symbols, (before > 0.0) & (after == 0.0)),
        "changes": tuple(
            WeightChange(
                symbol=symbols[i],
                name=name_of(symbols[i], assets),
                before=float(before[i]),
                after=float(after[i]),
                change=float(changes[i]),
            )
            for i in order
            if abs(changes[i]) >= _UNCHANGED
        ),
    }


def _before(portfolio: Portfolio, rebalance: int) -> Floats | None:
    return portfolio.weights(rebalance - 1, portfolio.rebalances[rebalance])


def _one_way(changes: Floats) -> float:
    return float(np.abs(changes).sum() / 2.0)


def _chosen(symbols: Sequence[str], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(symbols[i] for i in np.flatnonzero(chosen).tolist())
