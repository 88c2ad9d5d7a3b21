"""Where the period's return came from, and where today's risk lies."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from autoindex import labels
from autoindex.index.metrics import SESSIONS_A_YEAR
from autoindex.reports.content import Contribution, Holding, Number, Period
from autoindex.reports.figures.history import Floats, History, number
from autoindex.reports.figures.portfolio import Portfolio
from autoindex.reports.inputs import AssetFacts

NO_SECTOR: Final = "Not classified"
SHORTEST_RISK: Final = 60


def name_of(symbol: str, assets: Mapping[str, AssetFacts]) -> str:
    """The constituent's name as a report can show it, or its symbol."""
    name = assets[symbol].name if symbol in assets else ""
    return labels.shown(name, labels.LONGEST_NAME) or symbol


def sector_of(symbol: str, assets: Mapping[str, AssetFacts]) -> str:
    """The constituent's sector as a report can show it, or words for having none."""
    sector = assets[symbol].sector if symbol in assets else None
    return labels.shown(sector or "", labels.LONGEST_SECTOR) or NO_SECTOR


def contributions(
    history: History, portfolio: Portfolio, period: Period, assets: Mapping[str, AssetFacts]
) -> tuple[Contribution, ...]:
    """Each constituent's part in the period's return, largest first; empty where closes lack.

    Between two rebalances a constituent adds weight times return times level, in points of the
    index; the points over the level at the base add up to the period's return.
    """
    base, last = pd.Timestamp(period.base), pd.Timestamp(period.last)
    points = _points(history, portfolio, base, last)
    if points is None:
        return ()
    parts = points / history.level[history.position(period.base)]
    order = [i for i in np.argsort(-parts, kind="stable") if points[i] != 0.0]
    return tuple(
        Contribution(
            symbol=portfolio.symbols[i],
            name=name_of(portfolio.symbols[i], assets),
            price_return=_price_return(portfolio, i, base, last),
            contribution=float(parts[i]),
        )
        for i in order
    )


def _points(
    history: History, portfolio: Portfolio, base: pd.Timestamp, last: pd.Timestamp
) -> Floats | None:
    inside = portfolio.rebalances[(portfolio.rebalances > base) & (portfolio.rebalances < last)]
    points = np.zeros(len(portfolio.symbols))
    for start, end in pairwise([base, *inside, last]):
        weights = portfolio.weights(portfolio.decided(start), start)
        then, now = portfolio.at(start), portfolio.at(end)
        if weights is None or then is None or now is None:
            return None
        held = weights > 0.0
        growth = portfolio.closes[now, held] / portfolio.closes[then, held] - 1.0
        points[held] += weights[held] * growth * history.level[history.position(start.date())]
    return points if np.isfinite(points).all() else None


def _price_return(
    portfolio: Portfolio, symbol: int, base: pd.Timestamp, last: pd.Timestamp
) -> Number:
    then, now = portfolio.at(base), portfolio.at(last)
    if then is None or now is None:
        return None
    return number(portfolio.closes[now, symbol] / portfolio.closes[then, symbol] - 1.0)


def holdings(
    portfolio: Portfolio,
    units: pd.DataFrame,
    session: pd.Timestamp,
    assets: Mapping[str, AssetFacts],
) -> tuple[tuple[Holding, ...], int | None]:
    """What the index holds at `session`, heaviest first, and the sessions behind its risk figures.

    Nothing where a close lacks. The risk figures are None below 60 common sessions.
    """
    decided, now = portfolio.decided(session), portfolio.at(session)
    weights = portfolio.weights(decided, session)
    if weights is None or now is None:
        return (), None
    held = np.flatnonzero(weights > 0.0)
    shares, volatility, used = risk(weights[held], portfolio.closes[: now + 1, held])
    behind = _units(units, portfolio, portfolio.rebalances[decided])
    rows = [
        Holding(
            symbol=portfolio.symbols[i],
            name=name_of(portfolio.symbols[i], assets),
            sector=sector_of(portfolio.symbols[i], assets),
            weight=float(weights[i]),
            target_weight=float(portfolio.targets[decided, i]),
            units=number(behind[i]),
            close=float(portfolio.closes[now, i]),
            annual_volatility=number(volatility[rank]),
            risk_contribution=number(shares[rank]),
        )
        for rank, i in enumerate(held)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.weight, row.symbol))), used


def _units(units: pd.DataFrame, portfolio: Portfolio, decided: pd.Timestamp) -> Floats:
    row = units.reindex(index=[decided], columns=list(portfolio.symbols))
    behind: Floats = row.to_numpy(dtype=np.float64)[0]
    return behind


def risk(weights: Floats, closes: Floats) -> tuple[Floats, Floats, int | None]:
    """Share of variance and annual volatility by constituent, over up to 252 common sessions.

    A share is w·(Σw) / w'Σw with the sample covariance Σ (Maillard, Roncalli and Teïletche, 2010,
    "The Properties of Equally Weighted Risk Contribution Portfolios"). NaN, and None sessions,
    where there are fewer than 60 or nothing moved.
    """
    window = closes[-(SESSIONS_A_YEAR + 1) :]
    returns = window[1:] / window[:-1] - 1.0
    returns = returns[np.isfinite(returns).all(axis=1)]
    nothing = np.full(len(weights), np.nan)
    if len(returns) < SHORTEST_RISK:
        return nothing, nothing, None
    covariance = np.atleast_2d(np.cov(returns, rowvar=False, ddof=1))
    marginal = covariance @ weights
    variance = float(weights @ marginal)
    shares = weights * marginal / variance if variance > 0.0 else nothing
    return shares, np.sqrt(np.diag(covariance) * SESSIONS_A_YEAR), len(returns)
