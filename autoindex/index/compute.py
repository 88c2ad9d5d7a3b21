"""Computes an index: weights at decision sessions, drifting holdings in between, levels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex import sessions
from autoindex.errors import IndexImpossible
from autoindex.index import reasons, strategies
from autoindex.index.decisions import Decisions, Matrix
from autoindex.index.eligibility import Eligibility
from autoindex.index.limits import apply_limits
from autoindex.index.membership import Membership, clear_others, on
from autoindex.index.shares import DatedShares, ShareCount
from autoindex.index.strategies import LOOKBACK
from autoindex.requests import Frequency, Strategy

BASE_VALUE: Final = 100.0
# Sessions are computed in chunks of about so many closes, which bounds memory and fits into a
# processor's cache.
_CHUNK_CLOSES: Final = 131_072
_FEWEST_SESSIONS: Final = 64

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Base:
    """A stored level to continue from; `units` by symbol are held from its close on.

    It is continued by returns, or where closes of its session have been corrected since, by the
    units: the level is what they were worth then.
    """

    session: pd.Timestamp
    level: float
    units: pd.Series
    is_corrected: bool = False


@dataclass(frozen=True, slots=True)
class IndexSeries:
    """New levels by session; weights and units, decision sessions × symbols, 0 where not held.

    Nothing is NaN. `units` are the shares behind one index: weight × level / close. `notes` say
    which decisions were skipped, how many bars were carried forward, and which symbols have ended.
    """

    levels: pd.Series
    weights: pd.DataFrame
    units: pd.DataFrame
    notes: tuple[str, ...]


def lookback_sessions(strategy: Strategy) -> int:
    """How many sessions of closes a decision needs, the decision session included."""
    return LOOKBACK[strategy]


def compute(
    closes: pd.DataFrame,
    *,
    strategy: Strategy,
    frequency: Frequency,
    shares: Iterable[ShareCount] = (),
    base: Base | None = None,
    members: Iterable[Membership] | None = None,
    start: date = date.min,
) -> IndexSeries:
    """Compute a new index from `start` on, or continue a stored one from its `base`.

    `closes` has one row for each session of the exchange and one column a symbol, NaN where there
    is no bar. A gap of up to five sessions is carried forward; a longer one makes the symbol
    ineligible at the next rebalance, and until then its last close counts. `shares` are needed by
    the strategies that weight by market capitalisation, which use those that count at the decision
    session; a symbol without shares gets no weight there. `members` say which symbols may be
    weighted at which decisions, all of them where it is None; others are held until the next
    rebalance.

    Weights are decided with closes up to and including the decision session, and earn their first
    return from it to the next one. A new index has the base value 100 on the first session on which
    a symbol can be weighted: it has a full lookback, and shares where they are needed. That is its
    first decision session; the others are the first sessions of each period. Where no symbol ever
    has a full lookback, everything is empty. A decision session on which no symbol can be weighted
    keeps the holdings. With a `base`, only levels after its session are returned, chain-linked to
    its level: published history does not change.

    Raises `IndexImpossible` where a new index needs shares that no symbol has, the holdings of the
    base cannot be valued, or a solver does not converge; `ValueError` where `closes` lack the
    session or a symbol of the base.
    """
    if not closes.columns.is_monotonic_increasing:
        closes = closes[sorted(closes.columns)]
    run = _Run(closes, strategy, shares, members)
    decisions = run.index.get_indexer(sessions.rebalances(run.index, frequency))
    return run.start(decisions, start) if base is None else run.resume(base, decisions)


def decide(
    closes: pd.DataFrame,
    *,
    strategy: Strategy,
    shares: Iterable[ShareCount] = (),
    members: Iterable[Membership] | None = None,
) -> pd.Series | None:
    """Weights of a decision at the last session, as `compute` makes it.

    None where no symbol can be weighted. Raises `IndexImpossible` where a solver does not converge.
    """
    run = _Run(closes[sorted(closes.columns)], strategy, shares, members)
    return run.decide_last()


def weightable(
    closes: pd.DataFrame,
    *,
    strategy: Strategy,
    shares: Iterable[ShareCount] = (),
    members: Iterable[Membership] | None = None,
) -> Mask:
    """At which sessions a decision, as `compute` makes it, can weight any symbol."""
    return _Run(closes[sorted(closes.columns)], strategy, shares, members).weightable


class _Run:
    """One computation over a window of closes."""

    def __init__(
        self,
        closes: pd.DataFrame,
        strategy: Strategy,
        shares: Iterable[ShareCount],
        members: Iterable[Membership] | None,
    ) -> None:
        self.index: pd.DatetimeIndex = pd.DatetimeIndex(closes.index)
        self.symbols: list[str] = list(closes.columns)
        self.history = Eligibility.read(closes.to_numpy(np.float64), LOOKBACK[strategy])
        self.eligible = self.history.eligible
        self.members = None if members is None else list(members)
        if self.members is not None:
            clear_others(self.eligible, self.index, self.symbols, self.members)
        self.days = self.index.to_numpy().astype("datetime64[D]")
        self.strategy = strategy
        self.shares = DatedShares(self.symbols, shares)
        self.weightable = self._weightable()

    def _weightable(self) -> Mask:
        """At which sessions the strategy can weight any symbol."""
        result = np.zeros(len(self.days), np.bool_)
        for rows in _chunks(np.arange(len(self.days)), len(self.symbols)):
            shares = self.shares.at(self.days[rows])
            result[rows] = strategies.weightable(self.strategy, self.eligible[rows], shares)
        return result

    def start(self, decisions: Rows, earliest: date) -> IndexSeries:
        """A new index, from the first session on which a symbol can be weighted."""
        begin = int(np.searchsorted(self.days, np.datetime64(earliest, "D")))
        first = begin + np.flatnonzero(self.weightable[begin:])[:1]
        if not len(first) and self.eligible[begin:].any():
            raise IndexImpossible(
                f"{self.strategy}: no constituent has shares outstanding; "
                "add them to the universe's CSV file and import it again"
            )
        start = int(first[0]) if len(first) else len(self.index)
        at = np.concatenate([first, decisions[decisions > start]])
        return self._series(start, BASE_VALUE, np.zeros(len(self.symbols)), at, first=start)

    def resume(self, base: Base, decisions: Rows) -> IndexSeries:
        """The sessions after a stored level."""
        start = int(self.index.get_indexer(pd.DatetimeIndex([base.session]))[0])
        if start < 0:
            raise ValueError(f"the closes lack the base session {base.session:%Y-%m-%d}")
        missing = set(base.units.index) - set(self.symbols)
        if missing:
            raise ValueError(f"the closes lack holdings: {', '.join(sorted(missing))}")
        units = base.units.reindex(self.symbols).fillna(0).to_numpy(np.float64)
        # Chain-linked: the stored level counts, even where the closes behind it have changed.
        value = self._value(start, units)
        held = units / (base.level if base.is_corrected else value)
        return self._series(start, base.level, held, decisions[decisions > start], first=start + 1)

    def decide_last(self) -> pd.Series | None:
        """The weights of a decision at the last session; None where no symbol can be weighted."""
        if not self.weightable[-1]:
            return None
        (weights,) = self._decide(np.array([len(self.index) - 1]), np.empty((1, len(self.symbols))))
        return pd.Series(weights, self.symbols)

    def _value(self, session: int, units: Vector) -> float:
        held = np.flatnonzero(units)
        (closes,) = self.history.closes(slice(session, session + 1))
        value = float(closes[held] @ units[held])
        if not value > 0:
            unknown = [self.symbols[i] for i in held if np.isnan(closes[i])]
            raise IndexImpossible(
                f"the holdings of {self.index[session]:%Y-%m-%d} cannot be valued: "
                f"no close of {', '.join(unknown) or 'anything'}. If a cleanup has removed the "
                "newest ones before that session, `autoindex restore prices` brings them back"
            )
        return value

    def _series(
        self, start: int, level: float, held: Vector, decisions: Rows, first: int
    ) -> IndexSeries:
        """The series from `level` at session `start`; `held` are the units behind a level of 1."""
        possible = self.weightable[decisions]
        at = decisions[possible]
        # The units behind a level of 1: from the start, and from each decision on.
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
        """Weights within limits, decisions × symbols; fills `units` with what they buy."""
        result = np.zeros((len(at), len(self.symbols)))
        for rows in _chunks(at, len(self.symbols)):
            chosen = at[rows]
            first = chosen[0] - LOOKBACK[self.strategy] + 1
            closes = self.history.closes(slice(first, chosen[-1] + 1))
            here = chosen - first
            shares = self.shares.at(self.days[chosen])
            decisions = Decisions(closes, here, self.eligible[chosen], shares)
            weights = apply_limits(strategies.weights(self.strategy, decisions))
            np.divide(weights, np.where(weights > 0, closes[here], 1), out=units[rows])
            result[rows] = weights
        return result

    def _levels(self, start: int, level: float, units: Matrix, at: Rows) -> Vector:
        """Levels by session from `level` at `start` on.

        `units` are those behind a level of 1 at the start and at each of `at`. In between, holdings
        drift with prices, and the level is their value.
        """
        later = np.arange(start, len(self.index))
        held = np.searchsorted(at, later)
        value = np.ones(len(self.index))
        for rows in _chunks(later[1:], len(self.symbols)):
            chosen = later[1:][rows]
            closes = self.history.closes(slice(chosen[0], chosen[-1] + 1))
            if np.isnan(closes).any():  # not listed yet, so not held
                closes = np.nan_to_num(closes)
            value[chosen] = np.einsum("ij,ij->i", closes, units[held[1:][rows]])
        decided = level * np.cumprod(np.concatenate([[1], value[at]]))
        value[later] *= decided[held]
        return value

    def _notes(self, undecided: Rows) -> tuple[str, ...]:
        kept = [
            f"{self.index[session]:%Y-%m-%d}: {self._reason(session)}; the holdings are kept"
            for session in undecided
        ]
        if self.history.gaps:
            kept.append(f"{self.history.gaps} missing bars carried forward")
        last = {self.symbols[column]: row for column, row in self.history.ended.items()}
        return (*kept, *reasons.ended(last, self.index))

    def _reason(self, session: int) -> str:
        """Why no symbol can be weighted."""
        if self.members is not None and not on(self.members, self.index[session].date()):
            return "no symbol is active"
        if self.eligible[session].any():
            return "no symbol with a full lookback has shares outstanding"
        return "no active symbol has a full lookback"


def _chunks(sessions: Rows, symbols: int) -> Iterator[slice]:
    """Slices of row numbers, each within one chunk of consecutive sessions."""
    size = max(_FEWEST_SESSIONS, _CHUNK_CLOSES // max(symbols, 1))
    ends = np.flatnonzero(np.diff(sessions // size)) + 1
    for begin, end in pairwise([0, *ends.tolist(), len(sessions)]):
        if begin < end:
            yield slice(begin, end)
