"""The benchmark's measures are those the index would have in its place."""

import pandas as pd
import pytest

from autoindex.index.metrics import OWN, WINDOWS, metrics
from autoindex.reports import measures
from autoindex.reports.history import History


@pytest.fixture(scope="module")
def rows(
    closes: pd.DataFrame, benchmark: pd.Series
) -> dict[tuple[str, str], tuple[object, object]]:
    levels = closes["KO"]
    made = measures.beside_benchmark(metrics(levels, benchmark), History.align(levels, benchmark))
    return {(row.window, row.metric): (row.index, row.benchmark) for row in made}


@pytest.mark.parametrize("window", list(WINDOWS))
@pytest.mark.parametrize("metric", list(OWN))
def test_every_window_of_the_benchmark(
    rows: dict[tuple[str, str], tuple[object, object]],
    benchmark: pd.Series,
    window: str,
    metric: str,
) -> None:
    expected = metrics(benchmark)[window][metric]
    assert expected is not None
    assert rows[window, metric][1] == pytest.approx(expected)


def test_the_stored_figures_of_the_index_are_not_touched(
    rows: dict[tuple[str, str], tuple[object, object]],
    closes: pd.DataFrame,
    benchmark: pd.Series,
) -> None:
    for window, values in metrics(closes["KO"], benchmark).items():
        for metric, value in values.items():
            assert rows[window, metric][0] == value


def test_the_benchmark_has_no_beta_to_itself(
    rows: dict[tuple[str, str], tuple[object, object]],
) -> None:
    assert rows["all", "beta"][1] is None


@pytest.mark.parametrize("window", ["fortnight", "20Y", "", "Y"])
def test_a_window_that_is_none_or_too_long(window: str) -> None:
    assert measures.window_start(window, pd.date_range("2020-01-01", periods=300)) is None


def test_a_benchmark_that_begins_later_has_nothing_for_the_whole(
    closes: pd.DataFrame, benchmark: pd.Series
) -> None:
    levels = closes["KO"].iloc[-600:]
    late = benchmark.iloc[-300:]
    made = measures.beside_benchmark(metrics(levels, late), History.align(levels, late))
    found = {(row.window, row.metric): row.benchmark for row in made}
    assert found["all", "annual_volatility"] is None
    assert found["1Y", "annual_volatility"] is not None
