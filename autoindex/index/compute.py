"""The index: weights decided at closes, holdings that drift between, levels that follow."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex import sessions
from autoindex.errors import IndexImpossible
from autoindex.index import strategies
from autoindex.index.limits import limited
from autoindex.index.listing import Listing
from autoindex.index.strategies import LOOKBACK, Candidates
from autoindex.requests import Frequency, Strategy

FIRST_LEVEL: Final = 100.0

Vector = NDArray[np.float64]


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
    ordered = closes[sorted(closes.columns)]
    run = _Run(ordered, strategy, shares, eligible)
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
        self.listing = Listing.read(closes.to_numpy(np.float64))
        self.strategy = strategy
        known = pd.Series(dtype=np.float64) if shares is None else shares
        self.shares = known.reindex(self.symbols).to_numpy(np.float64)
        self.allowed = np.array([eligible is None or s in eligible for s in self.symbols], bool)
        self.decided: list[tuple[int, Vector, Vector]] = []
        self.levels = np.full(len(self.index), np.nan)
        self.notes: list[str] = []

    def begin(self, decisions: NDArray[np.int64]) -> IndexSeries:
        """A new index, from the first session with a full lookback."""
        start = self._first_decision()
        if start is None:
            return self._series(len(self.index))
        self.levels[start] = FIRST_LEVEL
        units = self._decide(start, FIRST_LEVEL, before=np.zeros(len(self.symbols)))
        self._drift(start, units, decisions)
        return self._series(start)

    def go_on(self, base: Base, decisions: NDArray[np.int64]) -> IndexSeries:
        """The sessions after a stored level."""
        start = int(self.index.get_indexer(pd.DatetimeIndex([base.session]))[0])
        if start < 0:
            raise ValueError(f"closes do not hold the base session {base.session:%Y-%m-%d}")
        missing = set(base.units.index) - set(self.symbols)
        if missing:
            raise ValueError(f"closes do not hold what is held: {', '.join(sorted(missing))}")
        units = base.units.reindex(self.symbols).fillna(0).to_numpy(np.float64)
        # Chain-linked: the stored level counts, whatever has become of the closes behind it.
        units = units * (base.level / self._value(start, units))
        self._drift(start, units, decisions)
        return self._series(start + 1)

    def _first_decision(self) -> int | None:
        lookback = LOOKBACK[self.strategy]
        for session in range(lookback - 1, len(self.index)):
            if self._candidates(session).any():
                return session
        return None

    def _drift(self, start: int, units: Vector, decisions: NDArray[np.int64]) -> None:
        """Hold units from one decision to the next; the level is what they are worth."""
        for decision in decisions[decisions > start].tolist():
            self._hold(start, decision, units)
            units = self._decide(decision, self.levels[decision], before=units)
            start = decision
        self._hold(start, len(self.index) - 1, units)

    def _hold(self, start: int, end: int, units: Vector) -> None:
        held = np.flatnonzero(units)
        stretch = self.listing.closes[start + 1 : end + 1]
        self.levels[start + 1 : end + 1] = stretch[:, held] @ units[held]

    def _decide(self, session: int, level: float, before: Vector) -> Vector:
        """New units at a session's close; those from before where nothing can be weighted."""
        able = np.flatnonzero(self._candidates(session))
        if not len(able):
            self.notes.append(
                f"{self.index[session]:%Y-%m-%d}: no symbol has a full lookback; holdings kept"
            )
            return before
        first = session + 1 - LOOKBACK[self.strategy]
        window = self.listing.closes[first : session + 1, able]
        chosen = strategies.weights(self.strategy, Candidates(window, self.shares[able]))
        weights = np.zeros(len(self.symbols))
        weights[able] = limited(chosen)
        units = np.zeros(len(self.symbols))
        units[able] = weights[able] * level / window[-1]
        self.decided.append((session, weights, units))
        return units

    def _candidates(self, session: int) -> NDArray[np.bool_]:
        return self.allowed & self.listing.tradable(session, LOOKBACK[self.strategy])

    def _value(self, session: int, units: Vector) -> float:
        held = np.flatnonzero(units)
        value = float(self.listing.closes[session, held] @ units[held])
        if not value > 0:
            unknown = [self.symbols[i] for i in held if np.isnan(self.listing.closes[session, i])]
            raise IndexImpossible(
                f"the holdings of {self.index[session]:%Y-%m-%d} can't be valued: "
                f"no close of {', '.join(unknown) or 'anything'}"
            )
        return value

    def _series(self, first: int) -> IndexSeries:
        at = self.index[[session for session, _, _ in self.decided]]
        shape = (len(self.decided), len(self.symbols))
        weights = np.array([w for _, w, _ in self.decided]).reshape(shape)
        units = np.array([u for _, _, u in self.decided]).reshape(shape)
        if self.listing.gaps:
            self.notes.append(f"{self.listing.gaps} missing bars carried forward")
        return IndexSeries(
            levels=pd.Series(self.levels[first:], self.index[first:], name="level"),
            weights=pd.DataFrame(weights, at, self.symbols),
            units=pd.DataFrame(units, at, self.symbols),
            notes=tuple(self.notes),
        )
