"""Momentum's scores, by hand."""

import numpy as np
import pytest

from autoindex.index import momentum
from tests.index.markets import decide


def weights(*returns: float) -> list[float]:
    """Weights where prices went from 100 to 100 × (1 + return) over 20 sessions."""
    closes = np.full((21, len(returns)), 100.0)
    closes[10] = 1_000  # what lies between does not matter
    closes[-1] = 100 * (1 + np.array(returns))
    found: list[float] = momentum.weights(decide(closes))[0].tolist()
    return found


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        ([0.10, 0.05, -0.005, -0.20], [2 / 3, 1 / 3, 0, 0]),
        ([0.07], [1]),
        ([-0.5], [1]),
        # No score is positive: equal among what has lost less than 1 %.
        ([0.0, -0.005, -0.02], [0.5, 0.5, 0]),
        ([0.0, 0.0, 0.0], [1 / 3] * 3),
        # Nothing qualifies: equal over all.
        ([-0.02, -0.5, -0.03, -0.015], [0.25] * 4),
        # One riser takes all; the cap comes later.
        ([0.001, -0.3, -0.3], [1, 0, 0]),
    ],
)
def test_by_hand(returns: list[float], expected: list[float]) -> None:
    assert weights(*returns) == pytest.approx(expected, abs=1e-12)


def test_a_fall_of_exactly_one_percent_does_not_qualify() -> None:
    closes = np.full((21, 2), 128.0)
    closes[-1] = 128 * 0.99, 128
    assert momentum.weights(decide(closes))[0].tolist() == [0, 1]


def test_only_the_last_twenty_returns_count() -> None:
    closes = np.random.default_rng(1).uniform(50, 60, (80, 4))
    short = momentum.weights(decide(closes[-21:]))
    np.testing.assert_array_equal(momentum.weights(decide(closes)), short)
