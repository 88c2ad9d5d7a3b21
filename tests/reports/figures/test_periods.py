"""Periods against the exchange's printed calendar of 2022: 26 December was a holiday."""

from datetime import date

import pandas as pd
import pytest

from autoindex import sessions as exchange
from autoindex.errors import ReportImpossible
from autoindex.reports.figures import periods
from autoindex.requests import ReportType


@pytest.fixture(scope="module")
def year() -> pd.DatetimeIndex:
    return exchange.between(date(2022, 1, 1), date(2022, 12, 30))


@pytest.mark.parametrize(
    ("report_type", "last", "base", "first", "count", "complete", "label"),
    [
        ("daily", "2022-12-28", "2022-12-27", "2022-12-28", 1, True, "28 December 2022"),
        ("daily", "2022-12-27", "2022-12-23", "2022-12-27", 1, True, "27 December 2022"),
        ("weekly", "2022-12-28", "2022-12-23", "2022-12-27", 2, False, "Week 52 of 2022"),
        ("weekly", "2022-12-30", "2022-12-23", "2022-12-27", 4, True, "Week 52 of 2022"),
        ("monthly", "2022-12-28", "2022-11-30", "2022-12-01", 19, False, "December 2022"),
        ("monthly", "2022-12-30", "2022-11-30", "2022-12-01", 21, True, "December 2022"),
        ("monthly", "2022-04-29", "2022-03-31", "2022-04-01", 20, True, "April 2022"),
        ("quarterly", "2022-12-28", "2022-09-30", "2022-10-03", 61, False, "Quarter 4 of 2022"),
    ],
)
def test_the_period_that_ends_with_a_session(
    year: pd.DatetimeIndex,
    report_type: str,
    last: str,
    base: str,
    first: str,
    count: int,
    complete: bool,
    label: str,
) -> None:
    position = year.get_loc(last)
    period = periods.ending_at(position, year, ReportType(report_type))
    assert period.base == date.fromisoformat(base)
    assert period.first == date.fromisoformat(first)
    assert period.last == date.fromisoformat(last)
    assert (period.sessions, period.complete, period.label) == (count, complete, label)


@pytest.mark.parametrize(
    ("report_type", "base", "last"),
    [
        ("daily", "2022-12-23", "2022-12-27"),
        ("weekly", "2022-12-16", "2022-12-23"),
        ("monthly", "2022-10-31", "2022-11-30"),
        ("quarterly", "2022-06-30", "2022-09-30"),
    ],
)
def test_the_period_before(year: pd.DatetimeIndex, report_type: str, base: str, last: str) -> None:
    kind = ReportType(report_type)
    period = periods.ending_at(year.get_loc("2022-12-28"), year, kind)
    previous = periods.before(period, year, kind)
    assert previous is not None
    assert (previous.base.isoformat(), previous.last.isoformat()) == (base, last)
    assert previous.complete


def test_data_that_begin_inside_the_period(year: pd.DatetimeIndex) -> None:
    late = year[year >= "2022-12-15"]
    period = periods.ending_at(len(late) - 1, late, ReportType.MONTHLY)
    assert (period.base, period.first) == (date(2022, 12, 15), date(2022, 12, 16))
    assert periods.before(period, late, ReportType.MONTHLY) is None


def test_no_previous_period_that_the_data_cover_only_in_part(year: pd.DatetimeIndex) -> None:
    late = year[year >= "2022-11-10"]
    period = periods.ending_at(len(late) - 1, late, ReportType.MONTHLY)
    assert period.base == date(2022, 11, 30)
    assert periods.before(period, late, ReportType.MONTHLY) is None


def test_a_single_session_is_no_period(year: pd.DatetimeIndex) -> None:
    with pytest.raises(ReportImpossible, match="2022-12-30"):
        periods.ending_at(0, year[-1:], ReportType.WEEKLY)


@pytest.mark.parametrize("report_type", list(ReportType))
def test_the_newest_base_is_that_of_the_newest_period(
    year: pd.DatetimeIndex, report_type: ReportType
) -> None:
    levels = pd.Series(100.0, year[:-2])
    wanted = periods.ending_at(len(levels) - 1, year[:-2], report_type).base
    assert periods.newest_base(levels, report_type) == wanted


def test_the_newest_base_of_a_single_level_is_its_session(year: pd.DatetimeIndex) -> None:
    levels = pd.Series(100.0, year[:1])
    assert periods.newest_base(levels, ReportType.MONTHLY) == year[0].date()
