"""Restated history, and what only looks like it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np
import pytest

from autoindex.market_data.bars import Bars
from autoindex.market_data.restatement import is_restated
from tests.market_data.stage import Refresh, Switches

DAYS = np.array(["2000-09-27", "2000-09-28", "2000-09-29"], "datetime64[D]")
# AAPL, unadjusted: the last of these is the real fall of 51.9 %.
CLOSES = np.array([48.94, 53.5, 25.75])


def bars(closes: Sequence[float], days: np.ndarray = DAYS) -> Bars:
    price = np.array(closes, float)
    return Bars("AAPL", days, price, price, price, price, np.full(len(price), -1))


def test_a_real_crash_is_no_restatement() -> None:
    assert not is_restated(bars(CLOSES), DAYS, CLOSES)
    # The day before the crash was stored, the crash is new.
    assert not is_restated(bars(CLOSES), DAYS[:2], CLOSES[:2])


@pytest.mark.parametrize("ratio", [2, 4, 20, 1 / 10, 1.05, 1.01])
def test_a_split_of_any_ratio_is_one(ratio: float) -> None:
    assert is_restated(bars(CLOSES / ratio), DAYS, CLOSES)


def test_one_changed_bar_is_enough() -> None:
    assert is_restated(bars([48.94, 53.6, 25.75]), DAYS, CLOSES)


@pytest.mark.parametrize(
    ("stored", "served"),
    [
        (331.34, 331.33999),  # float32 text
        (129.652, 129.65),  # cents
        (0.264, 0.2637),  # three decimals
        (0.098, 0.09846),
        (700_000.0, 700_000.06),
    ],
)
def test_rounding_is_none(stored: float, served: float) -> None:
    assert not is_restated(bars([served], DAYS[:1]), DAYS[:1], np.array([stored]))


@pytest.mark.parametrize("price", [0.0001, 0.01, 0.098])
def test_a_split_of_a_penny_stock_is_noticed(price: float) -> None:
    assert is_restated(bars([price / 2], DAYS[:1]), DAYS[:1], np.array([price]))


def test_bars_that_cannot_be_joined_count_as_restated() -> None:
    assert is_restated(bars([25.75], DAYS[2:]), DAYS[:2], CLOSES[:2])


def test_nothing_to_compare_is_no_restatement() -> None:
    nothing = np.array([], "datetime64[D]")
    assert not is_restated(bars([], nothing), DAYS, CLOSES)
    assert not is_restated(bars(CLOSES), nothing, np.array([]))


def test_a_split_at_the_provider_shows_in_the_overlap(refresh: Refresh, sandbox: Switches) -> None:
    evening = datetime(2022, 12, 27, 22, tzinfo=UTC)
    sandbox.clock(evening)
    stored = refresh.bars_of("AAPL", now=evening).bars

    sandbox.clock(datetime(2022, 12, 28, 22, tzinfo=UTC))
    sandbox.set("splits", {"AAPL": {"session": "2022-12-28", "ratio": 4}})
    fetched = refresh.bars_of("AAPL", date(2022, 12, 27))

    assert is_restated(fetched.bars, stored.sessions, stored.close)
    assert fetched.bars.close[-2:].tolist() == [32.413, 31.4185]
