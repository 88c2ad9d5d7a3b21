"""What is too short to be annualised is empty in every file alike, and says why."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from autoindex.index import metrics
from autoindex.reports import json_file
from autoindex.reports.compose import compose
from autoindex.reports.content import ReportContent
from autoindex.reports.inputs import ReportInputs
from autoindex.reports.mail import body
from autoindex.reports.pdf import document
from autoindex.reports.workbook import excel
from tests.reports.conftest import equal_weight

DASH = "\N{EN DASH}"
REASON = (
    "Not enough data: annual return, Calmar ratio and alpha take 252 returns or a calendar year, "
    "volatility and other ratios 60, a year's turnover a year of rebalances."
)
Make = Callable[..., ReportInputs]


def young(
    make_inputs: Make, closes: pd.DataFrame, benchmark: pd.Series, returns: int
) -> ReportContent:
    """The report of an index with so many returns."""
    window = closes.iloc[-returns - 1 :]
    levels, _, _ = equal_weight(window)
    return compose(
        make_inputs(
            start=f"{window.index[0]:%Y-%m-%d}",
            metrics=metrics.metrics(levels, benchmark),
            benchmark_metrics=metrics.benchmark_metrics(levels, benchmark),
        )
    )


def annual(values: tuple[float | None, ...]) -> tuple[float, float, float]:
    """Annual return, volatility and Sharpe ratio, by their formulas."""
    level = np.array(values, np.float64)
    returns = level[1:] / level[:-1] - 1
    deviation = float(np.sqrt(((returns - returns.mean()) ** 2).sum() / (len(returns) - 1)))
    grown = float((level[-1] / level[0]) ** (252 / len(returns)) - 1)
    return grown, deviation * 252**0.5, float(returns.mean()) / deviation * 252**0.5


@pytest.mark.parametrize("returns", [59, 60, 251, 252])
def test_headline_windows_and_metrics_agree(
    make_inputs: Make, closes: pd.DataFrame, benchmark: pd.Series, returns: int
) -> None:
    made = young(make_inputs, closes, benchmark, returns)
    head, (since,) = made.headline, [row for row in made.comparisons if row.key == "inception"]
    stored = {row.metric: row for row in made.metrics if row.window == "all"}
    grown, volatility, sharpe = annual(made.series.level)
    theirs = annual(made.series.benchmark)
    expected = pytest.approx(grown) if returns >= 252 else None
    assert head.annual_return == since.index_annual_return == expected
    assert stored["annual_return"].index == expected
    expected = pytest.approx(theirs[0]) if returns >= 252 else None
    assert since.benchmark_annual_return == stored["annual_return"].benchmark == expected
    expected = pytest.approx(volatility) if returns >= 60 else None
    assert head.annual_volatility == since.index_annual_volatility == expected
    assert stored["annual_volatility"].index == expected
    expected = pytest.approx(theirs[1]) if returns >= 60 else None
    assert since.benchmark_annual_volatility == stored["annual_volatility"].benchmark == expected
    expected = pytest.approx(sharpe) if returns >= 60 else None
    assert head.sharpe_ratio == stored["sharpe_ratio"].index == expected
    assert (stored["calmar_ratio"].index is None) == (returns < 252)
    assert (stored["alpha"].index is None) == (returns < 252)
    assert (stored["beta"].index is None) == (returns < 60)
    assert {row.annual_volatility is None for row in made.holdings} == {returns < 60}
    assert (made.annual_turnover is None) == (returns < 251)


def test_every_file_shows_a_dash_and_says_why(
    make_inputs: Make, closes: pd.DataFrame, benchmark: pd.Series, tmp_path: Path
) -> None:
    made = young(make_inputs, closes, benchmark, 30)
    document.write(made, tmp_path / "young.pdf")
    pages = [page.extract_text() for page in PdfReader(tmp_path / "young.pdf").pages]
    front, text = " ".join(pages[0].split()), " ".join(" ".join(pages).split())
    assert REASON in front
    for left_out in ("Sharpe ratio since inception", "Turnover a year", "Annual volatility"):
        assert left_out not in text
    assert f"{DASH} Not enough data: it takes 60 common sessions of closes." in text

    excel.write(made, tmp_path / "young.xlsx")
    book = load_workbook(tmp_path / "young.xlsx")
    cover = {row[0]: row[1] for row in book["Cover"].iter_rows(max_col=2, values_only=True)}
    for label in ("Annual return", "Annual volatility", "Sharpe ratio", "Turnover a year, one-way"):
        assert cover[label] == DASH
    assert f"{DASH} {REASON}" in cover
    (since,) = [row for row in book["Performance"].values if row[0] == "Since inception"]
    assert since[6:10] == (DASH,) * 4
    held = list(book["Holdings"].iter_rows(min_row=2, values_only=True))
    assert {row[8:] for row in held} == {(DASH, DASH)}
    measured = {row[4]: row for row in book["Metrics"].values if row[0] == "Since inception"}
    assert measured["alpha"][2] == measured["sharpe_ratio"][2] == DASH
    assert isinstance(measured["max_drawdown"][2], float)

    json_file.write(made, tmp_path / "young.json")
    written = json.loads((tmp_path / "young.json").read_text())
    assert written["headline"]["annual_return"] is None
    assert written["headline"]["annual_volatility"] is written["headline"]["sharpe_ratio"] is None
    assert "annual return, Calmar ratio and alpha take 252" in str(written["method"])

    for part in (body.text(made, ""), body.html(made, "", None, "chart")):
        assert f"{DASH} {REASON}" in part


def test_a_long_history_has_no_footnote_where_nothing_is_empty(
    content: ReportContent, tmp_path: Path
) -> None:
    assert REASON not in body.text(content, "")
    excel.write(content, tmp_path / "old.xlsx")
    cover = load_workbook(tmp_path / "old.xlsx")["Cover"]
    assert f"{DASH} {REASON}" not in {row[0] for row in cover.iter_rows(values_only=True)}
