"""Late listings, gaps and delistings: who may be weighted, and what the level makes of them."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoindex.index.compute import lookback_sessions
from autoindex.index.eligibility import Eligibility
from autoindex.requests import Frequency, Strategy
from tests.index.markets import closes_of, random_closes, run

LENGTH = 140


def without(closes: pd.DataFrame, symbol: str, start: int, end: int | None) -> pd.DataFrame:
    spoilt = closes.copy()
    spoilt.iloc[start:end, closes.columns.get_loc(symbol)] = np.nan
    return spoilt


def eligible(column: list[float], lookback: int) -> list[bool]:
    return Eligibility.read(np.array(column)[:, None], lookback).eligible[:, 0].tolist()


NAN = float("nan")


@pytest.mark.parametrize(
    ("column", "lookback", "expected"),
    [
        ([1, 2, 3], 1, [True, True, True]),
        ([1, 2, 3], 3, [False, False, True]),
        ([NAN, 2, 3, 4], 1, [False, True, True, True]),
        ([NAN, 2, 3, 4], 2, [False, False, True, True]),
        # Late and with a gap: nothing before its first bar.
        ([NAN, 2, NAN, 4], 1, [False, True, True, True]),
        # Five sessions without a bar are carried over, and count.
        ([1, *[NAN] * 5, 7], 7, [False] * 6 + [True]),
        ([1, *[NAN] * 5, 7], 1, [True] * 7),
        # Six are not: out at the sixth, back with a new lookback.
        ([1, *[NAN] * 6, 8, 9], 1, [True] * 6 + [False, True, True]),
        ([1, *[NAN] * 6, 8, 9], 2, [False] + [True] * 5 + [False, False, True]),
        ([NAN] * 3, 1, [False] * 3),
    ],
)
def test_who_is_eligible(column: list[float], lookback: int, expected: list[bool]) -> None:
    assert eligible(column, lookback) == expected


def test_closes_are_carried_forward_and_counted() -> None:
    column = np.array([NAN, 2, NAN, NAN, 5, NAN])
    history = Eligibility.read(np.column_stack([column, np.arange(6.0)]), 1)
    carried = history.closes
    np.testing.assert_array_equal(carried[:, 0], [NAN, 2, 2, 2, 5, 5])
    np.testing.assert_array_equal(carried[:, 1], np.arange(6.0))
    assert history.gaps == 3


@pytest.mark.parametrize(
    ("column", "gaps", "ended"),
    [
        ([NAN, 2, NAN, NAN, 5, 6], 2, {}),
        # Five sessions without a bar may be a gap. A sixth ends the symbol, and none is carried.
        ([1, *[NAN] * 5], 5, {}),
        ([1, *[NAN] * 6], 0, {0: 0}),
        ([1, NAN, 3, *[NAN] * 700], 1, {0: 2}),
        # Only the first five of a longer gap are carried.
        ([1, *[NAN] * 9, 2], 5, {}),
        ([NAN] * 3, 0, {0: -1}),
    ],
)
def test_only_bars_within_a_gap_count_as_carried(
    column: list[float], gaps: int, ended: dict[int, int]
) -> None:
    alone = Eligibility.read(np.array(column)[:, None], 1)
    assert (alone.gaps, alone.ended) == (gaps, ended)
    spoilt = np.column_stack([np.arange(1.0, len(column) + 1), column])
    beside = Eligibility.read(spoilt, 1)
    assert (beside.gaps, beside.ended) == (gaps, {number + 1: row for number, row in ended.items()})


def test_the_matrix_is_not_copied_where_nothing_is_missing() -> None:
    closes = random_closes(1).to_numpy()
    assert np.shares_memory(Eligibility.read(closes, 1).closes, closes)


def test_many_spoilt_symbols_are_each_read_by_themselves() -> None:
    random = np.random.default_rng(1)
    closes = random.uniform(1, 9, (40, 200))
    closes[random.random(closes.shape) < 0.3] = np.nan
    whole = Eligibility.read(closes, 10)
    for column in range(0, 200, 7):
        alone = Eligibility.read(closes[:, [column]], 10)
        np.testing.assert_array_equal(whole.closes[:, [column]], alone.closes)
        np.testing.assert_array_equal(whole.eligible[:, [column]], alone.eligible)


@given(
    st.integers(0, 2**32 - 1),
    st.sets(st.integers(1, 319), max_size=6),
    st.floats(0.01, 0.99),
    st.integers(1, 20),
)
@settings(deadline=None)
def test_blocks_of_closes_are_read_as_the_whole_is(
    seed: int, cuts: set[int], missing: float, lookback: int
) -> None:
    random = np.random.default_rng(seed)
    closes = random.uniform(1, 9, (320, 6))
    closes[random.random(closes.shape) < missing] = np.nan
    closes[random.integers(320) :, 0] = np.nan
    closes[: random.integers(320), 1] = np.nan
    closes[:, 2] = 1.0
    given = closes.copy()
    whole, read = Eligibility.read(closes, lookback), None
    np.testing.assert_array_equal(whole.closes, pd.DataFrame(closes).ffill())
    for start, stop in pairwise([0, *sorted(cuts), 320]):
        read = Eligibility.read(closes[start:stop], lookback, read)
        np.testing.assert_array_equal(read.eligible, whole.eligible[start:stop])
        assert read.before == min(start, lookback - 1)
        np.testing.assert_array_equal(read.closes, whole.closes[start - read.before : stop])
    assert read is not None
    assert (read.gaps, read.ended) == (whole.gaps, whole.ended)
    np.testing.assert_array_equal(closes, given)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_late_listing_enters_with_its_first_full_lookback(strategy: Strategy) -> None:
    closes = random_closes(2, length=LENGTH)
    closes["S01"] = closes["S01"].to_numpy()[0] * 1.001 ** np.arange(LENGTH) * closes["S02"]
    series = run(without(closes, "S01", 0, 30), strategy, Frequency.DAILY)
    weights = series.weights["S01"]
    full = closes.index[30 + lookback_sessions(strategy) - 1]
    before = weights.index < full
    assert (weights[before] == 0).all()
    assert weights[full] > 0
    assert series.levels.notna().all()


@pytest.mark.parametrize("strategy", [Strategy.EQUAL_WEIGHT, Strategy.MARKET_CAP])
def test_a_late_listing_with_a_gap_is_not_weighted_before_its_first_bar(strategy: Strategy) -> None:
    closes = without(without(random_closes(3), "S01", 0, 3), "S01", 50, 52)
    series = run(closes, strategy, Frequency.DAILY)
    assert (series.weights["S01"].iloc[:3] == 0).all()
    assert series.levels.notna().all()


@pytest.mark.parametrize(("missing", "out"), [(5, False), (6, True)])
def test_a_gap_of_five_sessions_is_carried_and_a_sixth_takes_a_symbol_out(
    missing: int, out: bool
) -> None:
    start = 100
    closes = without(random_closes(4), "S01", start, start + missing)
    weights = run(closes, Strategy.INVERSE_VOLATILITY, Frequency.DAILY).weights["S01"]
    gone = weights.index[weights == 0]
    if out:
        # Out from the sixth session on; a new lookback would take longer than there are sessions.
        assert gone.equals(closes.index[start + 5 :])
    else:
        assert gone.empty


def test_what_is_delisted_keeps_its_last_price_until_the_next_rebalance() -> None:
    """100 buys 5 of A at 10 and 2.5 of B at 20, on 4 November; A's last price is 12, on the 12th.
    It is worth 60 until December's rebalance puts all into B. B rises by 1 a session.
    """
    closes = closes_of(22, A=[10] * 6 + [12] + [NAN] * 15, B=np.arange(20.0, 42))
    series = run(closes, Strategy.EQUAL_WEIGHT, Frequency.MONTHLY)
    december = int(closes.index.searchsorted("2019-12-02"))
    expected = 60 + 2.5 * np.arange(20.0, 42)[7 : december + 1]
    np.testing.assert_allclose(series.levels.iloc[7 : december + 1], expected, rtol=1e-14)
    assert series.weights.loc["2019-12-02"].to_list() == [0, 1]
    b = closes["B"].to_numpy()
    np.testing.assert_allclose(
        series.levels.iloc[-1], expected[-1] * b[-1] / b[december], rtol=1e-14
    )
    assert series.notes == ("A has no bar since 2019-11-12",)
