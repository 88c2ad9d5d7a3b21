"""Momentum: more weight for what has risen over the last 20 sessions."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SESSIONS: Final = 20
# A stock that has fallen by this much or more does not qualify.
WORST_RETURN: Final = -0.01


def weights(closes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights from the last 21 closes, sessions × symbols.

    A return over −1 % qualifies, with the score max(return, 0). All scores zero: equal among what
    qualifies. Nothing qualifies: equal over all.
    """
    returns = closes[-1] / closes[-1 - SESSIONS] - 1
    qualifies = returns > WORST_RETURN
    scores = np.where(qualifies, np.maximum(returns, 0), 0)
    if not scores.any():
        scores = (qualifies if qualifies.any() else np.ones_like(qualifies)).astype(np.float64)
    result: NDArray[np.float64] = scores / scores.sum()
    return result
