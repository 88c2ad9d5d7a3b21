"""Memberships: from which session to which a symbol may be weighted."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Membership:
    """A symbol may be weighted from the session `first` to `last`, both included."""

    symbol: str
    first: date = date.min
    last: date = date.max


def on(members: Iterable[Membership], day: date) -> set[str]:
    """The symbols that may be weighted on a day."""
    return {one.symbol for one in members if one.first <= day <= one.last}


def clear_others(
    eligible: NDArray[np.bool_],
    index: pd.DatetimeIndex,
    symbols: Sequence[str],
    members: Iterable[Membership],
) -> None:
    """Clear in `eligible`, sessions × symbols, what is outside every membership of its symbol.

    The intervals become slices of columns: a mask of its own would take as much memory again.
    """
    days = index.to_numpy().astype("datetime64[D]")
    of_symbol: dict[str, list[Membership]] = defaultdict(list)
    for one in members:
        of_symbol[one.symbol].append(one)
    for column, symbol in enumerate(symbols):
        end = 0
        for one in sorted(of_symbol[symbol], key=lambda one: one.first):
            if one.first > date.min:
                eligible[end : _position(days, one.first), column] = False
            end = len(days) if one.last == date.max else _position(days, one.last, "right")
        eligible[end:, column] = False


def _position(
    days: NDArray[np.datetime64], day: date, side: Literal["left", "right"] = "left"
) -> int:
    return int(np.searchsorted(days, np.datetime64(day, "D"), side))
