"""Computes an index: weights at decision sessions, drifting holdings in between, levels."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex import sessions
from autoindex.errors import IndexImpossible
from autoindex.index import reasons
from autoindex.index.decisions import Matrix
from autoindex.index.eligibility import Eligibility
from autoindex.index.membership import Membership
from autoindex.index.rules import Block, Mask, Rows, Rules, chunks
from autoindex.index.shares import ShareCount
from autoindex.index.strategies import LOOKBACK
from autoindex.requests import Frequency, Strategy

BASE_VALUE: Final = 100.0

Vector = NDArray[np.float64]


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

    Nothing is NaN. `units` are the shares behind one index: weight × level / close. The current
    weights are those of the holdings at the last close. `notes` say which decisions were skipped,
    how many bars were carried forward, and which symbols have ended.
    """

    levels: pd.Series
    weights: pd.DataFrame
    units: pd.DataFrame
    current_weights: pd.Series
    notes: tuple[str, ...] = ()


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
    run = Computation(
        closes.columns,
        strategy=strategy,
        frequency=frequency,
        shares=shares,
        base=base,
        members=members,
        start=start,
    )
    series = run.extend(closes)
    return replace(series, notes=run.finish())


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
    rules = Rules(closes.columns, strategy, shares, members)
    block = rules.read(closes)
    if not block.weightable[-1]:
        return None
    at = np.array([len(block.days) - 1])
    (weights,) = rules.decide(block, at, np.empty((1, len(rules.symbols))))
    return pd.Series(weights, rules.symbols)


def weightable(
    closes: pd.DataFrame,
    *,
    strategy: Strategy,
    shares: Iterable[ShareCount] = (),
    members: Iterable[Membership] | None = None,
) -> Mask:
    """At which sessions a decision, as `compute` makes it, can weight any symbol."""
    return Rules(closes.columns, strategy, shares, members).read(closes).weightable


class Computation:
    """A computation by `compute` whose closes come in blocks of consecutive sessions.

    Memory is bounded by a block. How the sessions are cut into blocks changes no bit of the result.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        *,
        strategy: Strategy,
        frequency: Frequency,
        shares: Iterable[ShareCount] = (),
        base: Base | None = None,
        members: Iterable[Membership] | None = None,
        start: date = date.min,
    ) -> None:
        self._rules = Rules(symbols, strategy, shares, members)
        self._frequency = frequency
        self._base = base
        self._start = np.datetime64(start, "D")
        self._history: Eligibility | None = None
        self._index = pd.DatetimeIndex([])
        self._notes: list[str] = []
        self._was_eligible = False
        # The units behind a level of 1, and what that has become at the newest decision.
        self._held: Vector | None = None
        self._growth = 1.0
        # The same units as they are stored.
        self._units = np.zeros(len(self._rules.symbols))

    def extend(self, closes: pd.DataFrame) -> IndexSeries:
        """The levels and decisions of the next sessions."""
        block = self._rules.read(closes, self._history)
        self._history = block.history
        self._index = pd.DatetimeIndex(self._index.append(block.index))
        decisions = block.index.get_indexer(sessions.rebalances(block.index, self._frequency))
        first = 0
        if self._held is None:
            first = self._begin(block) if self._base is None else self._resume(block, self._base)
            if self._base is None and self._held is not None:
                decisions = np.union1d(decisions, [first])
        return self._series(block, first, decisions[decisions >= first])

    def finish(self) -> tuple[str, ...]:
        """The notes; raises the errors of a computation that has not begun."""
        if self._held is None and self._base is not None:
            raise ValueError(f"the closes lack the base session {self._base.session:%Y-%m-%d}")
        if self._held is None and self._was_eligible:
            raise IndexImpossible(
                f"{self._rules.strategy}: no constituent has shares outstanding; "
                "add them to the universe's CSV file and import it again"
            )
        if self._history is None:
            return ()
        gaps = self._history.gaps
        carried = [f"{gaps} missing bars carried forward"] if gaps else []
        last = {self._rules.symbols[column]: row for column, row in self._history.ended.items()}
        return (*self._notes, *carried, *reasons.ended(last, self._index))

    def _begin(self, block: Block) -> int:
        """Where a new index begins: at the first session on which a symbol can be weighted."""
        earliest = int(np.searchsorted(block.days, self._start))
        self._was_eligible |= bool(block.history.eligible[earliest:].any())
        found = earliest + np.flatnonzero(block.weightable[earliest:])[:1]
        if not len(found):
            return len(block.index)
        self._held = np.zeros(len(self._rules.symbols))
        return int(found[0])

    def _resume(self, block: Block, base: Base) -> int:
        """The session after a stored level."""
        missing = set(base.units.index) - set(self._rules.symbols)
        if missing:
            raise ValueError(f"the closes lack holdings: {', '.join(sorted(missing))}")
        session = int(block.index.get_indexer(pd.DatetimeIndex([base.session]))[0])
        if session < 0:
            return len(block.index)
        units = base.units.reindex(self._rules.symbols).fillna(0).to_numpy(np.float64)
        # Chain-linked: the stored level counts, even where the closes behind it have changed.
        value = self._value(block, session, units)
        self._held = units / (base.level if base.is_corrected else value)
        self._units = units
        return session + 1

    def _value(self, block: Block, session: int, units: Vector) -> float:
        held = np.flatnonzero(units)
        (closes,) = block.closes(session, session)
        value = float(closes[held] @ units[held])
        if not value > 0:
            unknown = [self._rules.symbols[i] for i in held if np.isnan(closes[i])]
            raise IndexImpossible(
                f"the holdings of {block.index[session]:%Y-%m-%d} cannot be valued: "
                f"no close of {', '.join(unknown) or 'anything'}. If a cleanup has removed the "
                "newest ones before that session, `autoindex restore prices` brings them back"
            )
        return value

    def _series(self, block: Block, first: int, decisions: Rows) -> IndexSeries:
        """The sessions of a block from `first` on."""
        symbols = self._rules.symbols
        possible = block.weightable[decisions]
        at = decisions[possible]
        # The units behind a level of 1: from before the block, and from each decision on.
        units = np.zeros((1 + len(at), len(symbols)))
        if self._held is not None:
            units[0] = self._held
        weights = self._rules.decide(block, at, units[1:])
        levels = self._levels(block, first, units, at)
        if self._held is not None:
            self._held = units[-1].copy()
        units[1:] *= levels[at, None]
        if len(at):
            self._units = units[-1].copy()
        self._notes += [
            f"{block.index[session]:%Y-%m-%d}: {self._rules.reason(block, session)}; "
            "the holdings are kept"
            for session in decisions[~possible]
        ]
        return IndexSeries(
            levels=pd.Series(levels[first:], block.index[first:], name="level"),
            weights=pd.DataFrame(weights, block.index[at], symbols, copy=False),
            units=pd.DataFrame(units[1:], block.index[at], symbols, copy=False),
            current_weights=self._current_weights(block),
        )

    def _levels(self, block: Block, first: int, units: Matrix, at: Rows) -> Vector:
        """Levels by session from `first` on.

        `units` are those behind a level of 1 before the block and at each of `at`. In between,
        holdings drift with prices, and the level is their value.
        """
        later = np.arange(first, len(block.index))
        held = np.searchsorted(at, later)
        value = np.ones(len(block.index))
        # Before its first level an index holds nothing.
        bought = later[int(not units[0].any()) :]
        for rows in chunks(bought, len(self._rules.symbols)):
            chosen = bought[rows]
            closes = block.closes(chosen[0], chosen[-1])
            if np.isnan(closes).any():  # not listed yet, so not held
                closes = np.nan_to_num(closes)
            value[chosen] = np.einsum("ij,ij->i", closes, units[np.searchsorted(at, chosen)])
        growth = np.cumprod(np.concatenate([[self._growth], value[at]]))
        self._growth = float(growth[-1])
        value[later] *= (self._base.level if self._base else BASE_VALUE) * growth[held]
        return value

    def _current_weights(self, block: Block) -> pd.Series:
        # Of stored units: where nothing is computed anew, the same weights to the bit.
        at = np.flatnonzero(self._units)
        if not len(at):
            return pd.Series(dtype=np.float64)
        worth = self._units[at] * block.history.closes[-1, at]
        return pd.Series(worth / worth.sum(), [self._rules.symbols[column] for column in at])
