"""Where the return and the risk came from, and what rebalancing cost in turnover.

Between rebalances a holding is its target weight times its close over the close at the rebalance.
Only ratios of closes enter, so that a split that restates prices changes nothing here.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from autoindex.reports.content import (
    Contribution,
    Holding,
    Period,
    Rebalance,
    Turnover,
    WeightChange,
    YearlyTurnover,
)
from autoindex.reports.inputs import AssetFacts
from autoindex.reports.performance import SESSIONS_A_YEAR, number

NO_SECTOR: Final = "Not classified"
SHORTEST_RISK: Final = 60
_UNCHANGED: Final = 5e-5


def name_of(symbol: str, assets: Mapping[str, AssetFacts]) -> str:
    """The constituent's name, or its symbol."""
    return assets[symbol].name if symbol in assets else symbol


def sector_of(symbol: str, assets: Mapping[str, AssetFacts]) -> str:
    """The constituent's sector, or words for having none."""
    return (assets[symbol].sector if symbol in assets else None) or NO_SECTOR


def drifted(
    target: pd.Series, closes: pd.DataFrame, rebalance: pd.Timestamp, session: pd.Timestamp
) -> pd.Series | None:
    """Weights at `session` of what was bought at `rebalance`; None where a close is missing."""
    held = target[target > 0]
    if rebalance not in closes.index or session not in closes.index:
        return None
    if not held.index.isin(closes.columns).all():
        return None
    values = held * closes.loc[session, held.index] / closes.loc[rebalance, held.index]
    return None if values.isna().any() else values / values.sum()


def contributions(
    levels: pd.Series,
    weights: pd.DataFrame,
    closes: pd.DataFrame,
    period: Period,
    assets: Mapping[str, AssetFacts],
) -> tuple[Contribution, ...]:
    """Each constituent's part in the period's return, largest first; empty where closes lack.

    On each session a constituent adds weight at the close before × its return × the level before,
    in points of the index; the points over the level at the base add up to the period's return.
    """
    points = pd.Series(dtype=np.float64)
    base, last = pd.Timestamp(period.base), pd.Timestamp(period.last)
    for start, end in _stretches(weights.index, levels.index, base, last):
        target = weights.loc[weights.index[weights.index <= start][-1]]
        before = drifted(target, closes, _decided(weights.index, start), start)
        if before is None:
            return ()
        prices = closes.loc[[start, end], before.index]
        grown = before * (prices.iloc[1] / prices.iloc[0] - 1.0) * levels[start]
        if grown.isna().any():
            return ()
        points = points.add(grown, fill_value=0.0)
    parts = (points / levels[base]).sort_values(ascending=False, kind="stable")
    return tuple(
        Contribution(
            symbol=symbol,
            name=name_of(symbol, assets),
            price_return=number(closes.at[last, symbol] / closes.at[base, symbol] - 1.0),
            contribution=float(part),
        )
        for symbol, part in parts.items()
    )


def _decided(rebalances: pd.DatetimeIndex, session: pd.Timestamp) -> pd.Timestamp:
    decided: pd.Timestamp = rebalances[rebalances.searchsorted(session, side="right") - 1]
    return decided


def _stretches(
    rebalances: pd.DatetimeIndex,
    sessions: pd.DatetimeIndex,
    base: pd.Timestamp,
    last: pd.Timestamp,
) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """From `base` to `last`, cut at each rebalance in between."""
    if not len(rebalances) or rebalances[0] > base:
        return []
    inside = rebalances[(rebalances > base) & (rebalances < last)].intersection(sessions)
    cuts = [base, *inside, last]
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def holdings(
    inputs_weights: pd.DataFrame,
    units: pd.DataFrame,
    closes: pd.DataFrame,
    session: pd.Timestamp,
    assets: Mapping[str, AssetFacts],
) -> tuple[tuple[Holding, ...], int | None]:
    """What the index holds at `session`, heaviest first, and the sessions behind its risk figures.

    Nothing where a close is missing. The risk figures are None below 60 common sessions.
    """
    decided = _decided(inputs_weights.index, session)
    target = inputs_weights.loc[decided].fillna(0.0)
    current = drifted(target, closes, decided, session)
    if current is None:
        return (), None
    shares, volatility, used = risk(current, closes.loc[:session])
    behind = units.loc[decided] if decided in units.index else pd.Series(dtype=np.float64)
    rows = [
        Holding(
            symbol=symbol,
            name=name_of(symbol, assets),
            sector=sector_of(symbol, assets),
            weight=float(weight),
            target_weight=float(target[symbol]),
            units=number(behind.get(symbol, np.nan)),
            close=float(closes.at[session, symbol]),
            annual_volatility=None if used is None else number(volatility[symbol]),
            risk_contribution=None if used is None else number(shares[symbol]),
        )
        for symbol, weight in current.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.weight, row.symbol))), used


def risk(weights: pd.Series, closes: pd.DataFrame) -> tuple[pd.Series, pd.Series, int | None]:
    """Share of variance and annual volatility by constituent, over up to 252 common sessions.

    A share is w·(Σw) / w'Σw with the sample covariance Σ. None sessions where there are under 60.
    """
    window = closes[weights.index].tail(SESSIONS_A_YEAR + 1)
    returns = window.pct_change(fill_method=None).iloc[1:].dropna()
    if len(returns) < SHORTEST_RISK:
        return weights, weights, None
    covariance = returns.cov()
    marginal = covariance @ weights
    shares = weights * marginal / float(weights @ marginal)
    variance = pd.Series(np.diag(covariance), weights.index)
    return shares, np.sqrt(variance * SESSIONS_A_YEAR), len(returns)


def turnovers(weights: pd.DataFrame, closes: pd.DataFrame) -> tuple[Turnover, ...]:
    """One-way turnover of each rebalance after the first; those without closes are left out."""
    rows = []
    for before, after in zip(weights.index[:-1], weights.index[1:], strict=True):
        changes = _changes(weights, closes, before, after)
        if changes is not None:
            rows.append(
                Turnover(session=after.date(), turnover=float(changes["change"].abs().sum() / 2))
            )
    return tuple(rows)


def _changes(
    weights: pd.DataFrame, closes: pd.DataFrame, before: pd.Timestamp, after: pd.Timestamp
) -> pd.DataFrame | None:
    held = drifted(weights.loc[before], closes, before, after)
    if held is None:
        return None
    target = weights.loc[after].fillna(0.0)
    target = target[target > 0]
    frame = pd.DataFrame({"before": held, "after": target}).fillna(0.0)
    return frame.assign(change=frame["after"] - frame["before"])


def last_rebalance(
    weights: pd.DataFrame, closes: pd.DataFrame, assets: Mapping[str, AssetFacts]
) -> Rebalance | None:
    """What the newest rebalance changed, largest change first; None before the second one."""
    if len(weights.index) < 2:
        return None
    changes = _changes(weights, closes, weights.index[-2], weights.index[-1])
    if changes is None:
        return None
    changes = changes.sort_index().sort_values("change", key=lambda c: -c.abs(), kind="stable")
    return Rebalance(
        session=weights.index[-1].date(),
        turnover=float(changes["change"].abs().sum() / 2),
        entered=tuple(sorted(changes.index[changes["before"] == 0])),
        left=tuple(sorted(changes.index[changes["after"] == 0])),
        changes=tuple(
            WeightChange(
                symbol=symbol,
                name=name_of(symbol, assets),
                before=float(row["before"]),
                after=float(row["after"]),
                change=float(row["change"]),
            )
            for symbol, row in changes.iterrows()
            if abs(row["change"]) >= _UNCHANGED
        ),
    )


def by_year(rows: tuple[Turnover, ...]) -> tuple[YearlyTurnover, ...]:
    """Turnover added up by calendar year, oldest first."""
    frame = pd.DataFrame([(row.session.year, row.turnover) for row in rows], columns=["y", "t"])
    grouped = frame.groupby("y")["t"].agg(["sum", "count"])
    return tuple(
        YearlyTurnover(year=int(year), turnover=float(row["sum"]), rebalances=int(row["count"]))
        for year, row in grouped.iterrows()
    )
