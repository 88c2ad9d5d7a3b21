"""Parses the provider's rows, JSON objects of strings, into one table of numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoindex.market_data.bars import Bars

# A row as served: unchecked, in any order, NaN where a price is missing or not a number.
ROW: Final = np.dtype(
    [
        ("session", "datetime64[D]"),
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "i8"),
    ]
)
PRICES: Final = ("open", "high", "low", "close")
NO_VOLUME: Final = -1

Table: TypeAlias = NDArray[np.void]

_DAY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T]00:00:00)?", re.ASCII)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LARGEST_VOLUME: Final = float(2**63 - 1024)


def table(values: Sequence[object]) -> tuple[Table, Counter[str]]:
    """The rows that are objects with a readable date, and how many are not."""
    rows = [row for row in values if isinstance(row, dict)]
    days = [_day(row.get("datetime")) for row in rows]
    if None in days:
        rows = [row for row, day in zip(rows, days, strict=True) if day is not None]
    known = [day for day in days if day is not None]
    made = np.empty(len(rows), ROW)
    made["session"] = np.array(known, "i8").astype("datetime64[D]")
    for name in PRICES:
        made[name] = _numbers([row.get(name) for row in rows])
    made["volume"] = _volumes([row.get("volume") for row in rows])
    unreadable = len(values) - len(rows)
    return made, Counter({"unreadable": unreadable} if unreadable else {})


def bars(symbol: str, rows: Table) -> Bars:
    """Valid rows as bars; oldest first, one a session."""
    columns = {name: np.ascontiguousarray(rows[name]) for name in (*PRICES, "volume")}
    return Bars(symbol, np.ascontiguousarray(rows["session"]), **columns)


def _day(text: object) -> int | None:
    return _days_since_epoch(text) if isinstance(text, str) else None


@lru_cache(maxsize=65_536)
def _days_since_epoch(text: str) -> int | None:
    match = _DAY.fullmatch(text)
    if match is None:
        return None
    try:
        return date.fromisoformat(match[1]).toordinal() - _EPOCH
    except ValueError:
        return None


def _numbers(column: list[Any]) -> NDArray[np.float64]:
    if {str, int, float}.issuperset(map(type, column)) and _is_plain(column):
        try:
            return np.fromiter(map(float, column), np.float64, len(column))
        except (ValueError, OverflowError):
            pass
    return np.fromiter(map(_number, column), np.float64, len(column))


def _is_plain(column: list[Any]) -> bool:
    # Python accepts more: 1_000, and the digits of every script.
    text = "".join(value for value in column if isinstance(value, str))
    return text.isascii() and "_" not in text


def _number(value: object) -> float:
    # A bool is an int in Python, but not a price.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return np.nan
    if not _is_plain([value]):
        return np.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return np.nan


def _volumes(column: list[Any]) -> NDArray[np.int64]:
    if column.count(None) == len(column):
        return np.full(len(column), NO_VOLUME, np.int64)
    numbers = _numbers(column)
    known = (numbers >= 0) & (numbers <= _LARGEST_VOLUME)
    return np.where(known, numbers, NO_VOLUME).astype(np.int64)
