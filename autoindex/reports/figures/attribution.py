"""Attribution: each constituent's contribution to the period's return, and to today's risk."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from autoindex import labels
from autoindex.index.metrics import FEWEST_FOR_RISK
from autoindex.index.performance_measures import SESSIONS_A_YEAR
from autoindex.reports.content import Contribution, Holding, Number, Period
from autoindex.reports.figures.history import Floats, History, number
from autoindex.reports.figures.portfolio import Portfolio
from autoindex.reports.inputs import AssetFacts

NO_SECTOR: Final = "Not classified"


def name_of(symbol: str, assets: Mapping[str, AssetFacts]) -> str:
    """The constituent's name as a report can show it, or its symbol."""
    name = assets[symbol].name if symbol in assets else ""
    return labels.shown(name, labels.LONGEST_NAME) or symbol


def sector_of(symbol: str, assets: Mapping[str, AssetFacts]) -> str:
    """The constituent's sector as a report can show it, or `Not classified`."""
    sector = assets[symbol].sector if symbol in assets else None
    return labels.shown(sector or "", labels.LONGEST_SECTOR) or NO_SECTOR


def contributions(
    history: History, portfolio: Portfolio, period: Period, assets: Mapping[str, AssetFacts]
) -> tuple[Contribution, ...]:
    """Each constituent's contribution to the period's return, a fraction, largest first.

    Between two rebalances, a constituent adds weight × return × level in index points. The points
    over the level at the base are the contributions, which add up to the period's return. Empty
    where a close of a holding is missing at a rebalance, or at an end of the period.
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
    """The holdings at `session`, largest weight first, and the sessions behind their risk figures.

    Empty where a close of a holding is missing. The risk figures, and their sessions, are None
    below 60 common sessions. Volatility is annual; weights and risk contributions are fractions
    that sum to 1.
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
    """Share of variance and annual volatility by constituent, over up to 252 common returns.

    `closes` are sessions × constituents; a session with a missing close is left out.

    A share is w·(Σw) / w'Σw with the sample covariance Σ (Maillard, Roncalli and Teïletche, 2010,
    "The Properties of Equally Weighted Risk Contribution Portfolios"). Below 60 returns, everything
    is NaN and the number of returns None; shares are also NaN where the variance is zero.
    """
    window = closes[-(SESSIONS_A_YEAR + 1) :]
    returns = window[1:] / window[:-1] - 1.0
    returns = returns[np.isfinite(returns).all(axis=1)]
    nothing = np.full(len(weights), np.nan)
    if len(returns) < FEWEST_FOR_RISK:
        return nothing, nothing, None
    covariance = np.atleast_2d(np.cov(returns, rowvar=False, ddof=1))
    marginal = covariance @ weights
    variance = float(weights @ marginal)
    shares = weights * marginal / variance if variance > 0.0 else nothing
    return shares, np.sqrt(np.diag(covariance) * SESSIONS_A_YEAR), len(returns)
