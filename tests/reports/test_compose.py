"""The content as a whole, recomputed from the prices by other means."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import empyrical
import numpy as np
import pandas as pd
import pytest

from autoindex.errors import ReportImpossible
from autoindex.reports.compose import compose
from autoindex.reports.content import ReportContent
from autoindex.reports.inputs import ReportInputs
from autoindex.requests import ReportType
from tests.reports.conftest import equal_weight

Make = Callable[..., ReportInputs]


def test_headline_figures_from_the_prices(
    content: ReportContent, closes: pd.DataFrame, benchmark: pd.Series
) -> None:
    # An equally weighted index is the mean of relatives since the last rebalance, chained.
    window = closes.loc["2018-01-02":]
    starts = window.index[~window.index.to_period("M").duplicated()]
    level = 100.0
    at_month_end = {}
    for start, end in zip(starts, [*starts[1:], window.index[-1]], strict=True):
        before = window.index[window.index < end][-1] if end != window.index[-1] else end
        at_month_end[before] = level * (window.loc[before] / window.loc[start]).mean()
        level *= (window.loc[end] / window.loc[start]).mean()
    november = at_month_end[pd.Timestamp("2022-11-30")]
    assert content.headline.level == pytest.approx(level)
    assert content.headline.period_return == pytest.approx(level / november - 1)
    spx = benchmark["2022-12-28"] / benchmark["2022-11-30"] - 1
    assert content.headline.benchmark_period_return == pytest.approx(spx)
    year_end = at_month_end[pd.Timestamp("2021-12-31")]
    assert content.headline.year_to_date_return == pytest.approx(level / year_end - 1)


def test_risk_figures_are_those_of_empyrical(content: ReportContent) -> None:
    levels = pd.Series(content.series.level)
    returns = levels.pct_change().iloc[1:]
    head = content.headline
    assert head.annual_volatility == pytest.approx(empyrical.annual_volatility(returns))
    assert head.sharpe_ratio == pytest.approx(empyrical.sharpe_ratio(returns))
    assert head.annual_return == pytest.approx(empyrical.annual_return(returns))
    assert head.max_drawdown == pytest.approx(empyrical.max_drawdown(returns))


def test_parts_agree_with_each_other(content: ReportContent) -> None:
    head = content.headline
    assert content.comparisons[0].index_return == head.period_return
    parts = sum(part.contribution for part in content.contributions)
    assert parts == pytest.approx(head.period_return, abs=1e-12)
    assert sum(row.weight for row in content.holdings) == pytest.approx(1.0)
    assert sum(row.risk_contribution or 0.0 for row in content.holdings) == pytest.approx(1.0)
    worth = sum((row.units or 0.0) * row.close for row in content.holdings)
    assert worth == pytest.approx(head.level)
    assert content.drawdowns[0].depth == head.max_drawdown
    assert content.rebalance is not None
    assert content.rebalance.turnover == content.turnovers[-1].turnover
    for row in content.allocations.sector_weights:
        assert sum(row) == pytest.approx(1.0)


def test_turnover_a_year_does_not_hang_on_where_the_years_are_cut(make_inputs: Make) -> None:
    """Two years from one November to the next: 23 rebalances, one of them in the first year."""
    made = compose(make_inputs(start="2020-11-02", end="2022-10-28"))
    assert [year.rebalances for year in made.yearly_turnover] == [1, 12, 10]
    traded = sum(row.turnover for row in made.turnovers)
    assert made.annual_turnover == pytest.approx(traded / 23 * 12)


def test_the_summary_says_what_the_figures_say(content: ReportContent) -> None:
    assert content.summary == (
        "Autoindex Composite fell 5.05% in December 2022 (to 28 Dec 2022), while the benchmark "
        "(S&P 500) fell 7.28%: a difference of +2.22 pp. The Procter & Gamble Co. added most "
        "(+0.09 pp), Advanced Micro Devices Inc. least "
        "(\N{MINUS SIGN}0.97 pp). Since the start of the year the index rose 2.03%."
    )


def test_nothing_is_missing_from_a_full_history(content: ReportContent) -> None:
    assert content.missing == ()
    assert content.quality_notes == ("Deferred to the next refresh: AMD.",)


def test_the_same_inputs_give_the_same_content(make_inputs: Make, content: ReportContent) -> None:
    assert compose(make_inputs()) == content


@pytest.mark.parametrize("report_type", list(ReportType))
def test_every_type_has_its_own_period(make_inputs: Make, report_type: ReportType) -> None:
    made = compose(make_inputs(report_type))
    bases = {"daily": 27, "weekly": 23}
    if report_type.value in bases:
        assert made.period.base == date(2022, 12, bases[report_type.value])
    assert made.previous_period is not None
    assert made.previous_period.last == made.period.base
    assert str(report_type) in made.title


def test_what_flatters_is_said(content: ReportContent, make_inputs: Make) -> None:
    texts = {paragraph.title: paragraph.text for paragraph in content.method}
    flatters = texts["What flatters these figures"]
    assert "splits and dividends" in flatters
    assert "The benchmark (S&P 500) leaves dividends out" in flatters
    assert "sample data of the sandbox" in texts["Sources"]
    assert "31 Dec 2022" in flatters
    plain = compose(make_inputs(sample_data=False)).method
    assert (
        "dividends are left out" in {p.title: p.text for p in plain}["What flatters these figures"]
    )


def test_a_young_index_says_what_it_has_too_little_data_for(make_inputs: Make) -> None:
    made = compose(make_inputs(start="2022-12-12"))
    missing = {gap.part: gap.reason for gap in made.missing}
    assert set(missing) == {"previous_period", "rolling_risk", "risk", "rebalance"}
    assert all(reason.startswith("Not enough data: ") for reason in missing.values())
    assert made.period.base == date(2022, 12, 12)
    assert made.headline.annual_return is None
    assert made.headline.year_to_date_return is None


def test_without_a_benchmark(make_inputs: Make) -> None:
    made = compose(make_inputs(benchmark=None))
    assert made.benchmark_name is None
    assert made.headline.period_difference is None
    assert "benchmark" in {gap.part for gap in made.missing}
    assert set(made.series.benchmark) == {None}


def test_a_benchmark_that_begins_late_is_said_to(make_inputs: Make, benchmark: pd.Series) -> None:
    made = compose(make_inputs(benchmark=benchmark["2021-12-28":"2022-12-28"]))
    (gap,) = made.missing
    assert gap.part == "benchmark_history"
    assert gap.reason == (
        "Not enough data: S&P 500 has no close on 1,004 sessions up to 27 Dec 2021, and what "
        "needs them is left empty."
    )
    rows = {row.key: row.benchmark_return for row in made.comparisons}
    assert rows["1_year"] == pytest.approx(3783.22 / 4786.35 - 1)
    assert rows["3_year"] is rows["inception"] is None


def test_without_closes_the_index_is_still_reported(
    make_inputs: Make, closes: pd.DataFrame
) -> None:
    made = compose(make_inputs(closes=closes.iloc[:0]))
    assert (made.contributions, made.holdings, made.rebalance) == ((), (), None)
    assert {"contributions", "holdings", "rebalance", "risk"} <= {gap.part for gap in made.missing}
    assert made.headline.level == compose(make_inputs()).headline.level


def test_a_stock_without_bars_is_held_at_its_last_close(
    make_inputs: Make, closes: pd.DataFrame
) -> None:
    """14 sessions without a bar: the index carries the close until the next rebalance."""
    until = pd.Timestamp("2022-12-07")
    silent = closes["2018-01-02":].copy()
    silent.loc[silent.index > until, "AMD"] = np.nan
    levels, weights, units = equal_weight(silent.ffill())
    made = compose(make_inputs(levels=levels, weights=weights, units=units, closes=silent))
    assert made.missing == ()
    assert made.quality_notes == ("Deferred to the next refresh: AMD.",)
    held = {row.symbol: row for row in made.holdings}
    assert len(held) == 20
    assert held["AMD"].close == closes.loc[until, "AMD"]
    worth = sum((row.units or 0.0) * row.close for row in made.holdings)
    assert worth == pytest.approx(levels.iloc[-1])
    parts = sum(part.contribution for part in made.contributions)
    assert parts == pytest.approx(made.headline.period_return, abs=1e-12)


def test_closes_that_do_not_fit_the_levels_are_noted(
    make_inputs: Make, closes: pd.DataFrame
) -> None:
    wrong = closes.copy()
    wrong.loc["2022-12-28", "AAPL"] *= 2
    notes = compose(make_inputs(closes=wrong)).quality_notes
    assert any("do not add up" in note for note in notes)


def test_old_levels_are_noted(make_inputs: Make) -> None:
    late = datetime(2023, 1, 20, tzinfo=UTC)
    notes = compose(make_inputs(generated_at=late)).quality_notes
    assert "The newest index level was 23 days old when this report was made." in notes


@pytest.mark.parametrize("broken", [np.nan, 0.0, -1.0])
def test_levels_that_cannot_be(make_inputs: Make, broken: float) -> None:
    levels = make_inputs().levels.copy()
    levels.iloc[5] = broken
    with pytest.raises(ReportImpossible, match="not positive"):
        make_inputs(levels=levels)


def test_one_level_is_too_few(make_inputs: Make) -> None:
    with pytest.raises(ReportImpossible, match="there are 1"):
        make_inputs(levels=make_inputs().levels.iloc[:1])


def test_an_instant_needs_its_zone(make_inputs: Make) -> None:
    with pytest.raises(ValueError, match="time zone"):
        make_inputs(generated_at=datetime(2022, 12, 28))  # noqa: DTZ001
