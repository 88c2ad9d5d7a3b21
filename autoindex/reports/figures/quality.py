"""Data quality: which prices are late, and which gaps were filled."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from autoindex import sessions
from autoindex.index.eligibility import LONGEST_GAP


def notes(closes: pd.DataFrame, active: Sequence[str], now: datetime) -> tuple[str, ...]:
    """Sentences about constituents without their newest price, and about gaps in their bars.

    `closes` has one row for each session, one column a symbol, NaN where there is no bar. `active`
    are the symbols that a refresh asks for; no newer price is due for others. Empty where no symbol
    misses a bar after its first, and the active ones have that of the last closed session.
    """
    return (*_late(closes[list(active)], now), *_filled(closes))


def _late(closes: pd.DataFrame, now: datetime) -> list[str]:
    due = sessions.last_closed(now)
    found = []
    for symbol, column in closes.items():
        priced = pd.DatetimeIndex(column.dropna().index)
        if priced.empty:
            found.append(f"{symbol}: no price is stored.")
        elif (newest := priced[-1].date()) < due:
            found.append(
                f"{symbol}: the newest price is of {newest}; {due} was due, and was "
                "deferred or refused."
            )
    return found


def _filled(closes: pd.DataFrame) -> list[str]:
    inside = closes.bfill().notna() & closes.ffill().notna()
    missing = (closes.isna() & inside).sum()
    return [
        f"{symbol}: {count} missing bars; up to {LONGEST_GAP} in a row are carried forward, a "
        "longer gap takes the stock out at the next rebalance."
        for symbol, count in missing[missing > 0].items()
    ]
