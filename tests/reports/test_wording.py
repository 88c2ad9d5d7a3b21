"""How figures read."""

from datetime import date

import pytest

from autoindex.index import metrics
from autoindex.reports import wording

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("value", "plain", "signed"),
    [
        (0.0123, "1.23%", "+1.23%"),
        (-0.0123, f"{MINUS}1.23%", f"{MINUS}1.23%"),
        (12.5, "1,250.00%", "+1,250.00%"),
        (0.0, "0.00%", "0.00%"),
        # What rounds to nothing has no sign.
        (-0.00001, "0.00%", "0.00%"),
        (None, "\N{EN DASH}", "\N{EN DASH}"),
    ],
)
def test_percent(value: float | None, plain: str, signed: str) -> None:
    assert wording.percent(value) == plain
    assert wording.percent(value, signed=True) == signed


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.012, "rose 1.20%"),
        (-0.012, "fell 1.20%"),
        (0.00001, "was unchanged"),
        (0.1, "rose 10.00%"),
    ],
)
def test_moved(value: float, words: str) -> None:
    assert wording.moved(value) == words


@pytest.mark.parametrize(
    ("window", "label"),
    [
        ("all", "Since inception"),
        ("YTD", "Year to date"),
        ("1M", "1 month"),
        ("5Y", "5 years"),
        ("odd_one", "Odd one"),
    ],
)
def test_windows(window: str, label: str) -> None:
    assert wording.window_label(window) == label


def test_days_and_labels() -> None:
    assert wording.day(date(2022, 12, 1)) == "1 Dec 2022"
    assert wording.in_a_sentence("Week 52 of 2022") == "week 52 of 2022"
    assert wording.in_a_sentence("December 2022") == "December 2022"
    assert wording.short_percent(-0.025) == f"{MINUS}2.5%"


def test_the_footnote_names_the_fewest_returns() -> None:
    fewest = {name: metrics.FEWEST_RETURNS[name] for name in ("annual_return", "sharpe_ratio")}
    assert f"take {fewest['annual_return']} returns" in wording.FOOTNOTE
    assert f"other ratios {fewest['sharpe_ratio']}," in wording.FOOTNOTE
    assert wording.footnote([0.5, 0.0]) == ""
    assert wording.footnote([0.5, None]) == wording.FOOTNOTE
