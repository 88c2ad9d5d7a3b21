"""The index: weights decided at closes, holdings that drift between, levels that follow."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex import sessions
from autoindex.errors import IndexImpossible
from autoindex.index import strategies
from autoindex.index.decisions import Decisions, Matrix
from autoindex.index.limits import limited
from autoindex.index.listing import Listing
from autoindex.index.strategies import LOOKBACK
from autoindex.requests import Frequency, Strategy

FIRST_LEVEL: Final = 100.0
# Sessions are worked on together as long as their closes are about so many, which bounds the
# memory that takes and stays within a processor's cache.
_TOGETHER: Final = 131_072
_FEWEST_TOGETHER: Final = 64

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Base:
    """A stored level to go on from: `units` by symbol are held from the close of `session` on."""

    session: pd.Timestamp
    level: float
    units: pd.Series


@dataclass(frozen=True, slots=True)
class IndexSeries:
    """New levels by session; weights and units, rebalance sessions × symbols, 0 where not held.

    `units` are the shares behind one index: weight × level / close. `notes` say what was filled,
    left out or late.
    """

    levels: pd.Series
    weights: pd.DataFrame
    units: pd.DataFrame
    notes: tuple[str, ...]


def lookback_sessions(strategy: Strategy) -> int:
    """How many sessions of closes a decision needs, its own included."""
    return LOOKBACK[strategy]


def compute(
    closes: pd.DataFrame,
    *,
    strategy: Strategy,
    frequency: Frequency,
    shares: pd.Series | None = None,
    base: Base | None = None,
    eligible: Collection[str] | None = None,
) -> IndexSeries:
    """Compute an index, or go on with one from a stored level.

    `closes` has one row for each session of the exchange and one column a symbol, NaN where there
    is no bar. `shares` are needed by the strategies that weight by market capitalisation.
    `eligible` narrows which symbols may be weighted from now on; others are held to the next
    rebalance.

    Weights are decided with closes up to and including a session and earn their first return from
    it to the next. A new index stands at 100 on the first session on which a symbol has a full
    lookback, decides there, and then on the first session of every period. With a `base` the
    levels after its session are returned, and what is published stays as it is.

    Raises `IndexImpossible` where a strategy lacks what it weights by.
    """
    if not closes.columns.is_monotonic_increasing:
        closes = closes[sorted(closes.columns)]
    run = _Run(closes, strategy, shares, eligible)
    decisions = run.index.get_indexer(sessions.rebalances(run.index, frequency))
    return run.go_on(base, decisions) if base is not None else run.begin(decisions)


class _Run:
    """One computation over a window of closes."""

    def __init__(
        self,
        closes: pd.DataFrame,
        strategy: Strategy,
        shares: pd.Series | None,
        eligible: Collection[str] | None,
    ) -> None:
        self.index: pd.DatetimeIndex = pd.DatetimeIndex(closes.index)
        self.symbols: list[str] = list(closes.columns)
        self.listing = Listing.read(closes.to_numpy(np.float64), LOOKBACK[strategy])
        self.able = self.listing.tradable
        if eligible is not None:
            self.able &= np.isin(self.symbols, list(eligible))
        self.strategy = strategy
        known = pd.Series(dtype=np.float64) if shares is None else shares
        self.shares = known.reindex(self.symbols).to_numpy(np.float64)

    def begin(self, decisions: Rows) -> IndexSeries:
        """A new index, from the first session with a full lookback."""
        weighable = self.able.any(axis=1)
        start = int(weighable.argmax()) if weighable.any() else len(self.index)
        first = np.flatnonzero(weighable)[:1]
        at = np.concatenate([first, decisions[decisions > start]])
        return self._series(start, FIRST_LEVEL, np.zeros(len(self.symbols)), at, first=start)

    def go_on(self, base: Base, decisions: Rows) -> IndexSeries:
        """The sessions after a stored level."""
        start = int(self.index.get_indexer(pd.DatetimeIndex([base.session]))[0])
        if start < 0:
            raise ValueError(f"closes do not hold the base session {base.session:%Y-%m-%d}")
        missing = set(base.units.index) - set(self.symbols)
        if missing:
            raise ValueError(f"closes do not hold what is held: {', '.join(sorted(missing))}")
        units = base.units.reindex(self.symbols).fillna(0).to_numpy(np.float64)
        # Chain-linked: the stored level counts, whatever has become of the closes behind it.
        held = units / self._value(start, units)
        return self._series(start, base.level, held, decisions[decisions > start], first=start + 1)

    def _value(self, session: int, units: Vector) -> float:
        held = np.flatnonzero(units)
        (closes,) = self.listing.closes(slice(session, session + 1))
        value = float(closes[held] @ units[held])
        if not value > 0:
            unknown = [self.symbols[i] for i in held if np.isnan(closes[i])]
            raise IndexImpossible(
                f"the holdings of {self.index[session]:%Y-%m-%d} can't be valued: "
                f"no close of {', '.join(unknown) or 'anything'}"
            )
        return value

    def _series(
        self, start: int, level: float, held: Vector, decisions: Rows, first: int
    ) -> IndexSeries:
        """What follows from `level` at session `start`, each 1 of which holds `held`."""
        possible = self.able[decisions].any(axis=1)
        at = decisions[possible]
        # What a level of 1 holds: from the start, and from each decision on.
        units = np.empty((1 + len(at), len(self.symbols)))
        units[0] = held
        weights = self._decide(at, units[1:])
        levels = self._levels(start, level, units, at)
        units[1:] *= levels[at, None]
        return IndexSeries(
            levels=pd.Series(levels[first:], self.index[first:], name="level"),
            weights=pd.DataFrame(weights, self.index[at], self.symbols, copy=False),
            units=pd.DataFrame(units[1:], self.index[at], self.symbols, copy=False),
            notes=self._notes(decisions[~possible]),
        )

    def _decide(self, at: Rows, units: Matrix) -> Matrix:
        """Weights within limits, decisions × symbols; `units` becomes what they buy."""
        result = np.zeros((len(at), len(self.symbols)))
        for rows in _split(at, len(self.symbols)):
            chosen = at[rows]
            first = chosen[0] - LOOKBACK[self.strategy] + 1
            closes = self.listing.closes(slice(first, chosen[-1] + 1))
            here = chosen - first
            decisions = Decisions(closes, here, self.able[chosen], self.shares)
            weights = limited(strategies.weights(self.strategy, decisions))
            np.divide(weights, np.where(weights > 0, closes[here], 1), out=units[rows])
            result[rows] = weights
        return result

    def _levels(self, start: int, level: float, units: Matrix, at: Rows) -> Vector:
        """Levels by session from `level` at `start` on.

        `units` are what 1 of the level buys at the start and at each of `at`. In between they drift
        with prices, and the level is what they are worth.
        """
        later = np.arange(start, len(self.index))
        held = np.searchsorted(at, later)
        worth = np.ones(len(self.index))
        for rows in _split(later[1:], len(self.symbols)):
            chosen = later[1:][rows]
            closes = self.listing.closes(slice(chosen[0], chosen[-1] + 1))
            if np.isnan(closes).any():  # not listed yet, and not held
                closes = np.nan_to_num(closes)
            worth[chosen] = np.einsum("ij,ij->i", closes, units[held[1:][rows]])
        decided = level * np.cumprod(np.concatenate([[1], worth[at]]))
        worth[later] *= decided[held]
        return worth

    def _notes(self, undecided: Rows) -> tuple[str, ...]:
        kept = [
            f"{session:%Y-%m-%d}: no symbol has a full lookback; holdings kept"
            for session in self.index[undecided]
        ]
        if self.listing.gaps:
            kept.append(f"{self.listing.gaps} missing bars carried forward")
        return tuple(kept)


def _split(sessions: Rows, symbols: int) -> Iterator[slice]:
    """Slices of row numbers, each within some sessions of the exchange."""
    together = max(_FEWEST_TOGETHER, _TOGETHER // max(symbols, 1))
    ends = np.flatnonzero(np.diff(sessions // together)) + 1
    for begin, end in pairwise([0, *ends.tolist(), len(sessions)]):
        if begin < end:
            yield slice(begin, end)
