"""Closes that jump by the ratio of a split: the provider may not have restated the history yet."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.market_data.bars import Bars

_RATIOS: Final = (3 / 2, 2, 3, 4, 5, 10, 20)
_TOLERANCE: Final = 0.02
_FACTORS: Final = np.array([*_RATIOS, *(1 / ratio for ratio in _RATIOS)])


def is_jump(factors: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which factors from close to close are within 2 % of a split's or a reverse split's ratio."""
    jumps: NDArray[np.bool_] = (np.abs(factors[:, None] / _FACTORS - 1) <= _TOLERANCE).any(axis=1)
    return jumps


def sessions(bars: Bars) -> NDArray[np.datetime64]:
    """The sessions of the bars that jump from the bar before."""
    return bars.sessions[1:][is_jump(bars.close[1:] / bars.close[:-1])]
