"""Volatility over the last 60 sessions, and weights inverse to it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.index.decisions import Decisions, Matrix, proportional

SESSIONS: Final = 60
# What is left of squares this much larger is rounding: the price has stood still or grown evenly.
_ROUNDING: Final = 1e-12


def volatility(decisions: Decisions) -> Matrix:
    """Standard deviation of the last 60 returns, ddof 1, a session; decisions × symbols."""
    returns, ends = decisions.returns(SESSIONS)
    squares = window_sums(returns * returns, ends, SESSIONS)
    spread = squares - window_sums(returns, ends, SESSIONS) ** 2 / SESSIONS
    spread[spread <= _ROUNDING * squares] = 0
    result: Matrix = np.sqrt(spread / (SESSIONS - 1))
    return result


def window_sums(values: Matrix, ends: NDArray[np.int64], length: int) -> Matrix:
    """Sums of the `length` rows before each of `ends`.

    Runs of 1, 2, 4, … rows are summed once for all windows. Unlike differences of a cumulated sum,
    what comes out depends on the window alone, to the last bit, and NaN ends with its rows.
    """
    total = np.zeros((len(ends), values.shape[1]))
    runs, width = values, 1
    while True:
        if length & width:
            ends = ends - width
            total += runs[ends]
            length -= width
        if not length:
            return total
        runs = runs[:-width] + runs[width:]
        width *= 2


def weights(decisions: Decisions) -> Matrix:
    """Weights proportional to 1 / volatility, decisions × symbols.

    A symbol that has not moved gets none; where nothing has moved, all get the same.
    """
    deviations = volatility(decisions)
    moving = decisions.able & (deviations > 0)
    inverse = moving / np.where(moving, deviations, 1)
    still = ~moving.any(axis=1)
    inverse[still] = decisions.able[still]
    return proportional(inverse)
