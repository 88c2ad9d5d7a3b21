"""Which rows are valid. Real prices never fail; a slipped decimal always does."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoindex import sessions
from autoindex.market_data import parsing, validation
from sandbox import sample_prices

END = date(2022, 12, 28)


def served(closes: Sequence[float], end: date = END) -> parsing.Table:
    """Rows of consecutive sessions up to `end`, newest first, as the provider serves them."""
    days = sessions.between(date(1970, 1, 1), end)[-len(closes) :]
    values: list[Any] = [
        {"datetime": f"{day:%Y-%m-%d}", **dict.fromkeys(parsing.PRICES, repr(float(close)))}
        for day, close in zip(days, closes, strict=True)
    ]
    return parsing.table(values[::-1])[0]


def dropped(closes: Sequence[float]) -> list[float]:
    table = served(closes)
    valid, counted = validation.valid(table, END)
    gone = sorted(set(table["close"].tolist()) - set(valid["close"].tolist()))
    assert counted == (Counter(absurd=len(table) - len(valid)) if gone else Counter())
    return gone


def test_all_real_prices_are_sane() -> None:
    for listing in sample_prices.sample().values():
        values = [bar._asdict() | {"datetime": bar.day} for bar in listing.bars]
        table, unreadable = parsing.table(values)
        valid, counted = validation.valid(table, END)
        assert (len(valid), counted, unreadable) == (8313, Counter(), Counter())


def test_a_real_fall_of_more_than_half_is_kept() -> None:
    # AAPL around 2000-09-29, unadjusted closes: 53.50 to 25.75, -51.9 % in a day.
    closes = [61.05, 53.5, 52.19, 51.44, 53.5, 25.75, 24.25, 22.31, 23.62, 22.07]
    assert dropped(closes) == []
    # The same day as the newest there is: nothing after it to confirm it.
    assert dropped(closes[:6]) == []


@pytest.mark.parametrize("factor", [0.02, 0.05, 20, 100])
def test_a_jump_that_does_not_come_back_is_kept(factor: float) -> None:
    assert dropped([50.0] * 6 + [50.0 * factor] * 6) == []


@pytest.mark.parametrize("factor", [0.001, 0.01, 0.05, 20, 100, 1e6])
@pytest.mark.parametrize(("position", "length"), [(0, 1), (3, 2), (8, 1), (16, 2), (19, 1)])
def test_a_slipped_decimal_that_comes_back_is_dropped(
    factor: float, position: int, length: int
) -> None:
    closes = [50.0 + n / 8 for n in range(20)]
    bad = [close * factor for close in closes[position : position + length]]
    closes[position : position + length] = bad
    assert dropped(closes) == sorted(bad)


def test_a_jump_in_the_newest_bar_waits_for_the_next() -> None:
    assert dropped([50.0] * 6 + [1.0]) == [1.0]
    assert dropped([50.0] * 6 + [1.0, 1.1]) == []


@pytest.mark.parametrize("close", [1e-9, 1e13, 1e300])
def test_a_price_beyond_all_prices_is_dropped(close: float) -> None:
    assert dropped([close]) == [close]


@pytest.mark.parametrize("name", ["open", "high", "low"])
def test_a_price_far_off_its_own_close_is_dropped(name: str) -> None:
    table = served([50.0] * 5)
    table[name][2] = 5_000.0 if name != "low" else 0.5
    table["high"] = np.maximum(table["high"], table["open"])
    assert validation.valid(table, END)[1] == {"absurd": 1}


@pytest.mark.parametrize("name", ["open", "close"])
@pytest.mark.parametrize("price", [49.999, 50.001, 75.0])
def test_an_open_or_close_outside_its_own_range_is_no_bar(name: str, price: float) -> None:
    table = served([50.0] * 5)
    table[name][2] = price
    valid, counted = validation.valid(table, END)
    assert (len(valid), counted) == (4, {"out of range": 1})


def test_two_bars_of_a_session_that_differ_are_both_dropped() -> None:
    table = served([50.0, 51.0, 52.0])
    twice = np.concatenate([table, table[:1], table[1:2]])
    for name in parsing.PRICES:
        twice[name][3] = 52.001
    valid, counted = validation.valid(twice, END)
    assert (valid["close"].tolist(), counted) == ([50.0, 51.0], {"conflicting": 2, "duplicate": 1})


def test_of_equal_bars_the_one_with_a_volume_is_taken() -> None:
    table = np.concatenate([served([50.0])] * 2)
    for volumes in ([7, parsing.NO_VOLUME], [parsing.NO_VOLUME, 7]):
        table["volume"] = volumes
        assert validation.valid(table, END)[0]["volume"].tolist() == [7]


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_makes_no_difference(random: Random) -> None:
    table = served([50.0 + n for n in range(12)])
    table["close"][3], table["session"][5] = 0.0, table["session"][6]
    order = list(range(len(table)))
    random.shuffle(order)
    for rows in (table[order], table[::-1]):
        valid, counted = validation.valid(rows, END)
        assert valid["session"].tolist() == sorted(
            {*table["session"][[*range(3), 4, *range(7, 12)]].tolist()}
        )
        assert counted == {"zero": 1, "conflicting": 2}


def test_a_row_is_counted_under_one_reason_only() -> None:
    table = served([0.0] * 4)
    table["session"][0] = np.datetime64("2099-01-05")
    table["high"][1] = -1.0
    assert validation.valid(table, END)[1] == {"future": 1, "zero": 3}


def test_the_session_in_progress_is_unfinished_and_later_ones_are_future() -> None:
    table = served([50.0] * 3)
    _, counted = validation.valid(table, date(2022, 12, 23))
    assert counted == {"unfinished": 1, "future": 1}


def test_no_rows_are_no_trouble() -> None:
    valid, counted = validation.valid(served([50.0])[:0], END)
    assert (len(valid), counted) == (0, Counter())


WILD = st.one_of(st.sampled_from([0.0, -1.0, np.nan, np.inf, 1e-12, 1e15]), st.floats(1e-3, 1e5))
DAYS = st.integers(19_000, 19_400).map(lambda day: np.datetime64(day, "D"))


@given(st.lists(st.tuples(DAYS, WILD, WILD, WILD, WILD), max_size=40))
def test_what_is_left_is_always_sane(wild: list[tuple[Any, ...]]) -> None:
    table = np.array([(*one, -1) for one in wild], parsing.ROW)

    valid, counted = validation.valid(table, END)
    bars = parsing.bars("AAPL", valid)

    assert len(valid) + sum(counted.values()) == len(table)
    assert (np.diff(bars.sessions).astype(int) > 0).all()
    assert not len(bars) or bars.sessions[-1] <= np.datetime64(END)
    for price in (bars.open, bars.high, bars.low, bars.close):
        assert (np.isfinite(price) & (price > 0)).all()
    for price in (bars.open, bars.close):
        assert ((bars.low <= price) & (price <= bars.high)).all()
