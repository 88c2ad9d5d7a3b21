"""The composite is a blend of its parts, before the limits."""

import numpy as np
import pytest

from autoindex.index import market_cap, momentum, strategies, volatility
from autoindex.index.limits import CAP, apply_limits
from autoindex.requests import Frequency, Strategy
from tests.index.markets import decide, random_closes, run, shares_of


def test_the_composite_is_blended() -> None:
    """Before capping: a part's weight may be over the cap that the blend keeps within."""
    decisions = decide(random_closes(1), [5, 1, 3, 800, 2])
    assert market_cap.weights(decisions).max() > CAP
    expected = (
        0.4 * momentum.weights(decisions)
        + 0.3 * market_cap.weights(decisions)
        + 0.3 * volatility.weights(decisions)
    )
    found = strategies.weights(Strategy.COMPOSITE, decisions)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("strategy", Strategy)
def test_the_index_holds_a_strategys_weights_within_limits(strategy: Strategy) -> None:
    closes = random_closes(2)
    shares = shares_of(closes)
    series = run(closes, strategy, Frequency.MONTHLY, shares=shares)
    for session, weights in series.weights.iterrows():
        decisions = decide(closes[:session], shares)
        alone = apply_limits(strategies.weights(strategy, decisions))
        np.testing.assert_allclose(weights, alone[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("strategy", "sessions"),
    [
        ("equal_weight", 1),
        ("market_cap", 1),
        ("momentum", 21),
        ("inverse_volatility", 61),
        ("risk_parity", 61),
        ("composite", 61),
    ],
)
def test_lookbacks(strategy: str, sessions: int) -> None:
    assert strategies.LOOKBACK[Strategy(strategy)] == sessions
