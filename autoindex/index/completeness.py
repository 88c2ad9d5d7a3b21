"""Which new sessions may be published.

A session is complete once every stock that its level needs is settled: what is held, the benchmark,
and where a rebalance is decided every member, which may be held from then on. A session that is not
complete waits. After its deadline it is published as provisional, and what is missing is named.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex.index import membership
from autoindex.index.membership import Membership


@dataclass(frozen=True, slots=True)
class Completeness:
    """How many of the new sessions wait, at their end.

    `missing` names by session the stocks that provisional ones lack, and `waiting` those that the
    first session that waits is waiting for.
    """

    held_back: int
    missing: Mapping[date, tuple[str, ...]]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """The symbols that new levels need: those held before them, members, and the benchmark."""

    held: Collection[str]
    members: Sequence[Membership]
    benchmark: Collection[str] = ()

    @property
    def symbols(self) -> set[str]:
        """All of them."""
        return {*self.held, *self.benchmark, *(one.symbol for one in self.members)}

    def at(
        self,
        symbols: Sequence[str],
        days: pd.DatetimeIndex,
        decided: NDArray[np.bool_],
        weightable: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Which closes are needed, sessions × symbols.

        At a session that decides, holdings are sold, and any member may be bought. Where it can
        weight no symbol, holdings are kept.
        """
        result = np.empty((len(days), len(symbols)), bool)
        holding = np.isin(symbols, list(self.held))
        for row, day in enumerate(days):
            bought = holding
            if decided[row] and (able := membership.on(self.members, day.date())):
                bought = np.isin(symbols, list(able))
            result[row] = holding | bought
            holding = bought if weightable[row] else holding
        return result | np.isin(symbols, list(self.benchmark))


def of(settled: pd.DataFrame, needed: NDArray[np.bool_], overdue: int) -> Completeness:
    """The completeness of new sessions.

    `settled`, sessions × symbols, says which stocks have a bar or, asked for since, have none, and
    `needed` which closes the levels need. The first `overdue` sessions are past their deadline.
    """
    lacking = needed & ~settled.to_numpy(bool)
    incomplete = lacking.any(axis=1)
    waits = np.flatnonzero(incomplete[overdue:])
    ready = overdue + int(waits[0]) if len(waits) else len(settled)
    named = {
        settled.index[row].date(): _symbols(settled, lacking[row])
        for row in np.flatnonzero(incomplete[:ready]).tolist()
    }
    waiting = _symbols(settled, lacking[ready]) if ready < len(settled) else ()
    return Completeness(len(settled) - ready, named, waiting)


def _symbols(settled: pd.DataFrame, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(np.asarray(settled.columns)[chosen])
