"""Which new sessions may be published.

A session is complete once every stock that its level needs is settled: what is held, the benchmark
and, from the next rebalance on, every member. A session that is not complete waits. After its
deadline it is published as provisional, and the stocks that are missing are named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Completeness:
    """How many of the new sessions wait, at their end.

    `missing` names by session the stocks that provisional ones lack, and `waiting` those that the
    first session that waits is waiting for.
    """

    held_back: int
    missing: Mapping[date, tuple[str, ...]]
    waiting: tuple[str, ...]


def of(settled: pd.DataFrame, needed_from: Mapping[str, int], overdue: int) -> Completeness:
    """The completeness of new sessions.

    `settled`, sessions × symbols, says which stocks have a bar or, asked for since, have none.
    `needed_from` says from which row on each is needed. The first `overdue` sessions are past their
    deadline.
    """
    begin = np.array([needed_from[symbol] for symbol in settled.columns], int)
    needed = np.arange(len(settled))[:, None] >= begin
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
