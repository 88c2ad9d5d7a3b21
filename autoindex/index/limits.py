"""Limits on weights: a cap and a floor."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.errors import IndexImpossible

CAP: Final = 0.40
FLOOR: Final = 0.01
# A weight this close to a limit, relatively, is at the limit: the difference is rounding.
_ROUNDING: Final = 1e-12

Weights = NDArray[np.float64]


def cap_for(count: int) -> float:
    """The largest weight among `count` holdings: 40 %, or an equal weight where that is more."""
    return max(CAP, 1 / count)


def floors_for(counts: NDArray[np.int64]) -> Weights:
    """The smallest weight among so many holdings: 1 %, or half an equal one where that is less."""
    floors: Weights = np.minimum(FLOOR, 1 / (2 * counts))
    return floors


def apply_limits(weights: Weights) -> Weights:
    """Weights within cap and floor, decisions × symbols; each row sums to 1 before and after.

    The excess over the cap is redistributed to the other weights in proportion, until none is over
    it. Then the smallest weight below the floor is dropped (of equal ones the first by position),
    and the rest are renormalised and capped again, until none is below. Cap and floor depend on
    how many symbols have a weight. The cap is never below an equal weight, so the excess always
    fits. No weight may be NaN.
    """
    ascending = np.sort(weights, axis=1)
    # The total of the weights that are left once all before a position are dropped.
    left = np.cumsum(ascending[:, ::-1], axis=1)[:, ::-1]
    counts = np.arange(weights.shape[1], 0, -1)
    kept = ascending >= left * floors_for(counts) * (1 - _ROUNDING)
    first = kept.argmax(axis=1)[:, None]
    smallest = np.take_along_axis(ascending, first, axis=1)
    total = np.take_along_axis(left, first, axis=1)
    result: Weights = np.where(weights >= smallest, weights, 0) / total
    # This is the result where no weight reaches the cap, and the drop does not cut a tie.
    over = ascending[:, -1:] > CAP * total
    tied = np.take_along_axis(ascending, np.maximum(first - 1, 0), axis=1) == smallest
    for row in np.flatnonzero(over | (tied & (first > 0))):
        result[row] = _one_by_one(weights[row])
    return result


def _one_by_one(weights: Weights) -> Weights:
    """The same for one decision, also where weights reach the cap."""
    order = np.argsort(weights, kind="stable")
    order = order[weights[order] > 0]
    while True:
        left = weights[order]
        held = apply_cap(left / left.sum(), cap_for(len(left)))
        drop = _too_small(left, held)
        if not drop:
            break
        order = order[drop:]
    result = np.zeros_like(weights)
    result[order] = held
    return result


def _too_small(left: Weights, held: Weights) -> int:
    """How many of the smallest can be dropped at once, with the result of one by one.

    Each drop renormalises the rest. While no other weight reaches the cap, that divides them by
    their total, so all drops can be computed together. `left` are ascending.
    """
    count, cap = len(left), cap_for(len(left))
    floors = floors_for(count - np.arange(count)) * (1 - _ROUNDING)
    if held[0] >= floors[0]:
        return 0
    free = left[held < cap]
    room = 1 - cap * (count - len(free))
    scales = room / np.cumsum(free[::-1])[::-1]
    large_enough = free * scales >= floors[: len(free)]
    reaches_cap = free[-1] * scales > cap
    return max(1, int((large_enough | reaches_cap).argmax()))


def apply_cap(weights: Weights, cap: float) -> Weights:
    """Positive weights that sum to 1, none over the cap: the excess goes to the others.

    Each round caps at least one more weight, so there are at most as many rounds as weights. Raises
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
