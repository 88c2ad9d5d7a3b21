"""Whether the provider's bars still agree with the stored ones."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.market_data.bars import Bars

# Prices come as text with a varying number of decimals. Allowed is half of the third decimal, at
# most a hundredth of the price, and one basis point for the rounding of large prices.
_RELATIVE: Final = 1e-4
_ABSOLUTE: Final = 0.000_5
_ABSOLUTE_AT_MOST: Final = 0.01


def is_restated(
    fetched: Bars, sessions: NDArray[np.datetime64], closes: NDArray[np.float64]
) -> bool:
    """Whether the provider has changed history since it was stored.

    `sessions` and `closes` are the stored ones of the fetched window. The two closes of each common
    session are compared, never a session with the one before: a split of any ratio is a
    restatement, a crash is not. Without a common session the bars can't be joined, which counts as
    restated. False where either side is empty.
    """
    if not len(fetched) or not len(sessions):
        return False
    _, ours, theirs = np.intersect1d(sessions, fetched.sessions, return_indices=True)
    if not len(ours):
        return True
    before, now = closes[ours], fetched.close[theirs]
    allowed = _RELATIVE * now + np.minimum(_ABSOLUTE, _ABSOLUTE_AT_MOST * now)
    return bool((np.abs(before - now) > allowed).any())
