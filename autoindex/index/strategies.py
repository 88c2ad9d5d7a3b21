"""The strategies: from closes to weights, before limits."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.index import market_cap, momentum, risk_parity, volatility
from autoindex.index.decisions import Decisions, Matrix
from autoindex.requests import Strategy

COMPOSITE: Final = (
    (0.4, Strategy.MOMENTUM),
    (0.3, Strategy.MARKET_CAP),
    (0.3, Strategy.INVERSE_VOLATILITY),
)

# The strategies that weight by shares outstanding.
BY_SHARES: Final = frozenset({Strategy.MARKET_CAP, Strategy.COMPOSITE})

# How many closes a strategy needs, that of the decision session included.
LOOKBACK: Final = {
    Strategy.EQUAL_WEIGHT: 1,
    Strategy.MARKET_CAP: 1,
    Strategy.MOMENTUM: momentum.SESSIONS + 1,
    Strategy.INVERSE_VOLATILITY: volatility.SESSIONS + 1,
    Strategy.RISK_PARITY: volatility.SESSIONS + 1,
    Strategy.COMPOSITE: volatility.SESSIONS + 1,
}


def weightable(
    strategy: Strategy, eligible: NDArray[np.bool_], shares: Matrix
) -> NDArray[np.bool_]:
    """At which sessions a strategy can weight any of the eligible symbols, sessions × symbols.

    `market_cap` and `composite` need one with shares outstanding (NaN where unknown). A composite
    without that part would be another index than the one that is described.
    """
    if strategy in BY_SHARES:
        return np.asarray(eligible.any(axis=1, where=shares > 0))
    return np.asarray(eligible.any(axis=1))


def weights(strategy: Strategy, decisions: Decisions) -> Matrix:
    """Weights before limits, decisions × symbols: ≥ 0, 0 for ineligible symbols; rows sum to 1.

    Each decision must be `weightable`. Raises `IndexImpossible` where a solver does not converge.
    """
    return _RULES[strategy](decisions)


def _composite(decisions: Decisions) -> Matrix:
    # Blended before the limits: limits on the parts would not hold for the blend.
    blended = np.zeros(decisions.eligible.shape)
    for share, part in COMPOSITE:
        blended += share * weights(part, decisions)
    return blended


_RULES: Final[dict[Strategy, Callable[[Decisions], Matrix]]] = {
    Strategy.EQUAL_WEIGHT: Decisions.equal,
    Strategy.MARKET_CAP: market_cap.weights,
    Strategy.MOMENTUM: momentum.weights,
    Strategy.INVERSE_VOLATILITY: volatility.weights,
    Strategy.RISK_PARITY: risk_parity.weights,
    Strategy.COMPOSITE: _composite,
}
