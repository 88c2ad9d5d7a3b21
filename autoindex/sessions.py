"""Trading sessions of the install's calendar: which are closed, which are rebalances.

The calendar is the one of the settings, which a process reads once, at its first question.
"""

import os
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import Final

import exchange_calendars
import pandas as pd
from exchange_calendars import ExchangeCalendar

from autoindex.requests import Frequency
from autoindex.settings import Settings

# Twelve Data serves nothing older than this.
_FIRST_DAY: Final = date(1970, 1, 1)
# Every calendar covers these years.
_COVERED_BY_ALL: Final = {"start": "2021-01-01", "end": "2026-12-31"}

# So far beyond a day its calendar reaches at least: further than the next quarter's first session.
_AHEAD: Final = timedelta(days=180)
# To the end of which year the calendar of a code was built.
_last_years: Final[dict[str, int]] = {}

PANDAS_PERIODS: Final[Mapping[str, str]] = {
    Frequency.DAILY: "D",
    Frequency.WEEKLY: "W-SUN",
    Frequency.MONTHLY: "M",
    Frequency.QUARTERLY: "Q-DEC",
}


def calendar_code() -> str:
    """The exchange_calendars code of the calendar that this process goes by."""
    # By the variable: a forked run may have other settings than its parent.
    return _code(os.environ.get("AUTOINDEX_CALENDAR"))


@cache
def _code(_: str | None) -> str:
    return str(exchange_calendars.resolve_alias(Settings().calendar))


@cache
def _years_of(code: str) -> ExchangeCalendar:
    return exchange_calendars.get_calendar(code, **_COVERED_BY_ALL)


@lru_cache(maxsize=1)
def _calendar(code: str, last_day: date) -> ExchangeCalendar:
    # Without a start, exchange_calendars begins twenty years ago.
    wanted = pd.Timestamp(_FIRST_DAY), pd.Timestamp(last_day)
    try:
        return exchange_calendars.get_calendar(code, *wanted)
    except ValueError:  # some calendars cover less
        known = _years_of(code)
        start, end = known.bound_min() or wanted[0], known.bound_max() or wanted[1]
        return exchange_calendars.get_calendar(code, max(start, wanted[0]), min(end, wanted[1]))


def _calendar_through(day: date) -> ExchangeCalendar:
    # Building one takes as long as a small computation: it reaches further than is asked for, and
    # is built again only for a day half a year before its end.
    code = calendar_code()
    if (day + _AHEAD).year > _last_years.get(code, 0):
        _last_years[code] = day.year + 2
    return _calendar(code, date(_last_years[code], 12, 31))


def first_day(until: date) -> date:
    """The day with which the calendar begins, seen from the day `until`."""
    earliest = _calendar_through(until).bound_min()
    return _FIRST_DAY if earliest is None else max(_FIRST_DAY, earliest.date())


def trades_by(code: str, exchange: str) -> bool | None:
    """Whether an exchange has the sessions and closes of a calendar; None where it is unknown.

    Exchanges are known by the names and market identifier codes of exchange_calendars.
    """
    name = exchange.upper()
    if name not in exchange_calendars.get_calendar_names():
        return None
    ours, theirs = (exchange_calendars.resolve_alias(one) for one in (code, name))
    return bool(ours == theirs or _years_of(ours).closes.equals(_years_of(theirs).closes))


def between(first: date, last: date) -> pd.DatetimeIndex:
    """Every session from `first` to `last`, both included; naive midnights, increasing."""
    if first > last:
        return pd.DatetimeIndex([])
    sessions = _calendar_through(last).sessions
    inside: pd.DatetimeIndex = sessions[
        sessions.slice_indexer(pd.Timestamp(first), pd.Timestamp(last))
    ]
    return inside


def back(day: date, count: int) -> date:
    """The session `count` sessions before the last one not after `day`, or the first there is."""
    found = _calendar_through(day).sessions
    position = int(found.searchsorted(pd.Timestamp(day), side="right")) - 1 - count
    session: pd.Timestamp = found[max(0, position)]
    return session.date()


def ahead(day: date, count: int) -> date:
    """The session `count` sessions after the first one not before `day`."""
    # A session takes less than two days, weekends and holidays included.
    found = _calendar_through(day + timedelta(days=2 * count)).sessions
    session: pd.Timestamp = found[int(found.searchsorted(pd.Timestamp(day))) + count]
    return session.date()


def last_closed(now: datetime) -> date:
    """The newest session whose close is not after the instant `now`; half days close early."""
    closes = _calendar_through(now.date()).closes
    position = int(closes.searchsorted(pd.Timestamp(now), side="right"))
    session: pd.Timestamp = closes.index[position - 1]
    return session.date()


def closed_at(session: date) -> datetime:
    """The instant of a session's close."""
    closes = _calendar_through(session).closes
    close: pd.Timestamp = closes[pd.Timestamp(session)]
    return close.to_pydatetime()


def rebalances(sessions: pd.DatetimeIndex, frequency: Frequency) -> pd.DatetimeIndex:
    """The decision sessions among `sessions`: the first session of each period of the calendar.

    Weeks begin on Monday. The first of `sessions` counts only where it is the first session of its
    period in the calendar, whatever the data begin with.
    """
    if sessions.empty:
        return sessions
    before = between(sessions[0].date() - pd.Timedelta(days=100), sessions[-1].date())
    periods = before.to_period(PANDAS_PERIODS[frequency])
    firsts = before[~periods.duplicated()][1:] if len(before) else before
    return sessions.intersection(firsts)


def next_rebalance(session: date, frequency: Frequency) -> date | None:
    """The first decision session after a session; None where the calendar ends before it."""
    found = _calendar_through(session).sessions
    at = int(found.searchsorted(pd.Timestamp(session), side="right")) - 1
    # More than the sessions of a quarter.
    here = found[at : at + 100]
    periods = here.to_period(PANDAS_PERIODS[frequency])
    later = here[periods > periods[0]]
    return later[0].date() if len(later) else None
