"""Calendar months: their returns, the best and worst, and how they follow the benchmark's."""

from typing import Final

import numpy as np
import pandas as pd

from autoindex import sessions as exchange
from autoindex.index.metrics import FEWEST_FOR_RISK
from autoindex.index.performance_measures import MONTHS_A_YEAR, annual_return
from autoindex.reports.content import (
    Distribution,
    MonthlyReturns,
    MonthReturn,
    MonthStatistics,
    Number,
    Relation,
)
from autoindex.reports.figures.history import Floats, History, number

_BIN: Final = 0.02
FEWEST_MONTHS: Final = 12


def monthly_returns(history: History) -> tuple[MonthlyReturns, ...]:
    """Calendar months since inception, oldest year first.

    The first month starts from the first level, and the last ends at the last one. A month without
    all sessions of the exchange's month is listed as incomplete. None for months without a level,
    and for the benchmark's years without a close at either end.
    """
    months = _ends(history.sessions.year * 12 + history.sessions.month - 1)
    years = _ends(history.sessions.year)
    returns = dict(zip(months, _chained(history.level, months), strict=True))
    ours = _chained(history.level, years)
    theirs = _chained(history.benchmark, years)
    cut_short = _cut_short(history.sessions)
    return tuple(
        MonthlyReturns(
            year=year,
            months=tuple(returns.get(year * 12 + month) for month in range(12)),
            year_return=total or 0.0,
            benchmark_year_return=benchmark,
            incomplete=tuple(period.month for period in cut_short if period.year == year),
        )
        for year, total, benchmark in zip(years, ours, theirs, strict=True)
    )


def _ends(keys: "pd.Index[int]") -> dict[int, int]:
    """Position of each key's last session."""
    values = keys.to_numpy()
    ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    return dict(zip(values[ends].tolist(), ends.tolist(), strict=True))


def _chained(values: Floats, ends: dict[int, int]) -> list[Number]:
    at = values[list(ends.values())]
    return [number(value) for value in at / np.concatenate([values[:1], at[:-1]]) - 1.0]


def _cut_short(sessions: pd.DatetimeIndex) -> list[pd.Period]:
    first, last = sessions[0].to_period("M"), sessions[-1].to_period("M")
    there_are = exchange.between(first.start_time.date(), last.end_time.date())
    # The first level is a base, not a return: its month is whole only if it is the month's last.
    cut = {first} if sessions[0] >= there_are[0] else set()
    return sorted(cut | ({last} if sessions[-1] < there_are[-1] else set()))


def complete(history: History) -> tuple[list[pd.Period], Floats, Floats]:
    """The months with all their sessions, the index's returns in them, and the benchmark's.

    A return of the benchmark is NaN without its close at either end.
    """
    months = _ends(history.sessions.year * 12 + history.sessions.month - 1)
    names = [pd.Period(year=at // 12, month=at % 12 + 1, freq="M") for at in months]
    cut_short = _cut_short(history.sessions)
    whole = [at for at, name in enumerate(names) if name not in cut_short]
    ours = _floats(_chained(history.level, months))[whole]
    theirs = _floats(_chained(history.benchmark, months))[whole]
    return [names[at] for at in whole], ours, theirs


def _floats(values: list[Number]) -> Floats:
    return np.array(values, dtype=np.float64)


def statistics(history: History) -> MonthStatistics | None:
    """The best and the worst complete month, and the share of those above zero.

    None without a complete month.
    """
    names, ours, _ = complete(history)
    if not names:
        return None
    best, worst = int(ours.argmax()), int(ours.argmin())
    return MonthStatistics(
        months=len(names),
        positive_share=float((ours > 0.0).mean()),
        best=MonthReturn(month=str(names[best]), index_return=float(ours[best])),
        worst=MonthReturn(month=str(names[worst]), index_return=float(ours[worst])),
    )


def relation(history: History) -> Relation | None:
    """How the index follows the benchmark; None without the benchmark.

    The correlation is Pearson's, of the daily returns of common sessions; None below 60. Up capture
    is the compound annual return of the index over the complete months in which the benchmark rose,
    divided by the benchmark's over the same months; down capture those in which it fell (Bacon,
    2008, "Practical Portfolio Performance Measurement and Attribution"). Both are None below 12
    common months.
    """
    if not history.has_benchmark:
        return None
    _, ours, theirs = complete(history)
    common = ~np.isnan(theirs)
    ours, theirs = ours[common], theirs[common]
    captured: dict[str, Number] = {"up_capture": None, "down_capture": None}
    if len(ours) >= FEWEST_MONTHS:
        captured = {
            name: _captured(ours[there], theirs[there])
            for name, there in (("up_capture", theirs > 0.0), ("down_capture", theirs < 0.0))
        }
    return Relation(correlation=_correlation(history), months=len(ours), **captured)


def _captured(ours: Floats, theirs: Floats) -> Number:
    if not len(ours):
        return None
    return number(annual_return(ours, MONTHS_A_YEAR) / annual_return(theirs, MONTHS_A_YEAR))


def _correlation(history: History) -> Number:
    ours = history.level[1:] / history.level[:-1] - 1.0
    theirs = history.benchmark[1:] / history.benchmark[:-1] - 1.0
    common = ~np.isnan(theirs)
    ours, theirs = ours[common], theirs[common]
    if len(ours) < FEWEST_FOR_RISK or not ours.std() or not theirs.std():
        return None
    return number(np.corrcoef(ours, theirs)[0, 1])


def distribution(history: History) -> Distribution | None:
    """How many complete months had which return, in steps of 2%; None below 12 months.

    A step holds its lower edge. The benchmark's months are counted in the same steps.
    """
    names, ours, theirs = complete(history)
    if len(names) < FEWEST_MONTHS:
        return None
    theirs = theirs[~np.isnan(theirs)]
    steps = [np.floor(values / _BIN).astype(int) for values in (ours, theirs)]
    low, high = int(np.concatenate(steps).min()), int(np.concatenate(steps).max())
    counts = [np.bincount(at - low, minlength=high - low + 1).tolist() for at in steps]
    return Distribution(
        edges=tuple(round(at * _BIN, 2) for at in range(low, high + 2)),
        index_months=tuple(counts[0]),
        benchmark_months=tuple(counts[1]) if len(theirs) else None,
    )
