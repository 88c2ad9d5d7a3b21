"""Risk: drawdowns, and volatility and Sharpe ratio over a rolling window."""

from typing import Final

import numpy as np
import pandas as pd

from autoindex.index.performance_measures import SESSIONS_A_YEAR
from autoindex.reports.content import Drawdown, Series
from autoindex.reports.figures.history import (
    Floats,
    History,
    numbers,
    rebased,
)

# A quarter: more than the fewest returns that a volatility takes.
_SHORT_WINDOW: Final = 63


def drawdown(values: Floats) -> Floats:
    """Value over the highest value so far, less 1: 0 or negative; NaN where the value is NaN."""
    fallen: Floats = values / np.fmax.accumulate(values) - 1.0
    return fallen


def worst_drawdowns(history: History, count: int = 5) -> tuple[Drawdown, ...]:
    """The `count` deepest drawdowns, deepest first; of equal depths the earlier first."""
    depth = drawdown(history.level)
    highs = np.flatnonzero(depth == 0.0)
    episodes = [
        (float(depth[high:back].min()), int(high), int(back))
        for high, back in zip(highs, [*highs[1:], len(depth)], strict=True)
        if back - high > 1
    ]
    return tuple(
        _episode(history.sessions, depth, high, back) for _, high, back in sorted(episodes)[:count]
    )


def _episode(sessions: pd.DatetimeIndex, depth: Floats, high: int, back: int) -> Drawdown:
    trough = high + int(np.argmin(depth[high:back]))
    recovered = back < len(sessions)
    return Drawdown(
        start=sessions[high].date(),
        trough=sessions[trough].date(),
        recovered=sessions[back].date() if recovered else None,
        depth=float(depth[trough]),
        sessions_to_trough=trough - high,
        sessions_to_recovery=back - trough if recovered else None,
    )


def series(history: History) -> Series:
    """Daily figures since inception, and rolling ones over 252 sessions.

    The rolling window is 63 sessions below 505 levels. Rolling figures are annual, and None until
    the window is full. The Sharpe ratio takes a risk-free rate of zero, and is None without
    volatility.
    """
    window = SESSIONS_A_YEAR if len(history) > 2 * SESSIONS_A_YEAR else _SHORT_WINDOW
    benchmark = rebased(history.level, history.benchmark)
    volatility, sharpe = _rolling(history.level, window)
    benchmark_volatility, _ = _rolling(benchmark, window)
    return Series(
        sessions=tuple(history.sessions.date.tolist()),
        level=tuple(history.level.tolist()),
        benchmark=numbers(benchmark),
        drawdown=tuple(drawdown(history.level).tolist()),
        benchmark_drawdown=numbers(drawdown(benchmark)),
        rolling_volatility=numbers(volatility),
        benchmark_rolling_volatility=numbers(benchmark_volatility),
        rolling_sharpe=numbers(sharpe),
        rolling_sessions=window,
    )


def _rolling(values: Floats, window: int) -> tuple[Floats, Floats]:
    """Annual volatility and Sharpe ratio of the last `window` returns, NaN before."""
    volatility = np.full(len(values), np.nan)
    sharpe = np.full(len(values), np.nan)
    if len(values) <= window:
        return volatility, sharpe
    returns = values[1:] / values[:-1] - 1.0
    windows = np.lib.stride_tricks.sliding_window_view(returns, window)
    deviation = windows.std(axis=1, ddof=1)
    volatility[window:] = deviation * np.sqrt(SESSIONS_A_YEAR)
    moving = deviation > 0.0
    sharpe[window:][moving] = (windows.mean(axis=1)[moving] / deviation[moving]) * np.sqrt(
        SESSIONS_A_YEAR
    )
    return volatility, sharpe
