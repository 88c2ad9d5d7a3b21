"""Trading sessions of the New York Stock Exchange: which are closed, which are rebalances."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

import exchange_calendars
import pandas as pd

from autoindex.requests import Frequency

EXCHANGE: Final = "XNYS"
# exchange_calendars begins twenty years ago by default.
# Twelve Data serves nothing older than this.
FIRST_DAY: Final = "1970-01-01"

PANDAS_PERIODS: Final[Mapping[str, str]] = {
    Frequency.DAILY: "D",
    Frequency.WEEKLY: "W-SUN",
    Frequency.MONTHLY: "M",
    Frequency.QUARTERLY: "Q-DEC",
}


@lru_cache(maxsize=2)
def _calendar(last_day: date) -> exchange_calendars.ExchangeCalendar:
    return exchange_calendars.get_calendar(EXCHANGE, start=FIRST_DAY, end=last_day.isoformat())


def _calendar_through(day: date) -> exchange_calendars.ExchangeCalendar:
    # Whole years: a process builds the calendar once, not once a day.
    return _calendar(date(day.year + 1, 12, 31))


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
    """The session `count` sessions before the last one not after `day`; no earlier than 1970."""
    found = _calendar_through(day).sessions
    position = int(found.searchsorted(pd.Timestamp(day), side="right")) - 1 - count
    session: pd.Timestamp = found[max(0, position)]
    return session.date()


def ahead(day: date, count: int) -> date:
    """The session `count` sessions after the first one not before `day`."""
    # A session takes less than two days, weekends and holidays included, and closures two weeks.
    return between(day, day + timedelta(days=2 * count + 14))[count].date()


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
