"""Which symbols are eligible at which session: late listings, gaps in bars, delistings."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

# A gap of up to this many sessions is carried forward; a longer one makes a symbol ineligible.
LONGEST_GAP: Final = 5
# Symbols with gaps are processed so many at a time, which bounds memory.
_COLUMNS: Final = 64
# Carried closes are kept for one session in so many, and computed from there for the others.
_MARKED: Final = 64

Closes = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sessions = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Which symbols have a full lookback at each session's close, and closes carried forward.

    `eligible` is sessions × symbols. `gaps` counts the missing bars within gaps that are carried
    forward. `ended` is the last session with a bar of each symbol that has no newer ones, −1 where
    it has none at all.
    """

    eligible: Mask
    gaps: int
    ended: dict[int, int]
    _closes: Closes
    _gappy: NDArray[np.intp]
    _marks: Closes

    @classmethod
    def read(cls, closes: Closes, lookback: int) -> Self:
        """Read closes, sessions × symbols, NaN where there is no bar; they are not changed.

        A symbol is eligible with closes of `lookback` sessions, the session's own included, and no
        gap of more than five sessions in them or after them.
        """
        there = np.isfinite(closes)
        if not closes.size:
            return cls(there, 0, {}, closes, np.empty(0, np.intp), closes[:0])
        first = np.where(there.any(axis=0), there.argmax(axis=0), len(closes))
        numbers = np.arange(len(closes), dtype=np.int32)[:, None]
        eligible = numbers >= (first + lookback - 1).astype(np.int32)
        gappy = np.flatnonzero(there.sum(axis=0) < len(closes) - first)
        marks, gaps = np.empty((-(-len(closes) // _MARKED), len(gappy))), 0
        ended = dict.fromkeys(np.flatnonzero(first == len(closes)).tolist(), -1)
        for start in range(0, len(gappy), _COLUMNS):
            some = gappy[start : start + _COLUMNS]
            newest = _newest(there[:, some])
            age = numbers - newest
            eligible[:, some] = _lookbacks(there[:, some], newest) >= lookback
            marks[:, start : start + _COLUMNS] = _carried(closes[:, some], newest, _MARKED)
            over = age[-1] > LONGEST_GAP
            ended |= dict(zip(some[over].tolist(), newest[-1, over].tolist(), strict=True))
            carried = (newest >= 0) & (age > 0) & (age <= LONGEST_GAP)
            gaps += int(np.count_nonzero(carried & ((numbers < newest[-1]) | ~over)))
        return cls(eligible, gaps, ended, closes, gappy, marks)

    def closes(self, sessions: slice) -> Closes:
        """Closes of some sessions, gaps carried forward, NaN only before a symbol's first bar.

        Read-only. They are carried on demand: the whole matrix would take its memory once more.
        """
        start, stop, _ = sessions.indices(len(self._closes))
        if not len(self._gappy) or start >= stop:
            return self._closes[start:stop]
        mark = start // _MARKED
        before = self._closes[mark * _MARKED : stop, self._gappy]
        # The close that was carried to the mark.
        before[0] = self._marks[mark]
        carried = self._closes[start:stop].copy()
        carried[:, self._gappy] = _carried(before, _newest(np.isfinite(before)))[
            start - mark * _MARKED :
        ]
        return carried


def lookbacks(closes: Closes) -> Sessions:
    """How many sessions of lookback each symbol has at each session's close; 0 if ineligible."""
    there = np.isfinite(closes)
    return _lookbacks(there, _newest(there))


def _lookbacks(known: Mask, newest: Sessions) -> Sessions:
    numbers = np.arange(len(known), dtype=np.int32)[:, None]
    usable = (newest >= 0) & (numbers - newest <= LONGEST_GAP)
    found: Sessions = np.where(usable, numbers - _run_begin(known, newest) + 1, np.int32(0))
    return found


def _carried(closes: Closes, newest: Sessions, step: int = 1) -> Closes:
    """The newest close at each `step`-th session; NaN before the first."""
    chosen = newest[::step]
    filled = np.take_along_axis(closes, np.maximum(chosen, 0), axis=0)
    result: Closes = np.where(chosen >= 0, filled, np.nan)
    return result


def _newest(known: Mask) -> Sessions:
    """The number of the newest session with a bar, for each session; −1 before the first."""
    numbers = np.arange(len(known), dtype=np.int32)[:, None]
    return np.maximum.accumulate(np.where(known, numbers, np.int32(-1)), axis=0)


def _run_begin(known: Mask, newest: Sessions) -> Sessions:
    """Where each session's run of bars begins: at the first bar, or the first after a long gap."""
    numbers = np.arange(len(known), dtype=np.int32)[:, None]
    before = np.concatenate([np.full_like(newest[:1], -1), newest[:-1]])
    begins = known & ((before < 0) | (numbers - before > LONGEST_GAP + 1))
    return np.maximum.accumulate(np.where(begins, numbers, np.int32(0)), axis=0)
