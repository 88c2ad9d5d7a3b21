"""Which of the provider's rows are stored, and why the others are dropped.

unreadable       not an object, or without a readable date
future           dated after the session that is trading, or is the next to trade
unfinished       dated on that session: its close is not known yet
not a session    the exchange was closed on that day
not a number     a price is missing, null, NaN, infinite or text
zero, negative   a price is zero, or below
high below low   the bar contradicts itself
out of range     the open or the close is above the high, or below the low
duplicate        another row of the session has the same prices
conflicting      another row of the session has other prices: none of them is taken
absurd           see `_absurd`
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from autoindex import sessions
from autoindex.market_data.parsing import PRICES, Table

# No price lies beyond these, however often a share was split or consolidated.
LOWEST_PRICE: Final = 1e-8
HIGHEST_PRICE: Final = 1e12
# How far a price may be from those around it; see `_absurd`.
LARGEST_FACTOR: Final = 10.0
NEIGHBOURS: Final = 5

# Reasons that say nothing about the quality of the other rows.
HARMLESS: Final = frozenset({"unfinished", "duplicate"})

Mask = NDArray[np.bool_]


def valid(rows: Table, end: date) -> tuple[Table, Counter[str]]:
    """The valid rows, oldest first, one a session, and how many were dropped by reason.

    `end` is the last closed session. Each row is counted under the first reason that applies. The
    order in which rows are served makes no difference.
    """
    dropped: Counter[str] = Counter()
    rows = rows[np.lexsort((rows["volume"], rows["session"]))]
    for reason, is_bad in _reasons(end):
        bad = is_bad(rows)
        if bad.any():
            dropped[reason] += int(bad.sum())
            rows = rows[~bad]
    return rows, dropped


def _reasons(end: date) -> Iterator[tuple[str, Callable[[Table], Mask]]]:
    following = _following_session(end)
    yield "future", lambda rows: rows["session"] > following
    yield "unfinished", lambda rows: rows["session"] == following
    yield "not a session", lambda rows: ~_is_session(rows, _sessions_until(end))
    yield "not a number", lambda rows: ~_all_prices(rows, np.isfinite)
    yield "zero", lambda rows: ~_all_prices(rows, lambda price: price != 0)
    yield "negative", lambda rows: ~_all_prices(rows, lambda price: price > 0)
    yield "high below low", lambda rows: rows["high"] < rows["low"]
    yield "out of range", _out_of_range
    yield "duplicate", _duplicate
    yield "conflicting", _conflicting
    yield "absurd", _absurd


def _following_session(end: date) -> np.datetime64:
    return np.datetime64(sessions.ahead(end + timedelta(days=1), 0), "D")


def _sessions_until(end: date) -> NDArray[np.datetime64]:
    return sessions.between(sessions.first_day(end), end).to_numpy().astype("datetime64[D]")


def _is_session(rows: Table, known: NDArray[np.datetime64]) -> Mask:
    days = rows["session"]
    position = np.minimum(np.searchsorted(known, days), len(known) - 1)
    found: Mask = known[position] == days
    return found


def _all_prices(rows: Table, is_good: Callable[[NDArray[np.float64]], Mask]) -> Mask:
    good: Mask = np.logical_and.reduce([is_good(rows[name]) for name in PRICES])
    return good


def _out_of_range(rows: Table) -> Mask:
    # No tolerance: rounding keeps the order of prices that are rounded alike.
    found: Mask = np.logical_or.reduce(
        [(rows[name] < rows["low"]) | (rows[name] > rows["high"]) for name in ("open", "close")]
    )
    return found


def _duplicate(rows: Table) -> Mask:
    """Rows whose prices the next row of the session repeats; the largest volume is kept."""
    repeated = np.zeros(len(rows), bool)
    repeated[:-1] = np.logical_and.reduce(
        [rows[name][:-1] == rows[name][1:] for name in ("session", *PRICES)]
    )
    return repeated


def _conflicting(rows: Table) -> Mask:
    same_day = rows["session"][:-1] == rows["session"][1:]
    several = np.zeros(len(rows), bool)
    several[:-1] |= same_day
    several[1:] |= same_day
    return several


def _absurd(rows: Table) -> Mask:
    """Prices that no market has made.

    A row is absurd in three cases. A price is outside the limits. A price is more than ten times
    above or below the close of its own bar. Or the close is more than ten times above, or below,
    both the median of the five sessions before it and that of the five after it: a slipped decimal
    point, after which prices return. A crash, a squeeze or an unadjusted split does not return and
    is kept, even at -99 %; the largest real one-day fall, -51.9 %, is far inside the limit. The
    newest close has none after it, and the oldest none before it: the close next to it is used
    instead. So a newest close that is ten times off is stored once the next session confirms it.
    """
    if not len(rows):
        return np.zeros(0, bool)
    beyond: Mask = ~_all_prices(
        rows, lambda price: (price >= LOWEST_PRICE) & (price <= HIGHEST_PRICE)
    )
    close = rows["close"]
    torn: Mask = np.logical_or.reduce(
        [np.abs(np.log(rows[name] / close)) > np.log(LARGEST_FACTOR) for name in PRICES]
    )
    return beyond | torn | _slipped(rows)


def _slipped(rows: Table) -> Mask:
    logs = np.log(rows["close"])
    if len(rows) < 3 or not (np.abs(np.diff(logs)) > np.log(LARGEST_FACTOR)).any():
        return np.zeros(len(rows), bool)
    before, after = _medians_around(logs)
    limit = np.log(LARGEST_FACTOR)
    up = (logs - before > limit) & (logs - after > limit)
    down = (before - logs > limit) & (after - logs > limit)
    slipped: Mask = up | down
    return slipped


def _medians_around(logs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians of up to five values before and after each; at the ends, the value next to it."""
    edge = np.full(NEIGHBOURS, np.nan)
    windows = sliding_window_view(np.concatenate([edge, logs, edge]), NEIGHBOURS)
    # windows[i] is the five before value i, windows[i + 6] the five after it.
    before, after = np.empty_like(logs), np.empty_like(logs)
    before[1:] = np.nanmedian(windows[1 : len(logs)], axis=1)
    after[:-1] = np.nanmedian(windows[NEIGHBOURS + 1 : -1], axis=1)
    before[0], after[-1] = logs[1], logs[-2]
    return before, after
