"""Volatility over the last 60 sessions, and weights inverse to it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.index.decisions import Decisions, Matrix, proportional

SESSIONS: Final = 60
# A variance this much below the squares is rounding: the price is constant or grows evenly.
_ROUNDING: Final = 1e-12


def volatility(decisions: Decisions) -> Matrix:
    """Standard deviation (ddof 1) of the last 60 returns, not annualised; decisions × symbols.

    0 where the price is constant or grows evenly, NaN without 60 returns.
    """
    returns, ends = decisions.returns(SESSIONS)
    squares = window_sums(returns * returns, ends, SESSIONS)
    spread = squares - window_sums(returns, ends, SESSIONS) ** 2 / SESSIONS
    spread[spread <= _ROUNDING * squares] = 0
    result: Matrix = np.sqrt(spread / (SESSIONS - 1))
    return result


def window_sums(values: Matrix, ends: NDArray[np.int64], length: int) -> Matrix:
    """Sums of the `length` rows before each of `ends`; windows × columns.

    Runs of 1, 2, 4, … rows are summed once for all windows. Unlike a difference of cumulative sums,
    a sum depends on its window alone, to the last bit: NaN before the window has no effect.
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

    A symbol without volatility gets no weight; where none has volatility, weights are equal.
    """
    deviations = volatility(decisions)
    moving = decisions.eligible & (deviations > 0)
    inverse = moving / np.where(moving, deviations, 1)
    still = ~moving.any(axis=1)
    inverse[still] = decisions.eligible[still]
    return proportional(inverse)
