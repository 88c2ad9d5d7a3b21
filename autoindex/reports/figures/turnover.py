"""Turnover: which weights a rebalance changed."""

from collections.abc import Mapping
from itertools import groupby
from typing import Final

import numpy as np

from autoindex.index.metrics import SESSIONS_A_YEAR
from autoindex.reports.content import Number, Rebalance, Turnover, WeightChange, YearlyTurnover
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
    changes = after - before
    order = np.argsort(-np.abs(changes), kind="stable")
    return Rebalance(
        session=portfolio.rebalances[newest].date(),
        turnover=_one_way(changes),
        entered=_symbols(portfolio, (before == 0.0) & (after > 0.0)),
        left=_symbols(portfolio, (before > 0.0) & (after == 0.0)),
        changes=tuple(
            WeightChange(
                symbol=portfolio.symbols[i],
                name=name_of(portfolio.symbols[i], assets),
                before=float(before[i]),
                after=float(after[i]),
                change=float(changes[i]),
            )
            for i in order
            if abs(changes[i]) >= _UNCHANGED
        ),
    )


def _before(portfolio: Portfolio, rebalance: int) -> Floats | None:
    return portfolio.weights(rebalance - 1, portfolio.rebalances[rebalance])


def _one_way(changes: Floats) -> float:
    return float(np.abs(changes).sum() / 2.0)


def _symbols(
    portfolio: Portfolio, chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> tuple[str, ...]:
    return tuple(portfolio.symbols[i] for i in np.flatnonzero(chosen))
