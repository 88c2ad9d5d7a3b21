"""Sentences on what an index lacks: symbols without newer bars, and why there is no level."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from autoindex.index.eligibility import LONGEST_GAP, lookbacks
from autoindex.index.strategies import LOOKBACK
from autoindex.requests import Strategy

_NAMED: Final = 10


def ended(last: Mapping[str, int], sessions: pd.DatetimeIndex) -> list[str]:
    """A sentence for each symbol without newer bars, ten at most, then how many more there are.

    `last` is the number of the session with a symbol's last bar, −1 where it has none of these.
    """
    newest = sorted(last, key=lambda symbol: (-last[symbol], symbol))
    said = [
        f"{symbol} has no bar since {sessions[last[symbol]]:%Y-%m-%d}"
        if last[symbol] >= 0
        else f"{symbol} has no bar from {sessions[0]:%Y-%m-%d} on"
        for symbol in newest[:_NAMED]
    ]
    more = len(newest) - _NAMED
    return [*said, f"{more:,} more symbols have no newer bars"] if more > 0 else said


def no_level(strategy: Strategy, closes: pd.DataFrame, eligible: Collection[str]) -> str:
    """Why no session has a level; `closes` as for `compute`, `eligible` the active symbols."""
    if not eligible:
        return "no constituent is active: import stocks into the universe, or activate some"
    window = f"from {closes.index[0]:%Y-%m-%d} to {closes.index[-1]:%Y-%m-%d}"
    longest = lookbacks(closes[sorted(eligible)].to_numpy(np.float64)).max()
    if not longest:
        return f"no active constituent has a bar {window}"
    return (
        f"no active constituent has a full lookback: {strategy} takes {LOOKBACK[strategy]} "
        f"sessions without a gap of more than {LONGEST_GAP}, and the longest {window} is {longest}"
    )


def begins_later(published: date, first: date) -> str:
    """Why an index that would begin later than its published levels is not computed."""
    return (
        f"the index is published from {published} on, but no stock can be weighted before {first}: "
        "a published index never starts again; correct the members and shares of that time"
    )
