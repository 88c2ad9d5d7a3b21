"""Limits on weights: none too large, none too small to matter."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.errors import IndexImpossible

CAP: Final = 0.40
FLOOR: Final = 0.01
# A weight that is off a limit by this much, relatively, is at it: what is between is rounding.
_ROUNDING: Final = 1e-12

Weights = NDArray[np.float64]


def cap_of(count: int) -> float:
    """The largest weight allowed among `count` holdings: 40 %, or what equal weights need."""
    return max(CAP, 1 / count)


def floor_of(counts: NDArray[np.int64]) -> Weights:
    """The smallest weight kept among so many holdings: 1 %, or half of an equal weight."""
    floors: Weights = np.minimum(FLOOR, 1 / (2 * counts))
    return floors


def limited(weights: Weights) -> Weights:
    """Weights within cap and floor, decisions × symbols; each row sums to 1, as it did before.

    What is over the cap goes to the others in proportion, until none is over it. Then the smallest
    below the floor is dropped (of equal ones the first by position), the rest are renormalised and
    capped again, until none is below. Cap and floor count the stocks that have a weight; because
    the cap is never under an equal share, there is always room for what is over it.
    """
    ascending = np.sort(weights, axis=1)
    # What is left in all once those before a position are dropped, one after the other.
    left = np.cumsum(ascending[:, ::-1], axis=1)[:, ::-1]
    counts = np.arange(weights.shape[1], 0, -1)
    kept = ascending >= left * floor_of(counts) * (1 - _ROUNDING)
    first = kept.argmax(axis=1)[:, None]
    smallest = np.take_along_axis(ascending, first, axis=1)
    total = np.take_along_axis(left, first, axis=1)
    result: Weights = np.where(weights >= smallest, weights, 0) / total
    # That is the whole story as long as no weight reaches the cap and no tie is cut.
    over = ascending[:, -1:] > CAP * total
    tied = np.take_along_axis(ascending, np.maximum(first - 1, 0), axis=1) == smallest
    for row in np.flatnonzero(over | (tied & (first > 0))):
        result[row] = _one_by_one(weights[row])
    return result


def _one_by_one(weights: Weights) -> Weights:
    """The same for one decision, whatever reaches the cap."""
    order = np.argsort(weights, kind="stable")
    order = order[weights[order] > 0]
    while True:
        left = weights[order]
        held = capped(left / left.sum(), cap_of(len(left)))
        drop = _too_small(left, held)
        if not drop:
            break
        order = order[drop:]
    result = np.zeros_like(weights)
    result[order] = held
    return result


def _too_small(left: Weights, held: Weights) -> int:
    """How many of the smallest may be dropped at once, as if they were dropped one by one.

    Each drop renormalises the rest. As long as no other weight reaches the cap, that is a division
    by what is left, so all steps can be looked at together. `left` are ascending.
    """
    count, cap = len(left), cap_of(len(left))
    floors = floor_of(count - np.arange(count)) * (1 - _ROUNDING)
    if held[0] >= floors[0]:
        return 0
    free = left[held < cap]
    room = 1 - cap * (count - len(free))
    scales = room / np.cumsum(free[::-1])[::-1]
    large_enough = free * scales >= floors[: len(free)]
    reaches_cap = free[-1] * scales > cap
    return max(1, int((large_enough | reaches_cap).argmax()))


def capped(weights: Weights, cap: float) -> Weights:
    """Positive weights that sum to 1, with none over the cap: the excess goes to the others.

    Each round caps at least one more, so there are at most as many rounds as weights. Raises
    `IndexImpossible` where even equal weights are over the cap.
    """
    if cap * len(weights) < 1 - _ROUNDING:
        raise IndexImpossible(f"{len(weights)} weights of at most {cap:.2%} do not sum to 1")
    over = np.zeros(len(weights), bool)
    held = weights
    while (held > cap * (1 + _ROUNDING)).any():
        over |= held > cap
        if over.all():
            return np.full(len(weights), 1 / len(weights))
        room = 1 - cap * over.sum()
        free = np.where(over, 0.0, weights)
        held = np.where(over, cap, free * (room / free.sum()))
    return held
