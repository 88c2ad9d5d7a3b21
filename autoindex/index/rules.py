"""What a decision goes by, and the blocks of sessions in which closes are read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex.index import strategies
from autoindex.index.decisions import Decisions, Matrix
from autoindex.index.eligibility import Eligibility
from autoindex.index.limits import apply_limits
from autoindex.index.membership import Membership, clear_others, on
from autoindex.index.shares import DatedShares, ShareCount
from autoindex.index.strategies import LOOKBACK
from autoindex.requests import Strategy

# Sessions are computed in chunks of about so many closes, which bounds memory and fits into a
# processor's cache.
_CHUNK_CLOSES: Final = 131_072
_FEWEST_SESSIONS: Final = 64

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive sessions: which symbols are eligible, and where any can be weighted."""

    index: pd.DatetimeIndex
    history: Eligibility
    weightable: Mask

    @property
    def days(self) -> NDArray[np.datetime64]:
        """The sessions, in days."""
        return self.index.to_numpy().astype("datetime64[D]")

    def closes(self, first: int, last: int) -> Matrix:
        """Closes of two sessions and those between; negative ones are of the block before."""
        before = self.history.before
        return self.history.closes[before + first : before + last + 1]


class Rules:
    """What a decision goes by: symbols, strategy, shares, members."""

    def __init__(
        self,
        symbols: Iterable[str],
        strategy: Strategy,
        shares: Iterable[ShareCount],
        members: Iterable[Membership] | None,
    ) -> None:
        self.symbols = sorted(symbols)
        self.members = None if members is None else list(members)
        self.strategy = strategy
        self.shares = DatedShares(self.symbols, shares)

    def read(self, closes: pd.DataFrame, earlier: Eligibility | None = None) -> Block:
        """The sessions after the earlier ones."""
        if list(closes.columns) != self.symbols:
            closes = closes[self.symbols]
        index = pd.DatetimeIndex(closes.index)
        # In one order of memory sums are the same to the last bit.
        values = np.ascontiguousarray(closes.to_numpy(np.float64))
        history = Eligibility.read(values, LOOKBACK[self.strategy], earlier)
        if self.members is not None:
            clear_others(history.eligible, index, self.symbols, self.members)
        return Block(index, history, self._weightable(index, history.eligible))

    def _weightable(self, index: pd.DatetimeIndex, eligible: Mask) -> Mask:
        days = index.to_numpy().astype("datetime64[D]")
        result = np.zeros(len(days), np.bool_)
        for rows in chunks(np.arange(len(days)), len(self.symbols)):
            shares = self.shares.at(days[rows])
            result[rows] = strategies.weightable(self.strategy, eligible[rows], shares)
        return result

    def decide(self, block: Block, at: Rows, units: Matrix) -> Matrix:
        """Weights within limits, decisions × symbols; fills `units` with what they buy."""
        result = np.zeros((len(at), len(self.symbols)))
        for rows in chunks(at, len(self.symbols)):
            chosen = at[rows]
            first = chosen[0] - LOOKBACK[self.strategy] + 1
            closes, here = block.closes(first, chosen[-1]), chosen - first
            shares = self.shares.at(block.days[chosen])
            decisions = Decisions(closes, here, block.history.eligible[chosen], shares)
            weights = apply_limits(strategies.weights(self.strategy, decisions))
            np.divide(weights, np.where(weights > 0, closes[here], 1), out=units[rows])
            result[rows] = weights
        return result

    def reason(self, block: Block, session: int) -> str:
        """Why no symbol can be weighted."""
        if self.members is not None and not on(self.members, block.index[session].date()):
            return "no symbol is active"
        if block.history.eligible[session].any():
            return "no symbol with a full lookback has shares outstanding"
        return "no active symbol has a full lookback"


def chunks(sessions: Rows, symbols: int) -> Iterator[slice]:
    """Slices of row numbers, each within one chunk of consecutive sessions."""
    size = max(_FEWEST_SESSIONS, _CHUNK_CLOSES // max(symbols, 1))
    ends = np.flatnonzero(np.diff(sessions // size)) + 1
    for begin, end in pairwise([0, *ends.tolist(), len(sessions)]):
        if begin < end:
            yield slice(begin, end)
