"""Decision sessions: what is known at their closes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decisions:
    """Some decision sessions in order, and which symbols are eligible at each.

    `closes` is sessions × symbols from a lookback before the first decision on, gaps carried
    forward, NaN before a symbol's first bar; `at` are the rows of the decision sessions.
    `eligible`, decisions × symbols, marks the symbols with a full lookback, at least one a
    decision. `shares`, decisions × symbols, are the shares outstanding, NaN where unknown.
    """

    closes: Matrix
    at: NDArray[np.int64]
    eligible: NDArray[np.bool_]
    shares: Matrix

    def returns(self, sessions: int) -> tuple[Matrix, NDArray[np.int64]]:
        """Simple returns by session and symbol, from `sessions` before the first decision on.

        The second array says for each decision how many of these returns are known at its close.
        NaN before a symbol's first bar, and at it.
        """
        first = self.at[0] - sessions
        window = self.closes[first : self.at[-1] + 1]
        returns = window[1:] / window[:-1]
        returns -= 1
        return returns, self.at - first

    def equal(self) -> Matrix:
        """Equal weights of the eligible symbols, decisions × symbols."""
        return proportional(self.eligible.astype(np.float64))


def proportional(scores: Matrix) -> Matrix:
    """Scores ≥ 0, decisions × symbols, as weights; each row sums to 1.

    No score may be NaN, and a row of zeros gives NaN.
    """
    result: Matrix = scores / scores.sum(axis=1, keepdims=True)
    return result
