"""Drawdowns and rolling figures, against empyrical and by hand."""

from datetime import date
from itertools import pairwise

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoindex.reports.figures import risk
from autoindex.reports.figures.history import History


def _history(values: list[float]) -> History:
    sessions = pd.date_range("2022-01-03", periods=len(values), freq="B")
    return History.align(pd.Series(values, sessions), None)


def test_falls_by_hand() -> None:
    falls = risk.worst_drawdowns(_history([100, 90, 100, 110, 55, 88, 110, 120, 108]))
    assert [fall.depth for fall in falls] == pytest.approx([-0.5, -0.1, -0.1])
    deepest, first, last = falls
    assert (deepest.start, deepest.trough) == (date(2022, 1, 6), date(2022, 1, 7))
    assert deepest.recovered == date(2022, 1, 11)
    assert (deepest.sessions_to_trough, deepest.sessions_to_recovery) == (1, 2)
    assert first.start == date(2022, 1, 3)
    assert (last.recovered, last.sessions_to_recovery) == (None, None)


def test_no_fall_where_there_is_none() -> None:
    assert risk.worst_drawdowns(_history([100, 100, 101, 102])) == ()


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=60))
def test_the_deepest_fall_is_empyricals_maximum(growth: list[float]) -> None:
    values = 100.0 * np.cumprod([1.0, *growth])
    falls = risk.worst_drawdowns(_history(values.tolist()))
    deepest = falls[0].depth if falls else 0.0
    expected = empyrical.max_drawdown(pd.Series(values).pct_change().iloc[1:])
    assert deepest == pytest.approx(expected, abs=1e-12)
    assert all(a.depth <= b.depth for a, b in pairwise(falls))
    for fall in falls:
        assert fall.start < fall.trough
        assert fall.recovered is None or fall.trough < fall.recovered


def test_the_deepest_fall_of_the_s_and_p_500(benchmark: pd.Series) -> None:
    # The bear market of 2007 to 2009, by closes: 1565.15 to 676.53, recovered on 28 March 2013.
    deepest = risk.worst_drawdowns(History.align(benchmark, None))[0]
    assert (deepest.start, deepest.trough) == (date(2007, 10, 9), date(2009, 3, 9))
    assert deepest.recovered == date(2013, 3, 28)
    assert deepest.depth == pytest.approx(676.53 / 1565.15 - 1)


def test_rolling_figures_are_those_of_empyrical(benchmark: pd.Series) -> None:
    window = benchmark.iloc[-700:]
    series = risk.series(History.align(window, window))
    returns = window.pct_change().iloc[1:]
    volatility = empyrical.roll_annual_volatility(returns, 252)
    sharpe = empyrical.roll_sharpe_ratio(returns, 252)
    assert series.rolling_sessions == 252
    assert series.rolling_volatility[:252] == (None,) * 252
    assert series.rolling_volatility[252:] == pytest.approx(volatility.tolist())
    assert series.rolling_sharpe[252:] == pytest.approx(sharpe.tolist())
    assert series.benchmark_rolling_volatility == series.rolling_volatility


def test_a_level_that_never_moves_has_no_sharpe_ratio() -> None:
    series = risk.series(_history([100.0] * 80))
    assert series.rolling_volatility[-1] == 0.0
    assert series.rolling_sharpe[-1] is None


def test_the_benchmark_starts_at_the_index(benchmark: pd.Series) -> None:
    levels = pd.Series(np.linspace(100, 120, 100), benchmark.index[:100])
    series = risk.series(History.align(levels, benchmark.iloc[10:100]))
    assert series.benchmark[:10] == (None,) * 10
    assert series.benchmark[10] == pytest.approx(levels.iloc[10])
    ratio = benchmark.iloc[99] / benchmark.iloc[10]
    assert series.benchmark[99] == pytest.approx(levels.iloc[10] * ratio)
