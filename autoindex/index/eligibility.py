"""Which symbols are eligible at which session: late listings, gaps in bars, delistings."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

# A gap of up to this many sessions is carried forward; a longer one makes a symbol ineligible.
LONGEST_GAP: Final = 5

Closes = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sessions = NDArray[np.int32]


@dataclass(frozen=True)
class Eligibility:
    """Which symbols have a full lookback at each session's close, and closes carried forward.

    `eligible` is sessions × symbols. `closes`, NaN only before a symbol's first bar, begin with the
    `before` sessions that lookbacks reach back to in the block before. Sessions are numbered from
    the first block on: `sessions` is how many there are, `newest` that of each symbol's newest bar
    (−1 before the first) and `begun` where its run of bars has begun. `carried` counts the missing
    bars up to five sessions after one.
    """

    eligible: Mask
    closes: Closes
    before: int
    sessions: int
    newest: Sessions
    begun: Sessions
    carried: int

    @classmethod
    def read(cls, closes: Closes, lookback: int, earlier: Self | None = None) -> Self:
        """Read closes, sessions × symbols, NaN where there is no bar; they are not changed.

        `earlier` are the sessions just before. A symbol is eligible with closes of `lookback`
        sessions, the session's own included, and no gap of more than five sessions in them or
        after them.
        """
        if earlier is None:
            none = np.full(closes.shape[1], -1, np.int32)
            earlier = cls(np.isfinite(closes[:0]), closes[:0], 0, 0, none, none, 0)
        if not len(closes):
            return earlier
        there, start = np.isfinite(closes), earlier.sessions
        end, known = start + len(closes), earlier.newest >= 0
        first = np.where(there.any(axis=0), there.argmax(axis=0), len(closes)).astype(np.int32)
        begun = np.where(known, earlier.begun, start + first)
        newest = np.where(known | (first < len(closes)), np.int32(end - 1), np.int32(-1))
        numbers = np.arange(start, end, dtype=np.int32)[:, None]
        eligible = numbers >= begun + np.int32(lookback - 1)
        before = earlier.closes[max(0, len(earlier.closes) - lookback + 1) :]
        filled = np.concatenate([before, closes]) if start else closes
        whole = there.sum(axis=0) == len(closes) - np.where(known, 0, first)
        gappy = np.flatnonzero(~whole | (known & (earlier.newest < start - 1)))
        carried = 0
        if len(gappy):
            bars, runs = _runs(there[:, gappy], numbers, earlier.newest[gappy], begun[gappy])
            age = numbers - bars
            usable = (bars >= 0) & (age <= LONGEST_GAP)
            eligible[:, gappy] = usable & (numbers - runs >= lookback - 1)
            carried = int(np.count_nonzero(usable & (age > 0)))
            newest[gappy], begun[gappy] = bars[-1], runs[-1]
            last = earlier.closes[-1, gappy] if start else np.float64(np.nan)
            filled = filled if start else closes.copy()
            filled[len(before) :, gappy] = _carried(closes[:, gappy], bars - np.int32(start), last)
        total = earlier.carried + carried
        return cls(eligible, filled, len(before), end, newest, begun, total)

    @cached_property
    def ended(self) -> dict[int, int]:
        """The newest bar of each symbol that has no newer ones: −1 where it has none at all."""
        over = (self.newest < 0) | (self.sessions - 1 - self.newest > LONGEST_GAP)
        columns = np.flatnonzero(over)
        return dict(zip(columns.tolist(), self.newest[columns].tolist(), strict=True))

    @property
    def gaps(self) -> int:
        """The missing bars within gaps that are carried forward."""
        return self.carried - LONGEST_GAP * sum(newest >= 0 for newest in self.ended.values())


def lookbacks(closes: Closes) -> Sessions:
    """How many sessions of lookback each symbol has at each session's close; 0 if ineligible."""
    there = np.isfinite(closes)
    numbers = np.arange(len(closes), dtype=np.int32)[:, None]
    none = np.full(closes.shape[1], -1, np.int32)
    bars, runs = _runs(there, numbers, none, none)
    usable = (bars >= 0) & (numbers - bars <= LONGEST_GAP)
    found: Sessions = np.where(usable, numbers - runs + 1, np.int32(0))
    return found


def _runs(
    there: Mask, numbers: Sessions, newest: Sessions, begun: Sessions
) -> tuple[Sessions, Sessions]:
    """For each session the newest bar, −1 before the first, and where its run of bars begins.

    That is at the first bar, or the first after a long gap. `newest` and `begun` are those of the
    session before.
    """
    bars = np.maximum.accumulate(np.where(there, numbers, newest), axis=0)
    before = np.concatenate([newest[None, :], bars[:-1]])
    begins = there & ((before < 0) | (numbers - before > LONGEST_GAP + 1))
    return bars, np.maximum.accumulate(np.where(begins, numbers, begun), axis=0)


def _carried(closes: Closes, bars: Sessions, last: Closes | np.float64) -> Closes:
    """The newest close at each session, that of the row `bars`; `last` where it is negative."""
    filled = np.take_along_axis(closes, np.maximum(bars, 0), axis=0)
    result: Closes = np.where(bars >= 0, filled, last)
    return result
