"""Restated history, corrected bars, and what is neither."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import cache

import numpy as np
import pytest

from autoindex.market_data.bars import Bars
from autoindex.market_data.restatement import Comparison, compare
from sandbox import sample_prices
from tests.market_data.stage import Refresh, Switches

DAYS = np.array(["2000-09-27", "2000-09-28", "2000-09-29"], "datetime64[D]")
# AAPL, unadjusted: the last of these is the real fall of 51.9 %.
CLOSES = np.array([48.94, 53.5, 25.75])


def bars(closes: Sequence[float], days: np.ndarray = DAYS) -> Bars:
    price = np.array(closes, float)
    return Bars("AAPL", days, price, price, price, price, np.full(len(price), -1))


def is_restated(fetched: Bars, days: np.ndarray, closes: np.ndarray) -> bool:
    return compare(fetched, days, closes).is_restated


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


@cache
def real() -> Sequence[sample_prices.Bar]:
    return sample_prices.sample()["WMT"].bars


def wmt(count: int) -> Bars:
    """The newest real bars of WMT."""
    days = np.array([bar.day for bar in real()[-count:]], "datetime64[D]")
    return bars([float(bar.close) for bar in real()[-count:]], days)


def restated(stored: Bars, closes: np.ndarray, keep: slice = slice(None)) -> Comparison:
    """The stored bars beside a whole history with these closes, of which some sessions are kept."""
    fetched = bars(closes[keep], stored.sessions[keep])
    compared = compare(fetched, stored.sessions, stored.close)
    assert compared.is_restated
    return compared


def steps(count: int, *steps: tuple[int, float]) -> np.ndarray:
    """Factors: each value holds until the position of the next."""
    factors = np.ones(count)
    for position, factor in steps:
        factors[position:] = factor
    return factors


@pytest.mark.parametrize("count", [1, 3, 60, 572, 8313])
@pytest.mark.parametrize("decimals", [3, 5, 9])
@pytest.mark.parametrize("ratio", [4, 1.05, 0.1])
def test_a_split_replaces_a_history(count: int, decimals: int, ratio: float) -> None:
    stored = wmt(count)
    compared = restated(stored, np.round(stored.close / ratio, decimals))
    assert (compared.refusal(), len(compared.changed_returns())) == (None, 0)
    assert compared.is_correction is False
    assert np.allclose(compared.scaled()[1], ratio, rtol=0.02)


def test_a_split_that_was_forgotten_changes_the_return_of_its_day() -> None:
    stored = wmt(572)
    for position in (500, 571):
        split = restated(stored, stored.close / steps(572, (0, 4), (position, 1)))
        assert split.refusal() is None
        assert split.changed_returns().tolist() == [stored.sessions[position].item()]
        assert split.scaled()[1].round(9).tolist() == [4] * position + [1] * (572 - position)


def test_three_splits_at_once_are_a_history_still_and_a_fourth_is_not() -> None:
    stored = wmt(572)
    four = steps(572, (0, 60), (100, 20), (200, 4), (300, 1))
    assert restated(stored, stored.close / four).refusal() is None
    for count in (572, 8313):
        stored = wmt(count)
        five = steps(count, (0, 60), (100, 20), (200, 4), (300, 2), (400, 1))
        assert "in a few pieces" in str(restated(stored, stored.close / five).refusal())


@pytest.mark.parametrize("count", [60, 126, 572, 8313])
@pytest.mark.parametrize(
    "transformed",
    [
        lambda close: np.full(len(close), 5.0),
        lambda close: close * 3.7 + 2,
        lambda close: close * np.linspace(0.9, 1, len(close)),
        lambda close: close[::-1].copy(),
    ],
    ids=["every close 5.0", "times 3.7 plus 2", "drifting", "reversed"],
)
def test_what_is_not_constant_in_a_few_pieces_is_refused(
    count: int, transformed: Callable[[np.ndarray], np.ndarray]
) -> None:
    stored = wmt(count)
    compared = restated(stored, transformed(stored.close))
    assert "in a few pieces" in str(compared.refusal())
    assert compared.is_correction is False


@pytest.mark.parametrize("count", [126, 252, 572, 8313])
def test_quarterly_dividends_are_refused(count: int) -> None:
    stored = wmt(count)
    paid = 0.995 ** ((np.arange(count)[::-1] + 30) // 63)
    assert "in a few pieces" in str(restated(stored, stored.close * paid).refusal())


def test_a_history_that_lacks_a_stored_session_is_refused() -> None:
    stored = wmt(572)
    gap = np.delete(np.arange(572), 300)
    compared = restated(stored, stored.close / 2, gap)  # type: ignore[arg-type]
    assert "lacks 1 sessions that are stored" in str(compared.refusal())
    assert "lacks 1 sess" in str(restated(stored, stored.close / 2, slice(571)).refusal())


def test_a_history_may_begin_a_little_later_but_not_be_short() -> None:
    stored = wmt(572)
    later = restated(stored, stored.close / 2, slice(57, None))
    assert later.refusal() is None
    assert later.changed_returns().tolist() == stored.sessions[:57].tolist()
    short = "begins on 2022-12-23 and lacks 569 of 572 stored sessions"
    assert short in str(restated(stored, stored.close / 2, slice(569, None)).refusal())


def test_a_history_without_any_stored_session_is_refused() -> None:
    stored, fetched = wmt(572), wmt(572)
    apart = compare(fetched.select(np.arange(572) > 560), stored.sessions[:500], stored.close[:500])
    assert apart.is_restated
    assert "lacks 500 of 500" in str(apart.refusal())


@pytest.mark.parametrize("factor", [1.0002, 1.0005, 1.01, 4.0])
@pytest.mark.parametrize(
    ("count", "at"), [(2, [1]), (8, [0]), (8, [7]), (60, [20, 41]), (572, [*range(300, 310), 571])]
)
def test_a_few_other_closes_are_corrections(count: int, at: list[int], factor: float) -> None:
    stored = wmt(count)
    closes = stored.close.copy()
    closes[at] *= factor
    assert restated(stored, closes).is_correction


def test_many_other_closes_or_many_in_a_row_are_none() -> None:
    stored = wmt(572)
    for at in (slice(300, 311), slice(0, 572, 19), slice(0, 572)):
        closes = stored.close.copy()
        closes[at] *= np.linspace(1.1, 1.2, len(closes[at]))
        assert not restated(stored, closes).is_correction
        assert restated(stored, closes).refusal()


def test_a_correction_among_the_closes_of_a_split_has_no_factor() -> None:
    stored = wmt(572)
    closes = stored.close / 4
    closes[300] *= 1.001
    compared = restated(stored, closes)
    days, factors, _ = compared.scaled()
    assert compared.refusal() is None
    assert compared.changed_returns().tolist() == [stored.sessions[300].item()]
    assert (len(days), factors.round(9).tolist()) == (571, [4.0] * 571)
    assert stored.sessions[300] not in days


@pytest.mark.parametrize(
    ("price", "factor"),
    [
        *[(100, factor) for factor in (1.000_05, 1.000_1, 1.000_15, 1.000_3, 1.000_9, 1.005)],
        *[(10, factor) for factor in (1.000_2, 1.000_3, 1.000_9)],
    ],
)
def test_every_change_beyond_rounding_is_a_changed_return(price: float, factor: float) -> None:
    stored = bars(wmt(572).close * price / 100, wmt(572).sessions)
    compared = restated(stored, stored.close / steps(572, (0, factor), (400, 1)))
    assert compared.refusal() is None
    assert compared.changed_returns()[0] <= stored.sessions[400]
