"""Returns over windows, against empyrical and by hand."""

import math
from datetime import date

import empyrical
import numpy as np
import pandas as pd
import pytest

from autoindex.reports.figures import performance, periods
from autoindex.reports.figures.history import History
from autoindex.requests import ReportType


@pytest.fixture(scope="module")
def spx(benchmark: pd.Series) -> History:
    return History.align(benchmark, benchmark)


def test_windows_by_hand() -> None:
    sessions = pd.DatetimeIndex(
        ["2020-12-31", "2021-12-30", "2021-12-31", "2022-11-30", "2022-12-28"]
    )
    levels = pd.Series([100.0, 120.0, 121.0, 110.0, 99.0], sessions)
    benchmark = pd.Series([50.0, 55.0, 55.0, 60.0, 66.0], sessions)
    history = History.align(levels, benchmark)
    period = periods.ending_at(4, sessions, ReportType.MONTHLY)
    rows = {
        row.key: row for row in performance.comparisons(history, period, None, ReportType.MONTHLY)
    }
    assert rows["period"].index_return == pytest.approx(99 / 110 - 1)
    assert rows["period"].benchmark_return == pytest.approx(0.1)
    assert rows["period"].difference == pytest.approx(-0.2)
    assert rows["period"].annual_difference is None
    assert rows["year_to_date"].base == date(2021, 12, 31)
    # The quarter began after the close of 31 December 2021, as far as these sessions tell.
    assert rows["quarter_to_date"].index_return == pytest.approx(99 / 121 - 1)
    assert rows["quarter_to_date"].index_annual_return is None
    assert rows["year_to_date"].index_return == pytest.approx(99 / 121 - 1)
    assert rows["previous_period"].index_return is None
    assert rows["3_year"].index_return is None
    assert rows["inception"].index_return == pytest.approx(-0.01)


def test_windows_of_too_few_returns_are_not_annualised(spx: History) -> None:
    last = len(spx) - 1
    period = periods.ending_at(last, spx.sessions, ReportType.QUARTERLY)
    rows = {row.key: row for row in performance.comparisons(spx, period, None, ReportType.MONTHLY)}
    assert rows["year_to_date"].index_annual_return is None
    assert rows["period"].index_annual_return is None
    returns = pd.Series(spx.level, spx.sessions).pct_change().iloc[1:]
    ten = returns.loc["2012-12-29":]
    assert rows["10_year"].base == date(2012, 12, 28)
    assert rows["10_year"].index_annual_return == pytest.approx(empyrical.annual_return(ten))
    volatility = empyrical.annual_volatility(ten)
    assert rows["10_year"].index_annual_volatility == pytest.approx(volatility)
    # 249 returns: enough for a volatility, and short of a year.
    year = returns.loc["2022-01-01":]
    assert len(year) == 249
    volatility = empyrical.annual_volatility(year)
    assert rows["year_to_date"].index_annual_volatility == pytest.approx(volatility)
    assert rows["quarter_to_date"].index_annual_volatility is not None


def test_a_benchmark_with_a_gap_is_carried_five_sessions(closes: pd.DataFrame) -> None:
    levels = closes["KO"].iloc[:30]
    gappy = levels.drop(levels.index[10:16])
    history = History.align(levels, gappy)
    assert not np.isnan(history.benchmark[10:15]).any()
    assert (history.benchmark[10:15] == levels.iloc[9]).all()
    assert np.isnan(history.benchmark[15])
    assert history.benchmark[16] == levels.iloc[16]


@pytest.mark.parametrize(
    ("report_type", "around"),
    [
        (ReportType.DAILY, {"month_to_date": date(2022, 11, 30)}),
        (ReportType.WEEKLY, {"month_to_date": date(2022, 11, 30)}),
        (ReportType.MONTHLY, {"quarter_to_date": date(2022, 9, 30)}),
        (ReportType.QUARTERLY, {}),
    ],
)
def test_each_kind_of_report_has_the_longer_period_it_is_part_of(
    spx: History, report_type: ReportType, around: dict[str, date]
) -> None:
    period = periods.ending_at(len(spx) - 1, spx.sessions, report_type)
    rows = performance.comparisons(spx, period, None, report_type)
    found = {row.key: row.base for row in rows if row.key.endswith("_to_date")}
    assert found == {**around, "year_to_date": date(2021, 12, 31)}


def test_metrics_of_the_benchmark_beside_the_index() -> None:
    ours = {"all": {"sharpe_ratio": 0.9, "beta": 0.95}, "1Y": {"sharpe_ratio": None}}
    theirs = {"all": {"sharpe_ratio": 0.5}, "1Y": {"sharpe_ratio": -0.1}}
    made = performance.metrics(ours, theirs)
    assert [(row.window, row.metric, row.index, row.benchmark) for row in made] == [
        ("all", "sharpe_ratio", 0.9, 0.5),
        ("all", "beta", 0.95, None),
        ("1Y", "sharpe_ratio", None, -0.1),
    ]


def test_metrics_without_a_benchmark() -> None:
    (row,) = performance.metrics({"all": {"calmar_ratio": 0.3}}, {})
    assert (row.index, row.benchmark) == (0.3, None)


def test_a_metric_that_is_not_finite_is_none() -> None:
    (row,) = performance.metrics({"all": {"calmar_ratio": math.inf}}, {})
    assert row.index is None
