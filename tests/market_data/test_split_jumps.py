"""Which closes jump like a split, at the edges and in real prices."""

import numpy as np
import pytest

from autoindex.market_data import split_jumps
from autoindex.market_data.bars import Bars
from sandbox import sample_prices


@pytest.mark.parametrize("ratio", [3 / 2, 2, 3, 4, 5, 10, 20])
def test_within_two_percent_of_a_split_or_its_inverse(ratio: float) -> None:
    inside = np.array([0.981, 1, 1.019])
    for factor in (ratio, 1 / ratio):
        assert split_jumps.is_jump(factor * inside).all()
        assert not split_jumps.is_jump(factor * np.array([0.979, 1.021])).any()


def test_ordinary_days_and_no_day_at_all_jump_nowhere() -> None:
    assert not split_jumps.is_jump(np.array([0.8, 1.0, 1.2, 6.0, 1 / 7])).any()
    assert not len(split_jumps.is_jump(np.array([])))


def test_the_jumps_among_real_closes_of_thirty_three_years() -> None:
    found = {
        (symbol, str(day))
        for symbol, listing in sample_prices.sample().items()
        for day in split_jumps.sessions(bars_of(listing))
    }
    # AAPL's fall of 51.9 % on 2000-09-29 is none of them.
    assert found == {
        ("AMD", "2002-10-03"),
        ("AMD", "2016-04-22"),
        ("BBY", "1991-12-19"),
        ("RRC", "1990-04-10"),
    }


def bars_of(listing: sample_prices.Listing) -> Bars:
    close = np.array([float(bar.close) for bar in listing.bars])
    days = np.array([bar.day for bar in listing.bars], "datetime64[D]")
    return Bars(listing.symbol, days, close, close, close, close, np.full(len(close), -1))
