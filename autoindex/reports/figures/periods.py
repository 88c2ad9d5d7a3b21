"""The period of a report, and the one before it."""

from datetime import date, timedelta
from typing import Final

import pandas as pd

from autoindex import sessions as exchange
from autoindex.errors import ReportImpossible
from autoindex.reports.content import Period
from autoindex.requests import ReportType

# The exchange was never closed for as long as this.
_LONGEST_CLOSURE: Final = timedelta(days=30)


def ending_at(last: int, sessions: pd.DatetimeIndex, report_type: ReportType) -> Period:
    """The period that holds the session at position `last`, up to and including it.

    Its base is the close of the session before. Where the data begin inside the period, the base is
    the first session. Raises `ReportImpossible` where that is `last` itself.
    """
    frequency = exchange.PANDAS_PERIODS[report_type]
    period = sessions[last].to_period(frequency)
    base = _base(period, sessions)
    if base == last:
        raise ReportImpossible(
            f"a {report_type} report needs a session before {sessions[last].date()}, "
            "and the index begins there"
        )
    return Period(
        label=_label(period, report_type, sessions[last].date()),
        base=sessions[base].date(),
        first=sessions[base + 1].date(),
        last=sessions[last].date(),
        sessions=last - base,
        complete=_next_session(sessions[last].date()) > period.end_time.date(),
    )


def newest_base(levels: pd.Series, report_type: ReportType) -> date:
    """The base of the period that holds the last level's session, where there are two levels."""
    sessions = pd.DatetimeIndex(levels.index)
    period = sessions[-1].to_period(exchange.PANDAS_PERIODS[report_type])
    session: pd.Timestamp = sessions[_base(period, sessions)]
    return session.date()


def _base(period: pd.Period, sessions: pd.DatetimeIndex) -> int:
    return max(int(sessions.searchsorted(period.start_time)) - 1, 0)


def before(period: Period, sessions: pd.DatetimeIndex, report_type: ReportType) -> Period | None:
    """The period before `period`; None where the index did not exist for all of it."""
    base = int(sessions.searchsorted(pd.Timestamp(period.base)))
    start = sessions[base].to_period(exchange.PANDAS_PERIODS[report_type]).start_time
    if base == 0 or sessions[0] >= start:
        return None
    return ending_at(base, sessions, report_type)


def _next_session(day: date) -> date:
    following = exchange.between(day + timedelta(days=1), day + _LONGEST_CLOSURE)
    session: pd.Timestamp = following[0]
    return session.date()


def _label(period: pd.Period, report_type: ReportType, last: date) -> str:
    if report_type is ReportType.DAILY:
        return f"{last.day} {last:%B %Y}"
    if report_type is ReportType.WEEKLY:
        return f"Week {last.isocalendar().week} of {last.isocalendar().year}"
    if report_type is ReportType.MONTHLY:
        return f"{last:%B %Y}"
    return f"Quarter {period.quarter} of {period.year}"
