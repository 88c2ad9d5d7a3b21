"""Calendar months, against empyrical, scipy and by hand."""

import empyrical
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from autoindex.reports.figures import months
from autoindex.reports.figures.history import History
from tests.reports.conftest import equal_weight


@pytest.fixture(scope="module")
def spx(benchmark: pd.Series) -> History:
    return History.align(benchmark, benchmark)


@pytest.fixture(scope="module")
def against(closes: pd.DataFrame, benchmark: pd.Series) -> History:
    """Five years of twenty stocks, and their benchmark."""
    levels, _, _ = equal_weight(closes.loc["2017-12-29":"2022-11-30"])
    return History.align(levels, benchmark)


@pytest.fixture(scope="module")
def monthly(against: History, benchmark: pd.Series) -> pd.DataFrame:
    """The same returns, resampled by pandas."""
    both = pd.DataFrame({"ours": against.level, "theirs": benchmark[against.sessions]})
    both.index = against.sessions
    return both.resample("ME").last().pct_change().iloc[1:]


def test_months_and_years_are_those_of_empyrical(benchmark: pd.Series, spx: History) -> None:
    returns = benchmark.pct_change().iloc[1:]
    monthly = empyrical.aggregate_returns(returns, "monthly")
    years = empyrical.aggregate_returns(returns, "yearly")
    table = months.monthly_returns(spx)
    assert [year.year for year in table] == list(range(1990, 2023))
    for year in table:
        assert year.year_return == pytest.approx(years[year.year], abs=1e-12)
        assert year.benchmark_year_return == year.year_return
        for month, value in enumerate(year.months, start=1):
            assert value == pytest.approx(monthly[(year.year, month)], abs=1e-12)


def test_published_years_of_the_s_and_p_500(spx: History) -> None:
    # S&P Dow Jones Indices, price returns: 2008 -38.49%, 2013 +29.60%, 2018 -6.24%, 2021 +26.89%.
    years = {year.year: year.year_return for year in months.monthly_returns(spx)}
    published = {2008: -0.3849, 2013: 0.2960, 2018: -0.0624, 2021: 0.2689}
    assert {year: round(years[year], 4) for year in published} == published


def test_months_cut_short_are_named(spx: History) -> None:
    table = months.monthly_returns(spx)
    # The data begin with the first session of 1990 and end on 28 December 2022.
    assert table[0].incomplete == (1,)
    assert table[-1].incomplete == (12,)
    assert all(year.incomplete == () for year in table[1:-1])


def test_the_best_and_the_worst_month(against: History, monthly: pd.DataFrame) -> None:
    found = months.statistics(against)
    assert found is not None
    ours = monthly["ours"]
    assert found.months == len(ours) == 59
    assert found.positive_share == pytest.approx((ours > 0).sum() / 59)
    assert found.best.month == str(ours.idxmax().date())[:7] == "2020-04"
    assert found.best.index_return == pytest.approx(ours.max())
    assert found.worst.month == str(ours.idxmin().date())[:7]
    assert found.worst.index_return == pytest.approx(ours.min())


def test_capture_and_correlation(against: History, monthly: pd.DataFrame) -> None:
    found = months.relation(against)
    assert found is not None
    assert found.months == 59
    for capture, rows in (
        (found.up_capture, monthly[monthly["theirs"] > 0]),
        (found.down_capture, monthly[monthly["theirs"] < 0]),
    ):
        ours, theirs = (stats.gmean(1 + rows[name]) ** 12 - 1 for name in ("ours", "theirs"))
        assert capture == pytest.approx(ours / theirs)
    both = np.log([against.level, against.benchmark])
    daily = np.expm1(np.diff(both, axis=1))
    assert found.correlation == pytest.approx(stats.pearsonr(*daily).statistic)


def test_a_benchmark_follows_itself(spx: History) -> None:
    found = months.relation(spx)
    assert found is not None
    figures = (found.correlation, found.up_capture, found.down_capture)
    assert figures == pytest.approx((1.0, 1.0, 1.0))


def test_the_distribution_counts_every_complete_month(
    against: History, monthly: pd.DataFrame
) -> None:
    found = months.distribution(against)
    assert found is not None
    assert found.benchmark_months is not None
    for counts, name in ((found.index_months, "ours"), (found.benchmark_months, "theirs")):
        # The edges are exact to two places: no return of these lies on one.
        assert counts == tuple(np.histogram(monthly[name], bins=found.edges)[0])
        assert sum(counts) == 59


def test_too_few_months(closes: pd.DataFrame) -> None:
    levels, _, _ = equal_weight(closes.loc["2022-11-30":])
    young = History.align(levels, None)
    assert months.statistics(young) is None
    assert months.relation(young) is None
    assert months.distribution(young) is None
    alike = months.relation(History.align(levels, levels))
    assert alike is not None
    assert (alike.correlation, alike.up_capture, alike.down_capture, alike.months) == (
        *(None,) * 3,
        0,
    )
