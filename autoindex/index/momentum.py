"""Momentum: weights proportional to the positive return over the last 20 sessions."""

from typing import Final

import numpy as np

from autoindex.index.decisions import Decisions, Matrix, proportional

SESSIONS: Final = 20
# A symbol with this return or a lower one does not qualify.
WORST_RETURN: Final = -0.01


def weights(decisions: Decisions) -> Matrix:
    """Weights by the return over 20 sessions, decisions × symbols.

    A return above −1 % qualifies, with the score max(return, 0). Where all scores are zero, the
    qualifying symbols have equal weights; where none qualifies, all eligible ones have.
    """
    closes, at, eligible = decisions.closes, decisions.at, decisions.eligible
    returns = closes[at] / closes[at - SESSIONS] - 1
    scores = np.where(eligible & (returns > 0), returns, 0)
    flat = ~scores.any(axis=1)
    qualifies = eligible[flat] & (returns[flat] > WORST_RETURN)
    scores[flat] = np.where(qualifies.any(axis=1, keepdims=True), qualifies, eligible[flat])
    return proportional(scores)
