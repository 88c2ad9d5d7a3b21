"""The calendar of the settings, each in a process of its own: a process goes by one."""

import os
import subprocess
import sys
from datetime import date

import pytest

from autoindex import sessions
from tests.bounds import HANG_SECONDS

_PROGRAM = """
from datetime import UTC, date, datetime
from autoindex import sessions
from autoindex.requests import Frequency

year = sessions.between(date(2022, 1, 1), date(2022, 12, 31))
print(sessions.calendar_code(), sessions.first_day(date(2022, 12, 28)), len(year))
print(sessions.last_closed(datetime(2022, 12, 28, 7, tzinfo=UTC)))
print(sessions.closed_at(date(2022, 12, 28)).isoformat())
print(sessions.back(date(2022, 12, 28), 1), sessions.ahead(date(2022, 12, 24), 0))
print(*(f"{day:%m-%d}" for day in sessions.rebalances(year, Frequency.QUARTERLY)))
"""
# From exchange_calendars and the exchanges' own: Boxing Day and the day after it in London, New
# Year in Tokyo until 4 January, the week of the National Day in Shanghai.
CALENDARS = {
    "LSE": """XLON 1970-01-01 250
2022-12-23
2022-12-28T16:30:00+00:00
2022-12-23 2022-12-28
01-04 04-01 07-01 10-03
""",
    "XTKS": """XTKS 1997-01-01 244
2022-12-28
2022-12-28T06:00:00+00:00
2022-12-27 2022-12-26
01-04 04-01 07-01 10-03
""",
    "XSHG": """XSHG 1990-12-03 242
2022-12-28
2022-12-28T07:00:00+00:00
2022-12-27 2022-12-26
01-04 04-01 07-01 10-10
""",
}


@pytest.mark.parametrize("code", CALENDARS)
def test_sessions_are_those_of_the_calendar_in_the_settings(code: str) -> None:
    words = [sys.executable, "-W", "ignore", "-c", _PROGRAM]
    env = os.environ | {"AUTOINDEX_CALENDAR": code}
    told = subprocess.run(
        words, env=env, capture_output=True, text=True, timeout=HANG_SECONDS, check=True
    )
    assert told.stdout == CALENDARS[code]


_ONE_YEAR = """
from datetime import UTC, date, datetime
from autoindex import sessions
from autoindex.requests import Frequency

sessions.last_closed(datetime(2022, 12, 28, 22, tzinfo=UTC))
sessions.next_rebalance(date(2022, 12, 28), Frequency.QUARTERLY)
print(len(sessions.between(date(2022, 1, 3), date(2023, 1, 3))))
sessions.last_closed(datetime(2026, 11, 29, tzinfo=UTC))
print(sessions.back(date(2022, 12, 28), 1), sessions.ahead(date(2022, 12, 31), 60))
print(sessions._calendar.cache_info().misses)
"""


def test_a_calendar_is_built_once_for_days_that_are_not_years_apart() -> None:
    """Building it takes longer than computing a session; a second time is for 2026 alone."""
    words = [sys.executable, "-W", "ignore", "-c", _ONE_YEAR]
    told = subprocess.run(words, capture_output=True, text=True, timeout=HANG_SECONDS, check=True)
    assert told.stdout.split() == ["252", "2022-12-27", "2023-03-30", "2"]


def test_new_york_is_the_default() -> None:
    assert sessions.calendar_code() == "XNYS"
    assert sessions.between(date(1970, 1, 1), date(1970, 1, 5)).strftime("%d").tolist() == [
        "02",
        "05",
    ]


@pytest.mark.parametrize(
    ("code", "exchange", "expected"),
    [
        ("XNYS", "NASDAQ", True),
        ("XNYS", "nyse", True),
        ("XNYS", "XNAS", True),
        ("XNYS", "LSE", False),
        ("XLON", "LSE", True),
        ("LSE", "XLON", True),
        ("XTKS", "JPX", True),
        ("XPAR", "XAMS", True),
        ("XPAR", "XETR", False),
        ("XNYS", "INDEX", None),
        ("XLON", "OTC", None),
    ],
)
def test_which_exchanges_trade_by_a_calendar(
    code: str, exchange: str, expected: bool | None
) -> None:
    assert sessions.trades_by(code, exchange) is expected
