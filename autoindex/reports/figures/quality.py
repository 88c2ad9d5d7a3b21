"""Data quality: which prices are late or have ended, and which gaps were filled."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from autoindex import sessions
from autoindex.index import reasons
from autoindex.index.eligibility import LONGEST_GAP


def notes(closes: pd.DataFrame, active: Sequence[str], now: datetime) -> tuple[str, ...]:
    """Sentences about constituents without their newest price, and about gaps in their bars.

    `closes` has one row for each session, one column a symbol, NaN where there is no bar. `active`
    are the symbols that a refresh asks for; no newer price is due for others. Empty where no symbol
    misses a bar after its first, and the active ones have that of the last closed session.
    """
    newest = {symbol: _newest(closes[symbol]) for symbol in active}
    recent, index = max(0, len(closes) - 1 - LONGEST_GAP), pd.DatetimeIndex(closes.index)
    late = {symbol: row for symbol, row in newest.items() if row >= recent}
    ended = {symbol: row for symbol, row in newest.items() if row < recent}
    named = [f"{sentence}." for sentence in reasons.ended(ended, index)]
    return (*_late(late, index, now), *named, *_filled(closes))


def _newest(closes: pd.Series) -> int:
    """The number of the last session with a bar, −1 without any."""
    there = np.flatnonzero(closes.notna())
    return int(there[-1]) if len(there) else -1


def _late(newest: Mapping[str, int], index: pd.DatetimeIndex, now: datetime) -> list[str]:
    due = sessions.last_closed(now)
    return [
        f"{symbol}: the newest price is of {index[row].date()}; {due} was due, and was deferred or "
        "refused."
        for symbol, row in newest.items()
        if index[row].date() < due
    ]


def _filled(closes: pd.DataFrame) -> list[str]:
    inside = closes.bfill().notna() & closes.ffill().notna()
    missing = (closes.isna() & inside).sum()
    return [
        f"{symbol}: {count} missing bars; up to {LONGEST_GAP} in a row are carried forward, a "
        "longer gap takes the stock out at the next rebalance."
        for symbol, count in missing[missing > 0].items()
    ]
