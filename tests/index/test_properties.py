"""What holds for every strategy, frequency and market."""

import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autoindex import sessions
from autoindex.index.compute import Base, Computation, IndexSeries, lookback_sessions
from autoindex.index.eligibility import lookbacks
from autoindex.index.limits import cap_for, floors_for
from autoindex.requests import Frequency, Strategy
from tests.index.markets import closes_of, counts_of, random_closes, run, shares_of, spoilt

every_strategy = pytest.mark.parametrize("strategy", Strategy)
seeds = st.integers(0, 2**32 - 1)


def fingerprint(series: IndexSeries) -> str:
    whole = hashlib.sha256()
    for part in (series.levels, series.weights, series.units):
        whole.update(part.to_numpy().tobytes())
        whole.update(part.index.to_numpy().tobytes())
    return whole.hexdigest()


@given(st.sampled_from(Strategy), st.sampled_from(Frequency), seeds, st.integers(1, 130))
@settings(max_examples=100, deadline=None)
def test_weights_sum_to_one_within_cap_and_floor(
    strategy: Strategy, frequency: Frequency, seed: int, symbols: int
) -> None:
    series = run(spoilt(random_closes(seed, symbols), seed), strategy, frequency)
    for weights in series.weights.to_numpy():
        held = weights[weights > 0]
        assert weights.min() >= 0
        assert abs(weights.sum() - 1) < 1e-12
        assert held.max() <= cap_for(len(held)) * (1 + 1e-11)
        assert held.min() >= floors_for(np.array(len(held))) * (1 - 1e-11)
    assert np.isfinite(series.levels).all()
    assert (series.levels > 0).all()


@given(
    st.sampled_from([Strategy.MARKET_CAP, Strategy.COMPOSITE]),
    st.sampled_from(Frequency),
    seeds,
    st.sets(st.integers(0, 3), min_size=1),
)
@settings(max_examples=100, deadline=None)
def test_a_decision_is_made_exactly_where_a_stock_with_shares_can_be_weighted(
    strategy: Strategy, frequency: Frequency, seed: int, known: set[int]
) -> None:
    closes = spoilt(random_closes(seed, 4), seed)
    shares = shares_of(closes).iloc[sorted(known)]
    lookback = lookback_sessions(strategy)
    able = (lookbacks(closes.to_numpy())[:, sorted(known)] >= lookback).any(axis=1)
    assume(able.any())
    series = run(closes, strategy, frequency, shares=shares)
    start = closes.index[able.argmax()]
    due = sessions.rebalances(closes.index, frequency)
    expected = {start, *(session for session in due if session > start)}
    kept = {note[:10] for note in series.notes if note.endswith("the holdings are kept")}
    undecided = {session for session in expected if not able[closes.index.get_loc(session)]}
    assert kept == {f"{session:%Y-%m-%d}" for session in undecided}
    assert set(series.weights.index) == expected - undecided
    assert np.isfinite(series.levels).all()
    np.testing.assert_allclose(series.weights.sum(axis=1), 1, rtol=1e-12)


@given(
    st.sampled_from(Strategy),
    st.sampled_from(Frequency),
    seeds,
    st.sets(st.integers(1, 139), max_size=5),
    st.integers(0, 80),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_blocks_of_sessions_change_no_bit(
    strategy: Strategy, frequency: Frequency, seed: int, cuts: set[int], begin: int, resumed: bool
) -> None:
    closes = spoilt(random_closes(seed, 6), seed)
    day = closes.index[begin]
    known: dict[str, Any] = {"start": day.date()}
    if resumed:
        held = closes.iloc[: begin + 1].ffill().iloc[-1].dropna()
        known = {"base": Base(day, 80.0, held * 0.001, is_corrected=seed % 2 == 0)}
        assume(len(held))
    whole = run(closes, strategy, frequency, **known)
    computation = Computation(
        closes.columns,
        strategy=strategy,
        frequency=frequency,
        shares=counts_of(shares_of(closes)),
        **known,
    )
    parts = [
        computation.extend(closes.iloc[first:last])
        for first, last in pairwise([0, *sorted(cuts), len(closes)])
    ]
    for name in ("levels", "weights", "units"):
        joined = pd.concat([getattr(part, name) for part in parts])
        assert joined.index.equals(getattr(whole, name).index)
        np.testing.assert_array_equal(joined, getattr(whole, name))
    assert parts[-1].current_weights.equals(whole.current_weights)
    assert computation.finish() == whole.notes


@given(st.sampled_from(Strategy), seeds, st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_order_of_symbols_does_not_matter(
    strategy: Strategy, seed: int, random: Random
) -> None:
    closes = spoilt(random_closes(seed), seed)
    shares = shares_of(closes)
    order = list(closes.columns)
    random.shuffle(order)
    one = run(closes, strategy, Frequency.WEEKLY, shares=shares)
    two = run(closes[order], strategy, Frequency.WEEKLY, shares=shares[order[::-1]])
    assert list(two.weights.columns) == sorted(order)
    assert fingerprint(one) == fingerprint(two)


@given(st.sampled_from(Strategy), seeds, st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=5))
@settings(max_examples=40, deadline=None)
def test_the_scale_of_prices_does_not_matter(
    strategy: Strategy, seed: int, scales: list[float]
) -> None:
    """A split, or another currency unit: prices by a factor, shares by its inverse."""
    closes = random_closes(seed)
    shares = shares_of(closes)
    one = run(closes, strategy, Frequency.WEEKLY, shares=shares)
    two = run(closes * scales, strategy, Frequency.WEEKLY, shares=shares / scales)
    np.testing.assert_allclose(two.weights, one.weights, rtol=0, atol=1e-9)
    np.testing.assert_allclose(two.levels, one.levels, rtol=1e-9)


@every_strategy
def test_a_portfolio_of_one_is_that_stock(strategy: Strategy) -> None:
    closes = random_closes(3, symbols=1)
    series = run(closes, strategy, Frequency.WEEKLY)
    stock = closes["S00"].iloc[lookback_sessions(strategy) - 1 :]
    assert (series.weights == 1).all(axis=None)
    np.testing.assert_allclose(series.levels, 100 * stock / stock.iloc[0], rtol=1e-12)


@every_strategy
def test_the_first_level_is_100_on_the_first_full_lookback(strategy: Strategy) -> None:
    closes = random_closes(4)
    first = closes.index[{"momentum": 20, "equal_weight": 0, "market_cap": 0}.get(strategy, 60)]
    series = run(closes, strategy, Frequency.QUARTERLY)
    assert series.levels.index[0] == series.weights.index[0] == first
    assert series.levels.iloc[0] == 100


@every_strategy
def test_identical_stocks_are_held_alike(strategy: Strategy) -> None:
    walk = random_closes(5, symbols=1)["S00"].to_numpy()
    closes = closes_of(140, A=walk, B=walk, C=walk, D=walk)
    series = run(closes, strategy, Frequency.WEEKLY, shares=pd.Series(1e6, closes.columns))
    np.testing.assert_allclose(series.weights, 0.25, rtol=1e-9)


@every_strategy
def test_the_level_earns_what_the_weights_say(strategy: Strategy) -> None:
    """With daily rebalances the index's return is the weighted mean of the next returns."""
    closes = random_closes(6)
    series = run(closes, strategy, Frequency.DAILY)
    returns = closes.pct_change().loc[series.levels.index[1] :].to_numpy()
    expected = (series.weights.to_numpy()[:-1] * returns).sum(axis=1)
    np.testing.assert_allclose(series.levels.pct_change().iloc[1:], expected, atol=1e-13)


@every_strategy
def test_units_are_what_the_weights_buy(strategy: Strategy) -> None:
    closes = random_closes(7)
    series = run(closes, strategy, Frequency.MONTHLY)
    at = series.weights.index
    worth = series.units * closes.loc[at]
    np.testing.assert_allclose(
        worth, series.weights.mul(series.levels[at], axis=0), rtol=1e-12, atol=0
    )


def test_the_same_input_gives_identical_bytes_in_another_process() -> None:
    program = (
        "from tests.index.test_properties import everything; import sys; "
        "sys.stdout.write(everything())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == everything()


def everything() -> str:
    closes = spoilt(random_closes(8, symbols=70), 8)
    return "".join(fingerprint(run(closes, one, Frequency.WEEKLY)) for one in Strategy)
