"""Performance over windows, against the benchmark."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from autoindex.index import metrics as measures
from autoindex.reports.content import Comparison, Metric, Number, Period
from autoindex.reports.figures.history import Floats, History, number
from autoindex.requests import ReportType

Metrics = Mapping[str, Mapping[str, float | None]]
"""{window: {metric: number or None}}, as the index stores them."""

_YEARS: Final = (1, 3, 5, 10)
_AROUND: Final = {
    ReportType.DAILY: ("M", "month"),
    ReportType.WEEKLY: ("M", "month"),
    ReportType.MONTHLY: ("Q", "quarter"),
}


def comparisons(
    history: History, period: Period, previous: Period | None, report_type: ReportType
) -> tuple[Comparison, ...]:
    """The period, the previous one, the month or quarter to date, the year to date, longer windows.

    Returns and volatilities are fractions. Annual figures are None where the window has too few
    returns for them. Everything is None for a window that begins before the index, and for the
    benchmark where a close is missing.
    """
    rows = [_between("period", period.label, history, period)]
    label = f"{previous.label} (previous)" if previous else "Previous period"
    rows.append(_between("previous_period", label, history, previous))
    rows += _around(history, report_type)
    rows.append(_since("year_to_date", "Year to date", history, _year_end(history.sessions)))
    for years in _YEARS:
        label = f"{years} year{'s' if years > 1 else ''}"
        start = _years_back(history.sessions, years)
        rows.append(_since(f"{years}_year", label, history, start, whole_years=True))
    rows.append(_since("inception", "Since inception", history, 0))
    return tuple(rows)


def _around(history: History, report_type: ReportType) -> list[Comparison]:
    """The month a day or week is in, the quarter a month is in, so far."""
    if report_type not in _AROUND:
        return []
    unit, name = _AROUND[report_type]
    base = _before(history.sessions, history.sessions[-1].to_period(unit).start_time)
    return [_since(f"{name}_to_date", f"{name.capitalize()} to date", history, base)]


def _year_end(sessions: pd.DatetimeIndex) -> int | None:
    return _before(sessions, pd.Timestamp(year=sessions[-1].year, month=1, day=1))


def _before(sessions: pd.DatetimeIndex, start: pd.Timestamp) -> int | None:
    before = int(sessions.searchsorted(start)) - 1
    return before if before >= 0 else None


def _years_back(sessions: pd.DatetimeIndex, years: int) -> int | None:
    wanted = sessions[-1] - pd.DateOffset(years=years)
    before = int(sessions.searchsorted(wanted, side="right")) - 1
    return before if before >= 0 else None


def _between(key: str, label: str, history: History, period: Period | None) -> Comparison:
    if period is None:
        return _window(key, label, history, None, 0)
    base, last = history.position(period.base), history.position(period.last)
    return _window(key, label, history, base, last)


def _since(
    key: str, label: str, history: History, base: int | None, *, whole_years: bool = False
) -> Comparison:
    return _window(key, label, history, base, len(history) - 1, whole_years=whole_years)


def _window(
    key: str,
    label: str,
    history: History,
    base: int | None,
    last: int,
    *,
    whole_years: bool = False,
) -> Comparison:
    ours = None if base is None else returned(history.level, base, last)
    theirs = None if base is None else returned(history.benchmark, base, last)
    annual_return = partial(_metric, "annual_return", whole_years=whole_years)
    ours_a_year = annual_return(history.level, base, last)
    theirs_a_year = annual_return(history.benchmark, base, last)
    return Comparison(
        key=key,
        label=label,
        base=None if base is None else history.sessions[base].date(),
        last=None if base is None else history.sessions[last].date(),
        index_return=ours,
        benchmark_return=theirs,
        difference=_difference(ours, theirs),
        index_annual_return=ours_a_year,
        benchmark_annual_return=theirs_a_year,
        annual_difference=_difference(ours_a_year, theirs_a_year),
        index_annual_volatility=_metric("annual_volatility", history.level, base, last),
        benchmark_annual_volatility=_metric("annual_volatility", history.benchmark, base, last),
    )


def _difference(ours: Number, theirs: Number) -> Number:
    return None if ours is None or theirs is None else ours - theirs


def _metric(
    name: str, values: Floats, base: int | None, last: int, *, whole_years: bool = False
) -> Number:
    return None if base is None else metric(name, values[base : last + 1], whole_years=whole_years)


def metric(name: str, values: Floats, *, whole_years: bool = False) -> Number:
    """One metric of all returns between closes; None with a NaN, or with too few returns for it."""
    if np.isnan(values).any():
        return None
    returns = values[1:] / values[:-1] - 1.0
    return measures.value(name, returns, whole_years=whole_years)


def returned(values: Floats, base: int, last: int) -> Number:
    """Return from the close at position `base` to that at `last`; None where either is NaN."""
    return number(values[last] / values[base] - 1.0)


def metrics(ours: Metrics, theirs: Metrics) -> tuple[Metric, ...]:
    """The stored metrics of the index beside the benchmark's over the same windows.

    The benchmark's value is None where it has none, and either is None where it is not finite.
    """
    return tuple(
        Metric(
            window=window,
            metric=metric,
            index=_finite(value),
            benchmark=_finite(theirs.get(window, {}).get(metric)),
        )
        for window, values in ours.items()
        for metric, value in values.items()
    )


def _finite(value: float | None) -> Number:
    return None if value is None else number(value)
