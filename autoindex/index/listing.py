"""Which symbols can be weighted when: late listings, gaps in their bars, delistings."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

# A gap of up to this many sessions is carried forward; a longer one takes a symbol out.
LONGEST_GAP: Final = 5
# Symbols with gaps are worked on so many at a time, which bounds the memory that takes.
_COLUMNS: Final = 64

Closes = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sessions = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Listing:
    """Closes carried forward, and which symbols have a full lookback at each session's close.

    Both are sessions × symbols; `closes` are NaN only before a symbol's first bar. `gaps` counts
    the bars that were carried forward.
    """

    closes: Closes
    tradable: Mask
    gaps: int

    @classmethod
    def read(cls, closes: Closes, lookback: int) -> Self:
        """Carry gaps forward; the matrix is copied only where there is something to carry.

        A symbol is tradable with `lookback` sessions of closes, the session's own included, with
        no long gap in them or after them.
        """
        there = np.isfinite(closes)
        if not closes.size:
            return cls(closes, there, 0)
        first = np.where(there.any(axis=0), there.argmax(axis=0), len(closes))
        numbers = np.arange(len(closes), dtype=np.int32)[:, None]
        tradable = numbers >= (first + lookback - 1).astype(np.int32)
        gappy = np.flatnonzero(there.sum(axis=0) < len(closes) - first)
        carried, gaps = closes.copy() if len(gappy) else closes, 0
        for start in range(0, len(gappy), _COLUMNS):
            some = gappy[start : start + _COLUMNS]
            known = there[:, some]
            newest = _newest(known)
            age = numbers - newest
            run = numbers - _run_begin(known, newest) + 1
            tradable[:, some] = (newest >= 0) & (age <= LONGEST_GAP) & (run >= lookback)
            filled = np.take_along_axis(closes[:, some], np.maximum(newest, 0), axis=0)
            carried[:, some] = np.where(newest >= 0, filled, np.nan)
            gaps += int(((newest >= 0) & (age > 0)).sum())
        return cls(carried, tradable, gaps)


def _newest(known: Mask) -> Sessions:
    """For each session the number of the newest one with a bar; −1 before the first."""
    numbers = np.arange(len(known), dtype=np.int32)[:, None]
    return np.maximum.accumulate(np.where(known, numbers, np.int32(-1)), axis=0)


def _run_begin(known: Mask, newest: Sessions) -> Sessions:
    """Where each session's run of bars began: at the first bar, or the first after a long gap."""
    numbers = np.arange(len(known), dtype=np.int32)[:, None]
    before = np.concatenate([np.full_like(newest[:1], -1), newest[:-1]])
    begins = known & ((before < 0) | (numbers - before > LONGEST_GAP + 1))
    return np.maximum.accumulate(np.where(begins, numbers, np.int32(0)), axis=0)
