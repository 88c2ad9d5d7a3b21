"""Volatility over the last 60 sessions, and weights inverse to it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SESSIONS: Final = 60


def returns(closes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last 60 simple returns, sessions × symbols."""
    window = closes[-1 - SESSIONS :]
    result: NDArray[np.float64] = window[1:] / window[:-1] - 1
    return result


def volatility(closes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of the last 60 returns, ddof 1, per session."""
    moves = returns(closes)
    moves -= moves.mean(axis=0)
    result: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->j", moves, moves) / (len(moves) - 1))
    return result


def weights(closes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights proportional to 1 / volatility.

    A symbol that has not moved gets none; where nothing has moved, all get the same.
    """
    deviations = volatility(closes)
    moves = deviations > 0
    if not moves.any():
        return np.full(len(deviations), 1 / len(deviations))
    inverse = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=moves)
    result: NDArray[np.float64] = inverse / inverse.sum()
    return result
