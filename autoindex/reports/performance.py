"""How the index did: windows against the benchmark, drawdowns, rolling risk, calendar months."""

from typing import Final

import empyrical
import numpy as np
import pandas as pd

from autoindex import sessions as exchange
from autoindex.reports.content import (
    Comparison,
    Drawdown,
    MonthlyReturns,
    Number,
    Period,
    Series,
)

SESSIONS_A_YEAR: Final = 252
_SHORT_ROLLING: Final = 63
_YEARS: Final = (1, 3, 5, 10)
# A window of whole years may start this long after its first day: a week-end and a holiday.
_START_TOLERANCE: Final = pd.Timedelta(days=5)


def number(value: float) -> Number:
    """`value` as the content holds it: None where it is not finite."""
    return float(value) if np.isfinite(value) else None


def numbers(values: pd.Series) -> tuple[Number, ...]:
    """`number` of each value."""
    return tuple(number(value) for value in values.tolist())


def align(benchmark: pd.Series, sessions: pd.DatetimeIndex) -> pd.Series:
    """The benchmark's closes on the index's sessions; gaps of up to 5 sessions are carried."""
    union = benchmark.index.union(sessions)
    return benchmark.dropna().reindex(union).ffill(limit=5).reindex(sessions)


def returned(values: pd.Series | None, base: pd.Timestamp, last: pd.Timestamp) -> Number:
    """Return from the close of `base` to the close of `last`."""
    if values is None:
        return None
    return number(values[last] / values[base] - 1.0)


def comparisons(
    levels: pd.Series, benchmark: pd.Series | None, period: Period, previous: Period | None
) -> tuple[Comparison, ...]:
    """The period, the one before, year to date, whole years back, and since inception."""
    last = levels.index[-1]
    rows = [_window("period", period.label, levels, benchmark, period.base, period.last)]
    if previous:
        label = f"{previous.label} (previous)"
        rows.append(
            _window("previous_period", label, levels, benchmark, previous.base, previous.last)
        )
    else:
        rows.append(_no_window("previous_period", "Previous period"))
    year_end = levels.index[levels.index.year < last.year]
    start = year_end[-1] if len(year_end) else None
    rows.append(_from("year_to_date", "Year to date", levels, benchmark, start))
    for years in _YEARS:
        start = _years_back(levels.index, years)
        label = f"{years} year{'s' if years > 1 else ''}"
        rows.append(_from(f"{years}_year", label, levels, benchmark, start))
    rows.append(_from("inception", "Since inception", levels, benchmark, levels.index[0]))
    return tuple(rows)


def _years_back(sessions: pd.DatetimeIndex, years: int) -> pd.Timestamp | None:
    wanted = sessions[-1] - pd.DateOffset(years=years)
    if sessions[0] > wanted + _START_TOLERANCE:
        return None
    return sessions[max(sessions.searchsorted(wanted, side="right") - 1, 0)]


def _from(
    key: str,
    label: str,
    levels: pd.Series,
    benchmark: pd.Series | None,
    start: pd.Timestamp | None,
) -> Comparison:
    if start is None:
        return _no_window(key, label)
    return _window(key, label, levels, benchmark, start, levels.index[-1])


def _no_window(key: str, label: str) -> Comparison:
    return Comparison(
        key=key,
        label=label,
        base=None,
        last=None,
        index_return=None,
        benchmark_return=None,
        difference=None,
        index_annual_return=None,
        benchmark_annual_return=None,
    )


def _window(
    key: str,
    label: str,
    levels: pd.Series,
    benchmark: pd.Series | None,
    base: object,
    last: object,
) -> Comparison:
    base, last = pd.Timestamp(base), pd.Timestamp(last)  # type: ignore[arg-type]
    ours, theirs = returned(levels, base, last), returned(benchmark, base, last)
    count = int(levels.index.searchsorted(last) - levels.index.searchsorted(base))
    return Comparison(
        key=key,
        label=label,
        base=base.date(),
        last=last.date(),
        index_return=ours,
        benchmark_return=theirs,
        difference=None if ours is None or theirs is None else ours - theirs,
        index_annual_return=annual(ours, count),
        benchmark_annual_return=annual(theirs, count),
    )


def annual(total: Number, sessions: int) -> Number:
    """Compound annual return; None for less than a year, where it would only exaggerate.

    A calendar year has 250 to 253 sessions, so 250 are taken for one.
    """
    if total is None or sessions < SESSIONS_A_YEAR - 2:
        return None
    return number((1.0 + total) ** (SESSIONS_A_YEAR / sessions) - 1.0)


def drawdown(values: pd.Series) -> pd.Series:
    """Value over its highest so far, less 1."""
    return values / values.cummax() - 1.0


def worst_drawdowns(levels: pd.Series, count: int = 5) -> tuple[Drawdown, ...]:
    """The `count` deepest falls from a high, deepest first; equal depths, earliest first."""
    values = levels.to_numpy(dtype=np.float64)
    highs = np.maximum.accumulate(values)
    at_high = np.flatnonzero(values == highs)
    episodes = []
    for high, back in zip(at_high, np.append(at_high[1:], len(values)), strict=True):
        if back - high > 1:
            trough = high + int(np.argmin(values[high:back]))
            episodes.append((values[trough] / values[high] - 1.0, int(high), trough, int(back)))
    return tuple(_episode(levels.index, *episode) for episode in sorted(episodes)[:count])


def _episode(
    sessions: pd.DatetimeIndex, depth: float, high: int, trough: int, back: int
) -> Drawdown:
    recovered = back < len(sessions)
    return Drawdown(
        start=sessions[high].date(),
        trough=sessions[trough].date(),
        recovered=sessions[back].date() if recovered else None,
        depth=float(depth),
        sessions_to_trough=trough - high,
        sessions_to_recovery=back - trough if recovered else None,
    )


def series(levels: pd.Series, benchmark: pd.Series | None) -> Series:
    """Daily figures since inception; rolling ones over a year, or a quarter while history is short.

    Rolling figures are null until the window is full.
    """
    window = SESSIONS_A_YEAR if len(levels) > 2 * SESSIONS_A_YEAR else _SHORT_ROLLING
    theirs = pd.Series(np.nan, levels.index) if benchmark is None else benchmark
    first = theirs.first_valid_index()
    rebased = theirs if first is None else theirs / theirs[first] * levels[first]
    volatility, sharpe = _rolling(levels, window)
    benchmark_volatility, _ = _rolling(rebased, window)
    return Series(
        sessions=tuple(levels.index.date),
        level=tuple(levels.tolist()),
        benchmark=numbers(rebased),
        drawdown=tuple(drawdown(levels).tolist()),
        benchmark_drawdown=numbers(drawdown(rebased)),
        rolling_volatility=numbers(volatility),
        benchmark_rolling_volatility=numbers(benchmark_volatility),
        rolling_sharpe=numbers(sharpe),
        rolling_sessions=window,
    )


def _rolling(values: pd.Series, window: int) -> tuple[pd.Series, pd.Series]:
    rolling = values.pct_change(fill_method=None).rolling(window)
    deviation, mean = rolling.std(ddof=1), rolling.mean()
    return deviation * np.sqrt(SESSIONS_A_YEAR), mean / deviation * np.sqrt(SESSIONS_A_YEAR)


def monthly_returns(levels: pd.Series, benchmark: pd.Series | None) -> tuple[MonthlyReturns, ...]:
    """Calendar months since inception, oldest year first.

    The first month starts from the first level and the last ends at the last; where that leaves
    out sessions of the exchange's month, the month is named as incomplete.
    """
    ours = _by_month(levels)
    by_year = _by_year(levels)
    benchmark_by_year = None if benchmark is None else _by_year(benchmark)
    cut_short = _cut_short(levels.index)
    return tuple(
        MonthlyReturns(
            year=year,
            months=tuple(
                number(ours.get(pd.Period(year=year, month=month, freq="M"), np.nan))
                for month in range(1, 13)
            ),
            year_return=float(total),
            benchmark_year_return=(
                None if benchmark_by_year is None else number(benchmark_by_year[year])
            ),
            incomplete=tuple(period.month for period in cut_short if period.year == year),
        )
        for year, total in by_year.items()
    )


def _by_month(values: pd.Series) -> pd.Series:
    return _chained(values.groupby(values.index.to_period("M")).last(), values.iloc[0])


def _by_year(values: pd.Series) -> pd.Series:
    return _chained(values.groupby(values.index.year).last(), values.iloc[0])


def _chained(ends: pd.Series, start: float) -> pd.Series:
    return ends / ends.shift(fill_value=start) - 1.0


def _cut_short(sessions: pd.DatetimeIndex) -> list[pd.Period]:
    first, last = sessions[0].to_period("M"), sessions[-1].to_period("M")
    early = exchange.between(first.start_time.date(), first.end_time.date())
    late = exchange.between(last.start_time.date(), last.end_time.date())
    # The first level is a base, not a return: its month is whole only from the close before.
    cut = [first] if sessions[0] >= early[0] else []
    return [*cut, last] if sessions[-1] < late[-1] and last not in cut else cut


def summary_metrics(levels: pd.Series) -> tuple[Number, Number, Number]:
    """Annual return, annual volatility and Sharpe ratio since inception, as empyrical has them."""
    returns = levels.pct_change(fill_method=None).iloc[1:]
    return (
        number(empyrical.annual_return(returns)),
        number(empyrical.annual_volatility(returns)),
        number(empyrical.sharpe_ratio(returns)),
    )
