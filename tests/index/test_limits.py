"""Cap and floor: against ffn, against one step at a time, and by hand."""

import ffn
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autoindex.errors import IndexImpossible
from autoindex.index.limits import apply_cap, apply_limits, cap_for, floors_for

Weights = NDArray[np.float64]

# Over eleven orders of magnitude, with ties and zeros.
raw = st.one_of(
    st.sampled_from([0.0, 1.0, 1.0, 3.0]), st.floats(-8, 3).map(lambda power: float(10**power))
)
raw_weights = st.lists(raw, min_size=1, max_size=120).filter(lambda row: sum(row) > 0)


def normalised(row: list[float]) -> Weights:
    weights = np.array(row)
    result: Weights = weights / weights.sum()
    return result


def one_step_at_a_time(weights: Weights) -> Weights:
    """The rule as it is written: cap, drop the smallest below the floor, renormalise, again."""
    held = {number: weight for number, weight in enumerate(weights) if weight > 0}
    while True:
        total = sum(held.values())
        now = cap_in_rounds({n: w / total for n, w in held.items()}, max(0.4, 1 / len(held)))
        smallest = min(now, key=lambda n: (now[n], n))
        if now[smallest] >= min(0.01, 1 / (2 * len(held))) * (1 - 1e-12):
            return np.array([now.get(number, 0.0) for number in range(len(weights))])
        del held[smallest]


def cap_in_rounds(weights: dict[int, float], cap: float) -> dict[int, float]:
    now = dict(weights)
    for _ in range(200):
        excess = sum(max(0.0, weight - cap) for weight in now.values())
        under = sum(weight for weight in now.values() if weight < cap)
        if excess < 1e-15 or not under:
            break
        now = {n: cap if w >= cap else w * (1 + excess / under) for n, w in now.items()}
    return now


@given(raw_weights)
@example([1e5, *[1.0] * 99])
@example([1e5, 1e5, 1.0, 1e-3, 1e-5])
@example([3.0, *[0.3] * 7, 0.9, 12.0, 12.0])  # seven at the floor, but for rounding
@example([0.5, 0.3, 0.12, 0.04, 0.02, 0.01, 0.005, 0.005])
def test_as_one_step_at_a_time(row: list[float]) -> None:
    weights = normalised(row)
    expected = one_step_at_a_time(weights)
    np.testing.assert_allclose(apply_limits(weights[None])[0], expected, rtol=0, atol=1e-9)


@given(st.lists(raw_weights, min_size=2, max_size=5))
def test_each_decision_is_limited_by_itself(rows: list[list[float]]) -> None:
    width = max(map(len, rows))
    weights = np.array([normalised(row + [0.0] * (width - len(row))) for row in rows])
    together = apply_limits(weights)
    alone = np.concatenate([apply_limits(row[None]) for row in weights])
    np.testing.assert_array_equal(together, alone)


@given(raw_weights, st.floats(0.02, 1.0))
def test_the_cap_as_in_ffn(row: list[float], cap: float) -> None:
    weights = normalised([value + 1e-6 for value in row])
    if cap * len(weights) < 1.001:
        return
    expected = ffn.limit_weights(pd.Series(weights), cap)
    np.testing.assert_allclose(apply_cap(weights, cap), expected, rtol=1e-9, atol=1e-12)


@given(raw_weights)
def test_weights_within_the_limits_are_left_alone(row: list[float]) -> None:
    once = apply_limits(normalised(row)[None])
    np.testing.assert_allclose(apply_limits(once), once, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1.0], [1.0]),
        ([0.9, 0.1], [0.5, 0.5]),  # two: the cap is an equal share
        ([0.9, 0.05, 0.05], [0.4, 0.3, 0.3]),
        # 0.2 over is shared 3 : 1, which lifts the second over the cap; its 0.05 goes on.
        ([0.6, 0.3, 0.1], [0.4, 0.4, 0.2]),
        # 0.2 is left for the last two, 49 : 1: 0.4 % is below the floor, and dropped.
        ([0.5, 0.495, 0.0049, 0.0001], [0.4, 0.4, 0.2, 0.0]),
        ([0.0, 0.3, 0.3, 0.4], [0.0, 0.3, 0.3, 0.4]),
        # Ten of 100 at a third of an equal share: all below 0.5 %, all dropped.
        ([1 / 300] * 10 + [29 / 2700] * 90, [0.0] * 10 + [1 / 90] * 90),
        # At two hundred the floor is 0.25 %, half an equal share, which 0.3 % is over.
        ([0.003] * 100 + [0.007] * 100, [0.003] * 100 + [0.007] * 100),
    ],
)
def test_by_hand(weights: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(apply_limits(np.array([weights]))[0], expected, rtol=0, atol=1e-12)


def test_of_equal_weights_the_first_is_dropped_first() -> None:
    """Two at 0.99 % of 42: without the first, the second is at 0.99/99.01 = 0.99992 %, also below;
    at 0.995 % the second is at 1.00000 %: 0.995/99.005 = 1.00500 %, and stays.
    """
    both = apply_limits(np.array([[0.0099, 0.0099, *[0.9802 / 40] * 40]]))[0]
    assert (both[:2] == 0).all()
    one = apply_limits(np.array([[0.00995, 0.00995, *[0.9801 / 40] * 40]]))[0]
    assert one[0] == 0
    assert one[1] == pytest.approx(0.00995 / 0.99005)


def test_the_limits_themselves() -> None:
    assert [cap_for(count) for count in (1, 2, 3, 500)] == [1, 0.5, 0.4, 0.4]
    floors = floors_for(np.array([1, 49, 50, 51, 500]))
    assert floors.tolist() == [0.01, 0.01, 0.01, 1 / 102, 0.001]


def test_a_cap_that_cannot_hold_says_why() -> None:
    with pytest.raises(IndexImpossible, match=r"4 weights of at most 20\.00% do not sum to 1"):
        apply_cap(np.full(4, 0.25), 0.2)
    np.testing.assert_allclose(apply_cap(np.array([0.7, 0.1, 0.1, 0.1]), 0.25), 0.25)
