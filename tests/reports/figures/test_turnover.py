"""Turnover and the last rebalance, by hand."""

from datetime import date

import pandas as pd
import pytest

from autoindex.index.pro_forma import ProForma
from autoindex.reports.figures import turnover
from autoindex.reports.figures.portfolio import Portfolio

SESSIONS = pd.DatetimeIndex(["2021-12-01", "2022-01-03", "2022-02-01"])


@pytest.fixture
def portfolio() -> Portfolio:
    closes = pd.DataFrame(
        {"A": [10.0, 30.0, 30.0], "B": [10.0, 10.0, 10.0], "C": [5.0, 5.0, 5.0]}, SESSIONS
    )
    weights = pd.DataFrame(
        {"A": [0.5, 0.5, 0.5], "B": [0.5, 0.5, 0.0], "C": [float("nan"), 0.0, 0.5]}, SESSIONS
    )
    return Portfolio.align(weights, closes, SESSIONS[-1])


def test_turnover_is_one_way_and_from_drifted_weights(portfolio: Portfolio) -> None:
    rows = turnover.turnovers(portfolio)
    # A trebled: 0.75 and 0.25 before the second rebalance; the third swaps all of B for C.
    assert [(row.session, row.turnover) for row in rows] == [
        (date(2022, 1, 3), pytest.approx(0.25)),
        (date(2022, 2, 1), pytest.approx(0.5)),
    ]
    years = turnover.by_year(rows)
    assert [(year.year, year.turnover, year.rebalances) for year in years] == [
        (2022, pytest.approx(0.75), 2)
    ]


@pytest.mark.parametrize(
    ("frequency", "a_year"), [("daily", 252), ("weekly", 52), ("monthly", 12), ("quarterly", 4)]
)
def test_a_years_turnover_is_that_of_its_rebalances(
    portfolio: Portfolio, frequency: str, a_year: int
) -> None:
    # 25 % and 50 % in turn: 37.5 % a rebalance. Fewer than a year's are not annualised.
    rows = turnover.turnovers(portfolio) * a_year
    assert turnover.annual(rows, frequency) == pytest.approx(0.375 * a_year)
    assert turnover.annual(rows[:a_year], frequency) == pytest.approx(0.375 * a_year)
    assert turnover.annual(rows[: a_year - 1], frequency) is None
    assert turnover.annual((), frequency) is None


def test_what_the_last_rebalance_changed(portfolio: Portfolio) -> None:
    change = turnover.last_rebalance(portfolio, {})
    assert change is not None
    assert (change.entered, change.left) == (("C",), ("B",))
    assert [(row.symbol, row.change) for row in change.changes] == [
        ("B", pytest.approx(-0.5)),
        ("C", pytest.approx(0.5)),
    ]


def test_a_first_rebalance_changes_nothing(portfolio: Portfolio) -> None:
    weights = pd.DataFrame({"A": [1.0]}, SESSIONS[:1])
    first = Portfolio.align(weights, pd.DataFrame({"A": [1.0]}, SESSIONS[:1]), SESSIONS[0])
    assert turnover.last_rebalance(first, {}) is None
    assert turnover.turnovers(first) == ()


def test_what_the_next_rebalance_changes() -> None:
    found = ProForma(
        date(2022, 2, 1),
        date(2022, 3, 1),
        pd.Series({"A": 0.5, "B": 0.0, "C": 0.5}),
        pd.Series({"A": 0.7, "B": 0.3, "C": 0.0}),
    )
    made = turnover.next_rebalance(found, SESSIONS[-1], {})
    assert made is not None
    assert (made.session, made.entered, made.left) == (date(2022, 3, 1), ("C",), ("B",))
    assert made.turnover == pytest.approx(found.turnover) == pytest.approx(0.5)
    assert [(row.symbol, round(row.change, 9)) for row in made.changes] == [
        ("C", 0.5),
        ("B", -0.3),
        ("A", -0.2),
    ]
    assert turnover.next_rebalance(found, SESSIONS[0], {}) is None


def test_the_calendar_names_the_first_sessions_of_the_next_months() -> None:
    assert turnover.calendar(pd.Timestamp("2022-12-28"), "monthly", 3) == (
        date(2023, 1, 3),
        date(2023, 2, 1),
        date(2023, 3, 1),
    )
