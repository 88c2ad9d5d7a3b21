"""Inverse volatility, beside ffn, and prices that stand still."""

import ffn
import numpy as np
import pandas as pd
import pytest

from autoindex.index import volatility
from autoindex.requests import Frequency, Strategy
from tests.index.markets import NO_SHARES, decide, run


@pytest.mark.parametrize("session", [60, 61, 400, 1_500, 4_000, 8_312])
def test_ffn_gives_the_same_weights(closes: pd.DataFrame, session: int) -> None:
    window = closes.iloc[: session + 1]
    expected = ffn.calc_inv_vol_weights(window.pct_change().iloc[-60:]).fillna(0)
    ours = volatility.weights(decide(window))[0]
    np.testing.assert_allclose(ours, expected, rtol=1e-10)


@pytest.mark.parametrize("session", ["1990-03-30", "2008-10-15", "2022-12-28"])
def test_pandas_gives_the_same_volatility(closes: pd.DataFrame, session: str) -> None:
    window = closes[:session]
    expected = window.pct_change().iloc[-60:].std(ddof=1)
    ours = volatility.volatility(decide(window))[0]
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-15)


def test_rrc_stood_still_in_1990_and_gets_no_weight(closes: pd.DataFrame) -> None:
    """Range Resources' first 69 closes are one price: the first nine decisions find it still."""
    window = closes["1990-01-02":"1990-06-29"]
    still = window["RRC"].pct_change().rolling(60).std() == 0
    assert still.sum() == 9
    for strategy in (Strategy.INVERSE_VOLATILITY, Strategy.RISK_PARITY):
        weights = run(window, strategy, Frequency.DAILY, shares=NO_SHARES).weights["RRC"]
        assert (weights[still[still].index] == 0).all()
    rrc = window.columns.get_loc("RRC")
    assert volatility.weights(decide(window))[0, rrc] > 0


@pytest.mark.parametrize("growth", [1.0, 1.01, 0.97])
def test_a_price_that_stands_or_grows_evenly_gets_no_weight(growth: float) -> None:
    random = np.random.default_rng(1)
    moving = 50 * np.exp(np.cumsum(random.normal(0, 0.01, (61, 2)), axis=0))
    even = 20 * growth ** np.arange(61.0)
    weights = volatility.weights(decide(np.column_stack([even, moving])))[0]
    assert weights[0] == 0
    assert weights.sum() == pytest.approx(1)


def test_where_nothing_moves_all_get_the_same() -> None:
    weights = volatility.weights(decide(np.full((61, 4), 3.322)))
    assert weights[0].tolist() == [0.25] * 4


def test_window_sums_depend_on_their_window_alone() -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=(300, 3))
    ends = np.array([60, 61, 100, 300])
    for length in (1, 2, 7, 60):
        sums = volatility.window_sums(values, ends, length)
        for row, end in zip(sums, ends.tolist(), strict=True):
            window = values[end - length : end]
            np.testing.assert_allclose(row, window.sum(axis=0), rtol=1e-12, atol=1e-14)
            alone = volatility.window_sums(window, np.array([length]), length)
            np.testing.assert_array_equal(row, alone[0])


def test_what_was_not_listed_before_the_window_is_known_in_it() -> None:
    values = np.arange(10.0)[:, None].copy()
    values[:4] = np.nan
    sums = volatility.window_sums(values, np.array([6, 7, 10]), 3)[:, 0]
    np.testing.assert_array_equal(sums, [np.nan, 4 + 5 + 6, 7 + 8 + 9])
