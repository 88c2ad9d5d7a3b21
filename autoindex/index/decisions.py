"""Decisions: what is known at the sessions on which weights are decided."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decisions:
    """Some sessions at whose closes weights are decided, in order, and what may be weighted then.

    `closes` is sessions × symbols and reaches back a lookback before the first decision; `at` are
    the deciding rows of it. `able`, decisions × symbols, marks what has a full lookback: at least
    one symbol each time. `shares` are outstanding by symbol, NaN where unknown.
    """

    closes: Matrix
    at: NDArray[np.int64]
    able: NDArray[np.bool_]
    shares: Matrix

    def returns(self, sessions: int) -> tuple[Matrix, NDArray[np.int64]]:
        """Simple returns from `sessions` before the first decision to the last.

        And for each decision how many of these returns are known at its close.
        """
        first = self.at[0] - sessions
        window = self.closes[first : self.at[-1] + 1]
        returns = window[1:] / window[:-1]
        returns -= 1
        return returns, self.at - first

    def equal(self) -> Matrix:
        """The same weight for all that may be weighted."""
        return proportional(self.able.astype(np.float64))


def proportional(scores: Matrix) -> Matrix:
    """Scores ≥ 0, decisions × symbols, as weights that sum to 1 for each decision."""
    result: Matrix = scores / scores.sum(axis=1, keepdims=True)
    return result
