"""Nothing that is decided or published knows a later price."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoindex.index.compute import IndexSeries
from autoindex.requests import Frequency, Strategy
from tests.index.markets import random_closes, run, spoilt

LENGTH = 140
seeds = st.integers(0, 2**32 - 1)


def assert_no_look_ahead(
    index_of: Callable[[pd.DataFrame], IndexSeries],
    closes: pd.DataFrame,
    other: pd.DataFrame,
    day: int,
) -> None:
    """Take the prices after a day from another market, and compare all that came before, bit for
    bit. Weights in force on a day were decided at the close of an earlier one: weights in force on
    `day` + 1 or before are those decided on `day` or before.
    """
    changed = closes.copy()
    changed.iloc[day + 1 :] = other.iloc[day + 1 :]
    before, after = index_of(closes), index_of(changed)
    known = closes.index[day]
    for name in ("levels", "weights", "units"):
        one, two = getattr(before, name)[:known], getattr(after, name)[:known]
        assert one.index.equals(two.index)
        np.testing.assert_array_equal(one, two)


@given(
    st.sampled_from(Strategy),
    st.sampled_from(Frequency),
    seeds,
    seeds,
    st.integers(0, LENGTH - 1),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_later_price_changes_no_earlier_weight_or_level(
    strategy: Strategy, frequency: Frequency, seed: int, other: int, day: int, hard: bool
) -> None:
    closes, changed = random_closes(seed), random_closes(other)
    if hard:
        closes, changed = spoilt(closes, seed), spoilt(changed, other)
    index_of = partial(run, strategy=strategy, frequency=frequency)
    assert_no_look_ahead(index_of, closes, changed, day)


@pytest.mark.parametrize("strategy", [one for one in Strategy if one != "equal_weight"])
def test_the_same_check_catches_weights_that_know_the_next_close(strategy: Strategy) -> None:
    def peeking(closes: pd.DataFrame) -> IndexSeries:
        tomorrow = closes.shift(-1).ffill()
        return run(tomorrow, strategy, Frequency.DAILY)

    with pytest.raises(AssertionError):
        assert_no_look_ahead(peeking, random_closes(1), random_closes(2), 100)


def test_a_price_changes_weights_from_its_own_close_on() -> None:
    """The other side of it: weights do follow the close they are decided at."""
    closes, other = random_closes(1), random_closes(2)
    changed = closes.copy()
    changed.iloc[100:] = other.iloc[100:]
    before, after = (
        run(one, Strategy.MOMENTUM, Frequency.DAILY).weights for one in (closes, changed)
    )
    differs = (before != after).any(axis=1).to_numpy()
    assert np.flatnonzero(differs)[0] == 100 - 20  # weights begin after 20 sessions
