"""Metrics beside empyrical on windows cut another way, and beside their formulas."""

import empyrical
import numpy as np
import pandas as pd
import pytest

from autoindex.index.metrics import OWN, WINDOWS, benchmark_metrics, metrics

RELATIVE = ("alpha", "beta", "tracking_error", "information_ratio")
TAKE_252 = {"annual_return", "calmar_ratio", "alpha"}
TAKE_60 = {
    *("annual_volatility", "sharpe_ratio", "sortino_ratio"),
    *("beta", "tracking_error", "information_ratio"),
}

# Where each window begins when the last session is Wednesday 28 December 2022: its return is the
# first one after the close of this session.
BEGINS = {
    "all": "1990-01-02",
    "1M": "2022-11-28",
    "3M": "2022-09-28",
    "YTD": "2021-12-31",
    "1Y": "2021-12-28",
    "3Y": "2019-12-27",  # the 28th was a Saturday
    "5Y": "2017-12-28",
}


def expected_of(returns: pd.Series, reference: pd.Series) -> dict[str, float | None]:
    """Every metric by empyrical, or by its textbook formula where empyrical has none.

    None where the returns are fewer than the metric takes.
    """
    active = returns - reference
    wealth = (1 + returns).cumprod()
    alpha, beta = empyrical.alpha_beta(returns, reference)
    values: dict[str, float] = {
        "total_return": wealth.iloc[-1] - 1,
        "annual_return": empyrical.annual_return(returns),
        "annual_volatility": empyrical.annual_volatility(returns),
        "sharpe_ratio": empyrical.sharpe_ratio(returns),
        "sortino_ratio": empyrical.sortino_ratio(returns),
        "calmar_ratio": empyrical.calmar_ratio(returns),
        "max_drawdown": empyrical.max_drawdown(returns),
        "current_drawdown": wealth.iloc[-1] / max(1.0, wealth.max()) - 1,
        "value_at_risk_95": empyrical.value_at_risk(returns, 0.05),
        "value_at_risk_99": empyrical.value_at_risk(returns, 0.01),
        "conditional_value_at_risk_95": empyrical.conditional_value_at_risk(returns, 0.05),
        "conditional_value_at_risk_99": empyrical.conditional_value_at_risk(returns, 0.01),
        "alpha": alpha,
        "beta": beta,
        "tracking_error": active.std(ddof=1) * 252**0.5,
        "information_ratio": active.mean() / active.std(ddof=1) * 252**0.5,
    }
    fewest = dict.fromkeys(TAKE_60, 60) | dict.fromkeys(TAKE_252, 252)
    return {
        name: value if len(returns) >= fewest.get(name, 2) else None
        for name, value in values.items()
    }


@pytest.mark.parametrize("window", WINDOWS)
def test_empyrical_gives_the_same(closes: pd.DataFrame, benchmark: pd.Series, window: str) -> None:
    levels = closes["KO"]
    begin = BEGINS[window]
    returns = levels.pct_change().loc[levels.index > begin]
    reference = benchmark.pct_change().loc[benchmark.index > begin]
    expected = expected_of(returns, reference)
    found = metrics(levels, benchmark)[window]
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_a_calendar_year_is_annualised_whatever_its_number_of_sessions(
    closes: pd.DataFrame, benchmark: pd.Series
) -> None:
    """As at one session end in five: 251 returns in the year to 2019-06-28."""
    levels, reference = closes["KO"][:"2019-06-28"], benchmark[:"2019-06-28"]
    year = levels["2018-06-28":]
    assert len(year) - 1 < 252
    found, own = metrics(levels, reference), benchmark_metrics(levels, reference)
    assert found["1Y"]["annual_return"] == pytest.approx(
        (year.iloc[-1] / year.iloc[0]) ** (252 / (len(year) - 1)) - 1
    )
    for name in TAKE_252:
        assert found["1Y"][name] is not None, name
        assert found["YTD"][name] is None, name
    assert own["1Y"]["annual_return"] is not None


@pytest.mark.parametrize(
    ("count", "empty"),
    [
        (59, TAKE_252 | TAKE_60),
        (60, TAKE_252),
        (251, TAKE_252),
        (252, set()),
    ],
)
def test_nothing_shorter_than_a_year_is_annualised(
    closes: pd.DataFrame, benchmark: pd.Series, count: int, empty: set[str]
) -> None:
    levels, reference = closes["GE"].iloc[-count - 1 :], benchmark.iloc[-count - 1 :]
    found = metrics(levels, reference)["all"]
    assert {name for name, value in found.items() if value is None} == empty
    expected = expected_of(levels.pct_change().iloc[1:], reference.pct_change().iloc[1:])
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-13)
    own = benchmark_metrics(levels, reference)["all"]
    assert {name for name, value in own.items() if value is None} == empty - set(RELATIVE)


def test_the_definitions(closes: pd.DataFrame, benchmark: pd.Series) -> None:
    """The formulas themselves: ddof 1, √252, downside over all n, compounded drawdown."""
    returns = closes["GE"].pct_change().iloc[1:].to_numpy()
    reference = benchmark.pct_change().iloc[1:].to_numpy()
    found = metrics(closes["GE"], benchmark)["all"]
    n, mean, deviation = len(returns), returns.mean(), returns.std(ddof=1)
    growth = np.concatenate([[1.0], np.cumprod(1 + returns)])
    annual = growth[-1] ** (252 / n) - 1
    drawdown = (growth / np.maximum.accumulate(growth) - 1).min()
    downside = np.sqrt((np.minimum(returns, 0) ** 2).sum() / n * 252)
    worst = np.sort(returns)[: int((n - 1) * 0.05) + 1]
    covariance = np.cov(returns, reference, ddof=1)
    beta = covariance[0, 1] / covariance[1, 1]
    assert found == pytest.approx(
        {
            **found,
            "annual_return": annual,
            "annual_volatility": deviation * 252**0.5,
            "sharpe_ratio": mean / deviation * 252**0.5,
            "sortino_ratio": mean * 252 / downside,
            "calmar_ratio": annual / -drawdown,
            "max_drawdown": drawdown,
            "value_at_risk_95": np.percentile(returns, 5),
            "conditional_value_at_risk_95": worst.mean(),
            "beta": beta,
            "alpha": (1 + mean - beta * reference.mean()) ** 252 - 1,
        },
        rel=1e-9,
    )


def test_by_hand() -> None:
    """100, 110, 99, 108.9: +10 %, −10 %, +10 %; then the same 84 times."""
    days = pd.DatetimeIndex(["2022-12-22", "2022-12-23", "2022-12-27", "2022-12-28"])
    found = metrics(pd.Series([100, 110, 99, 108.9], days))["all"]
    assert found["total_return"] == pytest.approx(0.089)
    assert {found[name] for name in TAKE_252 | TAKE_60} == {None}
    assert found["max_drawdown"] == pytest.approx(-0.1)
    assert found["current_drawdown"] == pytest.approx(108.9 / 110 - 1)
    days = pd.bdate_range("2021-12-01", periods=3 * 84 + 1)
    levels = 100 * np.cumprod([1, *[1.1, 0.9, 1.1] * 84])
    found = metrics(pd.Series(levels, days))["all"]
    # 252 returns are a year. Mean 1/30; the squares of 1/15, −2/15 and 1/15 add up to 2/75.
    deviation = (84 * 2 / 75 / 251) ** 0.5
    assert found["annual_return"] == pytest.approx(1.089**84 - 1)
    assert found["annual_volatility"] == pytest.approx(deviation * 252**0.5)
    assert found["sharpe_ratio"] == pytest.approx(252**0.5 / 30 / deviation)
    assert {found[name] for name in RELATIVE} == {None}


def test_an_index_beside_itself(closes: pd.DataFrame) -> None:
    found = metrics(closes["PG"], closes["PG"])["3Y"]
    assert found["beta"] == pytest.approx(1)
    assert found["alpha"] == pytest.approx(0, abs=1e-9)
    assert found["tracking_error"] == 0
    assert found["information_ratio"] is None


def test_the_scale_of_levels_does_not_matter(closes: pd.DataFrame, benchmark: pd.Series) -> None:
    one, two = (metrics(closes["PG"] * scale, benchmark * scale) for scale in (1, 64))
    assert one == two


@pytest.mark.parametrize("length", [1, 2])
def test_fewer_than_two_returns_say_nothing(closes: pd.DataFrame, length: int) -> None:
    found = metrics(closes["PG"].iloc[:length], closes["KO"])
    assert all(value is None for window in found.values() for value in window.values())


def test_a_window_longer_than_the_history_is_empty(closes: pd.DataFrame) -> None:
    found = metrics(closes["PG"]["2022-01-03":])
    known = {name for name, values in found.items() if values["total_return"] is not None}
    # The year to date needs the last close of the year before.
    assert known == {"all", "1M", "3M"}


def test_levels_that_never_move_have_no_ratios(closes: pd.DataFrame) -> None:
    flat = closes["PG"].iloc[-300:] * 0 + 100
    found = metrics(flat, closes["KO"])["all"]
    assert found["annual_return"] == found["annual_volatility"] == found["max_drawdown"] == 0
    assert found["sharpe_ratio"] is found["sortino_ratio"] is found["calmar_ratio"] is None
    assert found["beta"] == pytest.approx(0, abs=1e-12)


def test_growth_that_is_constant_has_no_ratios() -> None:
    """Its returns differ by what rounding leaves."""
    days = pd.bdate_range("2022-01-03", periods=300)
    levels = pd.Series(100 * 1.0005 ** np.arange(300), days)
    assert levels.pct_change().iloc[1:].nunique() > 1
    found = metrics(levels, levels * 0 + 100)["all"]
    assert found["sharpe_ratio"] is found["information_ratio"] is found["beta"] is None
    assert found["annual_volatility"] == pytest.approx(0, abs=1e-12)


def test_levels_that_only_fall_and_only_rise() -> None:
    days = pd.bdate_range("2022-01-03", periods=300)
    rising = metrics(pd.Series(1.001 ** np.arange(300) * 100, days))["all"]
    assert rising["max_drawdown"] == 0
    assert rising["calmar_ratio"] is None
    falling = metrics(pd.Series(0.999 ** np.arange(300) * 100, days))["all"]
    assert falling["max_drawdown"] == pytest.approx(0.999**299 - 1)
    assert falling["current_drawdown"] == pytest.approx(falling["max_drawdown"])


def test_gaps_of_up_to_five_sessions_are_carried_over(
    closes: pd.DataFrame, benchmark: pd.Series
) -> None:
    levels = closes["KO"].iloc[-500:]
    carried = benchmark.iloc[-500:].copy()
    carried.iloc[200:204] = carried.iloc[199]
    gappy = benchmark.iloc[-500:].drop(carried.index[200:204])
    assert metrics(levels, gappy) == metrics(levels, carried)


def test_windows_that_the_benchmark_does_not_cover_are_not_compared(
    closes: pd.DataFrame, benchmark: pd.Series
) -> None:
    """As after a cleanup: closes of the last 300 sessions, levels of the last 1,500."""
    levels = closes["KO"].iloc[-1500:]
    found, whole = (metrics(levels, closes) for closes in (benchmark.iloc[-300:], benchmark))
    for window in ("all", "5Y", "3Y"):
        assert {found[window][name] for name in RELATIVE} == {None}
        assert found[window] == whole[window] | dict.fromkeys(RELATIVE)
    for window in ("1Y", "YTD", "3M", "1M"):
        assert found[window] == whole[window]


def test_a_benchmark_may_begin_five_sessions_late(
    closes: pd.DataFrame, benchmark: pd.Series
) -> None:
    levels = closes["KO"].iloc[-500:]
    late = benchmark.iloc[-495:]
    found = metrics(levels, late)["all"]
    expected = metrics(levels[late.index[0] :], late)["all"]
    assert {n: found[n] for n in RELATIVE} == {n: expected[n] for n in RELATIVE}
    assert found["beta"] is not None
    assert metrics(levels, benchmark.iloc[-494:])["all"]["beta"] is None


def test_a_longer_gap_is_not_covered(closes: pd.DataFrame, benchmark: pd.Series) -> None:
    levels = closes["KO"].iloc[-500:]
    gappy = benchmark.drop(levels.index[100:106])
    assert metrics(levels, gappy)["all"]["beta"] is None
    assert metrics(levels, gappy)["1Y"]["beta"] is not None


def test_the_benchmarks_own_metrics_over_the_windows_of_the_index(
    closes: pd.DataFrame, benchmark: pd.Series
) -> None:
    found = benchmark_metrics(closes["KO"], benchmark)
    whole = metrics(benchmark)
    assert list(found) == list(WINDOWS)
    for window, values in found.items():
        assert values == {name: whole[window][name] for name in OWN}


def test_a_benchmark_that_begins_later_has_nothing_for_the_whole(
    closes: pd.DataFrame, benchmark: pd.Series
) -> None:
    found = benchmark_metrics(closes["KO"].iloc[-1200:], benchmark.iloc[-400:])
    assert set(found["all"].values()) == set(found["3Y"].values()) == {None}
    assert found["1Y"]["annual_volatility"] is not None
