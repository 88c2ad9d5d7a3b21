"""How the provider's closes differ from the stored ones: corrected bars, or a restated history.

A split multiplies all closes before it by one factor. So the factor between stored and fetched
closes is constant in a few pieces, one more than there are splits which the stored closes lack.
Where only a few closes differ, the provider has corrected bars. Anything else is no history of the
same shares.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoindex.market_data.bars import Bars

# Prices come as text with a varying number of decimals. Allowed is half of the third decimal, at
# most a hundredth of the price; and for large prices a basis point, at most half a cent, or what
# 32 bits can't hold.
_ABSOLUTE: Final = 0.000_5
_ABSOLUTE_AT_MOST: Final = 0.01
_RELATIVE: Final = 1e-4
_RELATIVE_AT_MOST: Final = 0.005
_FLOAT_32: Final = 1e-7

# Three splits at once, in a history of two years. Quarterly dividends make more steps than these
# rules allow wherever there are two of them.
_MOST_PIECES: Final = 4
_SESSIONS_PER_PIECE: Final = 252
# Corrections: one close in twenty, and two weeks in a row.
_SESSIONS_PER_CORRECTION: Final = 20
_MOST_IN_A_ROW: Final = 10
# A history may begin later than the stored one by a tenth of it. A reply that lacks more is short.
_MOST_OLDER: Final = 0.1

Days: TypeAlias = NDArray[np.datetime64]
Prices: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Fetched closes of one symbol beside the stored ones.

    `sessions` are those that both have, with their stored and their fetched closes. `lost` holds
    the stored sessions that were not fetched, `added` the fetched ones that are not stored. All
    are increasing.
    """

    sessions: Days
    stored: Prices
    fetched: Prices
    lost: Days
    added: Days

    @property
    def is_restated(self) -> bool:
        """Whether the provider has changed history since it was stored.

        The two closes of each common session are compared, never a session with the one before: a
        split of any ratio is a restatement, a crash is not. Without a common session the bars
        can't be joined, which counts as restated. False where either side is empty.
        """
        apart = not len(self.sessions) and len(self.lost) > 0 and len(self.added) > 0
        return apart or bool(self._differs.any())

    @property
    def is_correction(self) -> bool:
        """Whether only a few closes differ: they replace the stored ones, and no factor does."""
        differs = self._differs
        kept = np.flatnonzero(np.concatenate([[True], ~differs, [True]]))
        few = 0 < differs.sum() <= self._most_corrections and not differs.all()
        return bool(few and np.diff(kept).max() - 1 <= _MOST_IN_A_ROW)

    def refusal(self) -> str | None:
        """Why the fetched history can't replace the stored one; None where it can."""
        stored, begins = len(self.sessions) + len(self.lost), self._begins
        older = int((self.lost < begins).sum())
        if older < len(self.lost):
            return _kept(f"lacks {len(self.lost) - older} sessions that are stored")
        if older > _MOST_OLDER * stored:
            return _kept(f"begins on {begins} and lacks {older} of {stored} stored sessions")
        pieces, corrected = self._pieces()
        if len(pieces) > self._most_pieces or len(corrected) > self._most_corrections:
            return _kept("is not the stored one times a factor that is constant in a few pieces")
        return None

    def scaled(self) -> tuple[Days, Prices, Prices]:
        """Sessions without corrections; factors of stored closes to fetched ones, and these."""
        _, corrected = self._pieces()
        kept = np.delete(np.arange(len(self.sessions)), corrected)
        factors = self.stored[kept] / self.fetched[kept]
        return self.sessions[kept], factors, self.fetched[kept]

    def splits(self) -> Prices:
        """The same factors, 1 where rounding explains the difference."""
        _, corrected = self._pieces()
        factors = np.where(self._differs, self.stored / self.fetched, 1)
        return np.delete(factors, corrected)

    def changed_returns(self) -> Days:
        """The sessions whose return the restatement changed.

        A return changes only where a new piece begins, a close is corrected, or a session is new or
        lost. A split after the stored history ends is no step between two of its closes.
        """
        starts, changed = self._pieces()
        for begin, end in pairwise([*starts, len(self.sessions)]):
            differs = self._differs[begin:end]
            # Where closes of a piece have not changed, its factor is 1, and the others have.
            changed += [] if differs.all() else (begin + np.flatnonzero(differs)).tolist()
        steps = self.sessions[starts[1:] + changed]
        found: Days = np.unique(np.concatenate([steps, self.lost, self.added]))
        return found

    @property
    def _differs(self) -> NDArray[np.bool_]:
        differs: NDArray[np.bool_] = np.abs(self.stored - self.fetched) > _rounding(self.fetched)
        return differs

    @property
    def _begins(self) -> np.datetime64:
        """The first fetched session."""
        begins: np.datetime64 = np.concatenate([self.sessions[:1], self.added[:1]]).min()
        return begins

    @property
    def _most_corrections(self) -> int:
        return 1 + len(self.sessions) // _SESSIONS_PER_CORRECTION

    @property
    def _most_pieces(self) -> int:
        count = len(self.sessions)
        # Of few closes, pieces of one close would explain everything.
        return min(_MOST_PIECES, 2 + count // _SESSIONS_PER_PIECE, (count + 1) // 2)

    def _pieces(self) -> tuple[list[int], list[int]]:
        """Where the pieces of one factor begin, and the positions of corrections within them.

        Each piece is as long as the rounding of its closes allows, so there are no fewer.
        """
        low, high = self._factors()
        if not len(low) or low.max() <= high.min():
            return [0][: len(low)], []
        starts, corrected = [0], list[int]()
        lowest, highest, at = low[0], high[0], 1
        while at < len(low):
            ahead = slice(at, at + _MOST_IN_A_ROW + 1)
            fits = (low[ahead] <= highest) & (high[ahead] >= lowest)
            if fits.any():
                corrected += range(at, at := at + int(fits.argmax()))
                lowest, highest = max(lowest, low[at]), min(highest, high[at])
            else:
                starts.append(at)
                lowest, highest = low[at], high[at]
            at += 1
        return starts, corrected

    def _factors(self) -> tuple[Prices, Prices]:
        """The least and the largest logarithm of the factor that rounding leaves to each close."""
        factors = np.log(self.stored / self.fetched)
        rounding = np.maximum(
            _rounding(self.stored) / self.stored, _rounding(self.fetched) / self.fetched
        )
        return factors - rounding, factors + rounding


def compare(fetched: Bars, sessions: Days, closes: Prices) -> Comparison:
    """Compare fetched bars with the stored closes of their window."""
    common, ours, theirs = np.intersect1d(sessions, fetched.sessions, return_indices=True)
    return Comparison(
        sessions=common,
        stored=closes[ours],
        fetched=fetched.close[theirs],
        lost=np.setdiff1d(sessions, common),
        added=np.setdiff1d(fetched.sessions, common),
    )


def _rounding(price: Prices) -> Prices:
    small = np.minimum(_ABSOLUTE, _ABSOLUTE_AT_MOST * price)
    large = np.minimum(_RELATIVE * price, np.maximum(_RELATIVE_AT_MOST, _FLOAT_32 * price))
    rounding: Prices = small + large
    return rounding


def _kept(reason: str) -> str:
    return f"the provider has restated its history, but the new one {reason}: stored prices stay"
