"""Which symbols can be weighted when: late listings, gaps in their bars, delistings."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

# A gap of up to this many sessions is carried forward; a longer one takes a symbol out.
LONGEST_GAP: Final = 5

Closes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Listing:
    """Closes carried forward, and for each bar how long its symbol has been trading.

    `closes` is sessions × symbols, NaN only before a symbol's first bar. `since` and `last_bar`
    hold, for symbols with gaps only, the session number where the present run of bars began and
    that of the newest bar; all others trade from `first` on without a gap.
    """

    closes: Closes
    first: NDArray[np.int64]
    since: dict[int, NDArray[np.int64]]
    last_bar: dict[int, NDArray[np.int64]]

    @classmethod
    def read(cls, closes: Closes) -> Self:
        """Carry gaps forward; the matrix is copied only where there is something to carry."""
        there = np.isfinite(closes)
        first = np.where(there.any(axis=0), there.argmax(axis=0), len(closes))
        bars = there.sum(axis=0)
        gappy = np.flatnonzero(bars < len(closes) - first)
        if not len(gappy):
            return cls(closes, first, {}, {})
        carried, since, last_bar = closes.copy(), {}, {}
        for column in gappy:
            known = there[:, column]
            last_bar[int(column)] = newest = _newest(known)
            since[int(column)] = _run_begin(known, newest)
            filled = newest >= 0
            carried[filled, column] = closes[newest[filled], column]
        return cls(carried, first, since, last_bar)

    def tradable(self, session: int, lookback: int) -> NDArray[np.bool_]:
        """Symbols with `lookback` sessions of closes up to `session`, and no long gap in them."""
        able: NDArray[np.bool_] = session - self.first + 1 >= lookback
        for column, since in self.since.items():
            fresh = session - self.last_bar[column][session] <= LONGEST_GAP
            able[column] = fresh and session - since[session] + 1 >= lookback
        return able

    @property
    def gaps(self) -> int:
        """How many bars were carried forward."""
        return sum(int((np.arange(len(n)) > n)[n >= 0].sum()) for n in self.last_bar.values())


def _newest(known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each session the number of the newest one with a bar; −1 before the first."""
    return np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))


def _run_begin(known: NDArray[np.bool_], newest: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each session's run of bars began: at the first bar, or the first after a long gap."""
    numbers = np.arange(len(known))
    before = np.concatenate([[-1], newest[:-1]])
    begins = known & ((before < 0) | (numbers - before > LONGEST_GAP + 1))
    return np.maximum.accumulate(np.where(begins, numbers, 0))
