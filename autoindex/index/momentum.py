"""Momentum: more weight for what has risen over the last 20 sessions."""

from typing import Final

import numpy as np

from autoindex.index.decisions import Decisions, Matrix, proportional

SESSIONS: Final = 20
# A stock that has fallen by this much or more does not qualify.
WORST_RETURN: Final = -0.01


def weights(decisions: Decisions) -> Matrix:
    """Weights by the return over 20 sessions, decisions × symbols.

    A return over −1 % qualifies, with the score max(return, 0). All scores zero: equal among what
    qualifies. Nothing qualifies: equal over all.
    """
    closes, at, able = decisions.closes, decisions.at, decisions.able
    returns = closes[at] / closes[at - SESSIONS] - 1
    scores = np.where(able & (returns > 0), returns, 0)
    flat = ~scores.any(axis=1)
    qualifies = able[flat] & (returns[flat] > WORST_RETURN)
    scores[flat] = np.where(qualifies.any(axis=1, keepdims=True), qualifies, able[flat])
    return proportional(scores)
