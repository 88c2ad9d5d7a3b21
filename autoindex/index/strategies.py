"""From closes to weights, by strategy; the limits come afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.index import market_cap, momentum, risk_parity, volatility
from autoindex.requests import Strategy

COMPOSITE: Final = (
    (0.4, Strategy.MOMENTUM),
    (0.3, Strategy.MARKET_CAP),
    (0.3, Strategy.INVERSE_VOLATILITY),
)

# Closes a strategy needs, the deciding session's own included.
LOOKBACK: Final = {
    Strategy.EQUAL_WEIGHT: 1,
    Strategy.MARKET_CAP: 1,
    Strategy.MOMENTUM: momentum.SESSIONS + 1,
    Strategy.INVERSE_VOLATILITY: volatility.SESSIONS + 1,
    Strategy.RISK_PARITY: volatility.SESSIONS + 1,
    Strategy.COMPOSITE: volatility.SESSIONS + 1,
}


@dataclass(frozen=True, slots=True)
class Candidates:
    """What one decision knows: closes up to the deciding session, sessions × symbols, no NaN in
    the lookback, and shares outstanding by symbol, NaN where unknown."""

    closes: NDArray[np.float64]
    shares: NDArray[np.float64]


def weights(strategy: Strategy, candidates: Candidates) -> NDArray[np.float64]:
    """Weights before limits, ≥ 0, summing to 1; raises `IndexImpossible`."""
    return _RULES[strategy](candidates)


def _equal(candidates: Candidates) -> NDArray[np.float64]:
    count = candidates.closes.shape[1]
    return np.full(count, 1 / count)


def _composite(candidates: Candidates) -> NDArray[np.float64]:
    # Blended before capping: a cap on the parts would be loosened by the blend.
    blended = np.zeros(candidates.closes.shape[1])
    for share, part in COMPOSITE:
        blended += share * weights(part, candidates)
    return blended


_RULES: Final[dict[Strategy, Callable[[Candidates], NDArray[np.float64]]]] = {
    Strategy.EQUAL_WEIGHT: _equal,
    Strategy.MARKET_CAP: lambda c: market_cap.weights(c.closes[-1], c.shares),
    Strategy.MOMENTUM: lambda c: momentum.weights(c.closes),
    Strategy.INVERSE_VOLATILITY: lambda c: volatility.weights(c.closes),
    Strategy.RISK_PARITY: lambda c: risk_parity.weights(c.closes),
    Strategy.COMPOSITE: _composite,
}
