"""Limits on weights: none too large, none too small to matter."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

CAP: Final = 0.40
FLOOR: Final = 0.01

Weights = NDArray[np.float64]


def cap_of(count: int) -> float:
    """The largest weight allowed among `count` holdings: 40 %, or what equal weights need."""
    return max(CAP, 1 / count)


def floor_of(count: int) -> float:
    """The smallest weight kept among `count` holdings: 1 %, or half of an equal weight."""
    return min(FLOOR, 1 / (2 * count))


def limited(weights: Weights) -> Weights:
    """Weights within cap and floor; they sum to 1.

    What is over the cap goes to the others in proportion, until none is over it. Then the smallest
    below the floor is dropped (of equal ones the first by position), the rest are renormalised and
    capped again, until none is below. Cap and floor count the stocks that have a weight; because
    the cap is never under an equal share, there is always room for what is over it.
    """
    order = np.argsort(weights, kind="stable")
    order = order[weights[order] > 0]
    raw = weights[order]
    dropped = 0
    while True:
        left = raw[dropped:]
        held, over = capped(left / left.sum())
        drop = _too_small(left, over, held)
        if not drop:
            break
        dropped += drop
    result = np.zeros_like(weights)
    result[order[dropped:]] = held
    return result


def capped(weights: Weights) -> tuple[Weights, NDArray[np.bool_]]:
    """Weights with none over the cap, and which of them stand at it; `weights` sum to 1."""
    cap = cap_of(len(weights))
    over = np.zeros(len(weights), bool)
    held = weights
    while (held > cap * (1 + 1e-15)).any():
        over |= held > cap
        if over.all():
            return np.full(len(weights), 1 / len(weights)), over
        room = 1 - cap * over.sum()
        free = np.where(over, 0.0, weights)
        held = np.where(over, cap, free * (room / free.sum()))
    return held, over


def _too_small(left: Weights, over: NDArray[np.bool_], held: Weights) -> int:
    """How many of the smallest may be dropped at once, as if they were dropped one by one.

    One at a time each drop renormalises the rest. As long as no other weight reaches the cap, that
    is a division by what is left, so all steps can be looked at together.
    """
    count = len(left)
    if count == 1 or held[0] >= floor_of(count):
        return 0
    free = left[~over]
    room = 1 - cap_of(count) * over.sum()
    scales = room / np.cumsum(free[::-1])[::-1]
    counts = count - np.arange(len(free))
    floors = np.minimum(FLOOR, 1 / (2 * counts))
    small = free * scales < floors
    reaches_cap = free[-1] * scales > CAP
    steps = min(_first(~small, len(free)), max(1, _first(reaches_cap, len(free))))
    return min(steps, count - 1)


def _first(mask: NDArray[np.bool_], otherwise: int) -> int:
    return int(mask.argmax()) if mask.any() else otherwise
