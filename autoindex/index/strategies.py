"""From closes to weights, by strategy; the limits come afterwards."""

from collections.abc import Callable
from typing import Final

import numpy as np

from autoindex.index import market_cap, momentum, risk_parity, volatility
from autoindex.index.decisions import Decisions, Matrix
from autoindex.requests import Strategy

COMPOSITE: Final = (
    (0.4, Strategy.MOMENTUM),
    (0.3, Strategy.MARKET_CAP),
    (0.3, Strategy.INVERSE_VOLATILITY),
)

# What weights by shares outstanding, which are those of one day for every session.
BY_SHARES: Final = frozenset({Strategy.MARKET_CAP, Strategy.COMPOSITE})

# Closes a strategy needs, the deciding session's own included.
LOOKBACK: Final = {
    Strategy.EQUAL_WEIGHT: 1,
    Strategy.MARKET_CAP: 1,
    Strategy.MOMENTUM: momentum.SESSIONS + 1,
    Strategy.INVERSE_VOLATILITY: volatility.SESSIONS + 1,
    Strategy.RISK_PARITY: volatility.SESSIONS + 1,
    Strategy.COMPOSITE: volatility.SESSIONS + 1,
}


def weights(strategy: Strategy, decisions: Decisions) -> Matrix:
    """Weights before limits, decisions × symbols: ≥ 0, each row sums to 1.

    Raises `IndexImpossible` where a strategy lacks what it weights by.
    """
    return _RULES[strategy](decisions)


def _composite(decisions: Decisions) -> Matrix:
    # Blended before capping: a cap on the parts would be loosened by the blend.
    blended = np.zeros(decisions.able.shape)
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
