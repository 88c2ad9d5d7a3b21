"""Equal risk contribution, beside ffn, and covariances that make it hard."""

import ffn
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autoindex.index import risk_parity
from tests.index.markets import decide, random_closes

Matrix = NDArray[np.float64]


def contributions(weights: Matrix, covariance: Matrix) -> Matrix:
    risk = weights * (covariance @ weights)
    result: Matrix = risk / risk.sum()
    return result


@pytest.mark.parametrize("session", [200, 1_000, 2_500, 4_700, 6_000, 8_312])
def test_ffn_gives_the_same_weights(closes: pd.DataFrame, session: int) -> None:
    returns = closes.pct_change().iloc[session - 59 : session + 1]
    expected = ffn.calc_erc_weights(
        returns, covar_method="standard", maximum_iterations=1_000, tolerance=1e-28
    )
    ours = risk_parity.weights(decide(closes.iloc[: session + 1]))[0]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 90))
@settings(max_examples=40, deadline=None)
def test_every_stock_contributes_the_same_risk(seed: int, symbols: int) -> None:
    closes = random_closes(seed, symbols, length=61)
    weights = risk_parity.weights(decide(closes))[0]
    covariance = risk_parity.covariance(closes.pct_change().iloc[1:].to_numpy())
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(contributions(weights, covariance), 1 / symbols, rtol=1e-8)


def test_two_stocks_are_weighted_by_inverse_volatility() -> None:
    """With two the correlation cancels: 1 / volatility (Maillard, Roncalli, Teïletche, 2010)."""
    covariance = np.array([[0.04, -0.012], [-0.012, 0.01]])
    weights = risk_parity.equal_contribution(covariance)
    np.testing.assert_allclose(weights, [1 / 3, 2 / 3], rtol=1e-11)


def test_a_regular_covariance_is_the_sample_covariance() -> None:
    returns = np.random.default_rng(1).normal(0, 0.01, (60, 12))
    np.testing.assert_array_equal(
        risk_parity.covariance(returns), np.cov(returns, rowvar=False, ddof=1)
    )


def test_a_stock_listed_twice_makes_the_covariance_singular() -> None:
    walk = random_closes(2, 3, length=61)
    twice = walk.assign(T=walk["S00"] * 7)
    returns = twice.pct_change().iloc[1:].to_numpy()
    sample, shrunk = np.cov(returns, rowvar=False, ddof=1), risk_parity.covariance(returns)
    np.testing.assert_allclose(np.diag(shrunk), np.diag(sample), rtol=1e-14)
    np.testing.assert_allclose(shrunk[0, 1:], 0.99 * sample[0, 1:], rtol=1e-14)
    weights = risk_parity.weights(decide(twice))[0]
    assert weights[0] == pytest.approx(weights[3], rel=1e-9)


def test_two_stocks_that_cancel_each_other_have_no_risk_to_share() -> None:
    """One return is the other's negative: half and half has no risk at all, and is the answer."""
    returns = np.random.default_rng(3).normal(0, 0.01, 60)
    closes = np.column_stack(
        [np.cumprod(1 + np.r_[0, sign * returns]) for sign in (1, -1)] + [np.ones(61) * 5]
    )
    weights = risk_parity.weights(decide(closes))[0]
    np.testing.assert_allclose(weights, [0.5, 0.5, 0], atol=1e-9)


def test_what_stands_still_gets_no_weight_and_all_the_same_where_nothing_moves() -> None:
    closes = np.full((61, 3), 3.322)
    assert risk_parity.weights(decide(closes))[0] == pytest.approx([1 / 3] * 3)
    closes[::2, 1] *= 1.01
    assert risk_parity.weights(decide(closes))[0].tolist() == [0, 1, 0]
