"""Shares outstanding by symbol and session."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from autoindex.index.decisions import Matrix


@dataclass(frozen=True, slots=True)
class ShareCount:
    """The shares of a symbol that count from the session `first` on; NaN where they are unknown."""

    symbol: str
    shares: float
    first: date = date.min


class DatedShares:
    """Share counts in order of time. Before a symbol's first count, the first counts."""

    def __init__(self, symbols: Sequence[str], counts: Iterable[ShareCount]) -> None:
        column_of = {symbol: column for column, symbol in enumerate(symbols)}
        known = [one for one in counts if one.symbol in column_of]
        known.sort(key=lambda one: one.first)
        self._first = np.array([one.first for one in known], "datetime64[D]")
        self._column = np.array([column_of[one.symbol] for one in known], np.intp)
        self._shares = np.array([one.shares for one in known], np.float64)
        self._before = np.full(len(symbols), np.nan)
        # Of a symbol's counts the first is the last to be written.
        self._before[self._column[::-1]] = self._shares[::-1]

    def at(self, days: NDArray[np.datetime64]) -> Matrix:
        """Shares, sessions × symbols, NaN where unknown; `days` are at least one, increasing."""
        begun, ended = np.searchsorted(self._first, days[[0, -1]], side="right")
        state = self._before.copy()
        state[self._column[:begun]] = self._shares[:begun]
        constant = np.broadcast_to(state, (len(days), len(state)))
        if begun == ended:
            return constant
        result: Matrix = constant.copy()
        for change in range(begun, ended):
            row = np.searchsorted(days, self._first[change])
            result[row:, self._column[change]] = self._shares[change]
        return result
