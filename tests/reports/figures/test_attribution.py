"""Contributions to return and to risk: by hand, and as properties."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoindex.reports.content import Period
from autoindex.reports.figures import attribution
from autoindex.reports.figures.history import History
from autoindex.reports.figures.portfolio import Portfolio

SESSIONS = pd.DatetimeIndex(["2022-11-30", "2022-12-01", "2022-12-02", "2022-12-05"])


def _period(base: int = 0) -> Period:
    return Period(
        label="December 2022",
        base=SESSIONS[base].date(),
        first=SESSIONS[base + 1].date(),
        last=SESSIONS[-1].date(),
        sessions=len(SESSIONS) - 1 - base,
        complete=False,
    )


def _index(closes: pd.DataFrame, weights: pd.DataFrame) -> pd.Series:
    """Levels by brute force: weights decided at a close earn their first return after it."""
    level, held = [100.0], weights.iloc[0] * 100.0 / closes.iloc[0]
    for session in closes.index[1:]:
        level.append(float((held * closes.loc[session]).sum()))
        if session in weights.index:
            held = weights.loc[session] * level[-1] / closes.loc[session]
    return pd.Series(level, closes.index)


def test_by_hand_across_a_rebalance() -> None:
    closes = pd.DataFrame({"A": [10, 11, 11, 22], "B": [20, 20, 10, 10]}, SESSIONS, dtype=float)
    weights = pd.DataFrame({"A": [0.5, 0.2], "B": [0.5, 0.8]}, SESSIONS[[0, 2]])
    # 100 -> 50 in each: A 55, B 50 -> A 55, B 25: 80. Rebalanced: A 16, B 64 -> A 32, B 64: 96.
    levels = _index(closes, weights)
    assert levels.tolist() == pytest.approx([100, 105, 80, 96])
    history = History.align(levels, None)
    portfolio = Portfolio.align(weights, closes, SESSIONS[-1])
    parts = attribution.contributions(history, portfolio, _period(), {})
    assert {part.symbol: part.contribution for part in parts} == pytest.approx(
        {"A": (5 + 16) / 100, "B": -25 / 100}
    )
    assert [part.symbol for part in parts] == ["A", "B"]
    assert {part.symbol: part.price_return for part in parts} == pytest.approx(
        {"A": 1.2, "B": -0.5}
    )


closes_of_three = st.lists(
    st.tuples(*[st.floats(1.0, 100.0)] * 3), min_size=len(SESSIONS), max_size=len(SESSIONS)
)
weights_of_three = st.tuples(*[st.floats(0.01, 1.0)] * 3)


@given(closes_of_three, weights_of_three, weights_of_three, st.integers(1, 2))
def test_contributions_add_up_to_the_period_return(
    prices: list[tuple[float, ...]],
    first: tuple[float, ...],
    second: tuple[float, ...],
    rebalance: int,
) -> None:
    closes = pd.DataFrame(prices, SESSIONS, ["A", "B", "C"])
    weights = pd.DataFrame([first, second], SESSIONS[[0, rebalance]], ["A", "B", "C"])
    weights = weights.div(weights.sum(axis=1), axis=0)
    levels = _index(closes, weights)
    history = History.align(levels, None)
    portfolio = Portfolio.align(weights, closes, SESSIONS[-1])
    parts = attribution.contributions(history, portfolio, _period(), {})
    expected = levels.iloc[-1] / levels.iloc[0] - 1
    assert sum(part.contribution for part in parts) == pytest.approx(expected, abs=1e-9)


def test_a_split_that_restates_prices_changes_nothing() -> None:
    closes = pd.DataFrame({"A": [10, 11, 11, 22], "B": [20, 20, 10, 10]}, SESSIONS, dtype=float)
    weights = pd.DataFrame({"A": [0.5], "B": [0.5]}, SESSIONS[:1])
    history = History.align(_index(closes, weights), None)
    whole = Portfolio.align(weights, closes, SESSIONS[-1])
    split = Portfolio.align(weights, closes.assign(A=closes["A"] / 20), SESSIONS[-1])
    before = attribution.contributions(history, whole, _period(), {})
    after = attribution.contributions(history, split, _period(), {})
    assert [part.contribution for part in after] == pytest.approx(
        [part.contribution for part in before]
    )


def test_closes_that_do_not_reach_back_give_nothing() -> None:
    closes = pd.DataFrame({"A": [11.0, 22.0]}, SESSIONS[2:])
    weights = pd.DataFrame({"A": [1.0]}, SESSIONS[:1])
    levels = pd.Series([100.0, 110, 110, 220], SESSIONS)
    portfolio = Portfolio.align(weights, closes, SESSIONS[-1])
    assert attribution.contributions(History.align(levels, None), portfolio, _period(), {}) == ()
    assert attribution.holdings(portfolio, pd.DataFrame(), SESSIONS[-1], {}) == ((), None)


def test_holdings_drift_with_prices() -> None:
    closes = pd.DataFrame({"A": [10, 11, 11, 30], "B": [20, 20, 10, 20]}, SESSIONS, dtype=float)
    weights = pd.DataFrame({"A": [0.5], "B": [0.5]}, SESSIONS[:1])
    units = pd.DataFrame({"A": [5.0], "B": [2.5]}, SESSIONS[:1])
    portfolio = Portfolio.align(weights, closes, SESSIONS[-1])
    rows, sessions = attribution.holdings(portfolio, units, SESSIONS[-1], {})
    # 5 at 30 and 2.5 at 20: 150 and 50.
    assert [(row.symbol, row.weight, row.units) for row in rows] == [
        ("A", 0.75, 5.0),
        ("B", 0.25, 2.5),
    ]
    assert rows[0].target_weight == 0.5
    assert (rows[0].sector, rows[0].risk_contribution, sessions) == ("Not classified", None, None)


def test_risk_of_two_uncorrelated_assets_by_hand() -> None:
    # Returns +-2% and +-1% in all four combinations: covariance is 0, variances are as 4 to 1.
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 20, dtype=float)
    returns = signs * [0.02, 0.01]
    closes = 100 * np.cumprod(np.vstack([[1, 1], 1 + returns]), axis=0)
    shares, volatility, used = attribution.risk(np.array([0.5, 0.5]), closes)
    assert used == 80
    assert shares == pytest.approx([0.8, 0.2])
    assert volatility == pytest.approx(np.array([0.02, 0.01]) * np.sqrt(252 * 80 / 79))


def test_shares_of_risk_add_up_to_one(closes: pd.DataFrame) -> None:
    weights = np.full(20, 0.05)
    shares, _, used = attribution.risk(weights, closes.to_numpy())
    assert (float(shares.sum()), used) == (pytest.approx(1.0), 252)


def test_names_fall_back_on_the_symbol() -> None:
    assert attribution.name_of("XYZ", {}) == "XYZ"
    assert date(2022, 12, 5) == SESSIONS[-1].date()
