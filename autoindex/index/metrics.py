"""Performance metrics over windows, and when there are too few returns for one."""

from typing import Final

import numpy as np
import pandas as pd

from autoindex.index.eligibility import LONGEST_GAP
from autoindex.index.performance_measures import OWN, RELATIVE, SESSIONS_A_YEAR, Returns

Values = dict[str, float | None]

# A deviation of fewer returns, and a ratio with it, says more about chance than about the index.
FEWEST_FOR_RISK: Final = 60
# A metric is None below so many returns; those not named here take two. A window of whole calendar
# years is long enough to be annualised: a year has 240 to 254 sessions, by exchange and year.
FEWEST_RETURNS: Final = {
    "annual_return": SESSIONS_A_YEAR,
    "annual_volatility": FEWEST_FOR_RISK,
    "sharpe_ratio": FEWEST_FOR_RISK,
    "sortino_ratio": FEWEST_FOR_RISK,
    "calmar_ratio": SESSIONS_A_YEAR,
    "alpha": SESSIONS_A_YEAR,
    "beta": FEWEST_FOR_RISK,
    "tracking_error": FEWEST_FOR_RISK,
    "information_ratio": FEWEST_FOR_RISK,
}
WINDOWS: Final[dict[str, pd.DateOffset | None]] = {
    "all": None,
    "1M": pd.DateOffset(months=1),
    "3M": pd.DateOffset(months=3),
    "YTD": None,
    "1Y": pd.DateOffset(years=1),
    "3Y": pd.DateOffset(years=3),
    "5Y": pd.DateOffset(years=5),
}
_FORMULAS: Final = OWN | RELATIVE
_WHOLE_YEARS: Final = frozenset({"1Y", "3Y", "5Y"})


def metrics(levels: pd.Series, benchmark: pd.Series | None = None) -> dict[str, Values]:
    """{window: {metric: value}} over the whole history and windows that end at the last session.

    `levels` are by session, at least one, without NaN. `benchmark` holds closes by session, at the
    index's sessions, gaps of up to five carried forward. Returns and drawdowns are fractions. A
    metric is None where it cannot be computed: the window is longer than the history, has too few
    returns for the metric, or has no variation to divide by. Metrics against the benchmark are also
    None without a benchmark, or where it does not cover the window. A benchmark that begins up to
    five sessions late covers it, and is compared from its first close on.
    """
    theirs = np.full(len(levels), np.nan)
    if benchmark is not None:
        theirs = at_sessions(benchmark, levels.index).to_numpy(np.float64)
    own = _returns(levels.to_numpy(np.float64)), _returns(theirs)
    return {name: _window(*own, theirs, begin(levels, name), name) for name in WINDOWS}


def at_sessions(closes: pd.Series, sessions: pd.Index) -> pd.Series:
    """Closes at the given sessions, gaps of up to five carried forward; else NaN."""
    return (
        closes.dropna()
        .reindex(closes.index.union(sessions))
        .ffill(limit=LONGEST_GAP)
        .reindex(sessions)
    )


def _returns(closes: Returns) -> Returns:
    """The return of each session but the first."""
    result: Returns = closes[1:] / closes[:-1] - 1
    return result


def _window(
    returns: Returns, reference: Returns, closes: Returns, first: int | None, name: str
) -> Values:
    """The metrics of returns after a session; `closes` are the benchmark's."""
    if first is None:
        return dict.fromkeys((*OWN, *RELATIVE))
    own, theirs = returns[first:], reference[first:]
    values = _own(own, name)
    # A figure of a part would be misleading.
    if np.isnan(closes[first + LONGEST_GAP :]).any():
        return values | dict.fromkeys(RELATIVE)
    both = ~np.isnan(theirs)
    pair = own[both], theirs[both]
    years = name in _WHOLE_YEARS
    return values | {metric: value(metric, *pair, whole_years=years) for metric in RELATIVE}


def benchmark_metrics(levels: pd.Series, benchmark: pd.Series) -> dict[str, Values]:
    """The benchmark's own metrics over the windows of `levels`; closes as for `metrics`.

    All are None over a window with a session without a close.
    """
    closes = at_sessions(benchmark, levels.index).to_numpy(np.float64)
    return {name: _of_benchmark(closes, begin(levels, name), name) for name in WINDOWS}


def _of_benchmark(closes: Returns, first: int | None, name: str) -> Values:
    if first is None or np.isnan(closes[first:]).any():
        return dict.fromkeys(OWN)
    return _own(_returns(closes[first:]), name)


def _own(returns: Returns, name: str) -> Values:
    years = name in _WHOLE_YEARS
    return {metric: value(metric, returns, whole_years=years) for metric in OWN}


def begin(levels: pd.Series, name: str) -> int | None:
    """The row of the level that a window starts from; None where the history is too short."""
    last: pd.Timestamp = levels.index[-1]
    offset = WINDOWS[name]
    if name == "all":
        return 0
    day = last - offset if offset is not None else pd.Timestamp(last.year - 1, 12, 31)
    row = int(levels.index.searchsorted(day, side="right")) - 1
    return row if row >= 0 else None


def value(metric: str, *returns: Returns, whole_years: bool = False) -> float | None:
    """One metric of returns, without NaN, and of the benchmark's where it is against them.

    None below the metric's fewest returns, and where it is not finite. `whole_years` says that they
    are those of whole calendar years.
    """
    fewest = FEWEST_RETURNS.get(metric, 2)
    if len(returns[0]) < (min(fewest, FEWEST_FOR_RISK) if whole_years else fewest):
        return None
    with np.errstate(all="ignore"):
        found = _FORMULAS[metric](*returns)
    return found if np.isfinite(found) else None
