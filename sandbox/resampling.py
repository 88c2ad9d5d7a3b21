"""Weeks and months of daily bars."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Final

from sandbox.sample_prices import Bar


def joined(bars: Sequence[Bar], interval: str) -> Sequence[Bar]:
    """Bars of `1day`, `1week` or `1month`, each dated by the first day of its period."""
    first_day = _FIRST_DAYS.get(interval)
    if first_day is None:
        return bars
    groups = groupby(bars, key=lambda bar: first_day(date.fromisoformat(bar.day)))
    return [_one(day, list(group)) for day, group in groups]


def _one(first_day: date, bars: Sequence[Bar]) -> Bar:
    return Bar(
        day=first_day.isoformat(),
        open=bars[0].open,
        high=max((bar.high for bar in bars), key=float),
        low=min((bar.low for bar in bars), key=float),
        close=bars[-1].close,
        volume=_total(bar.volume for bar in bars),
    )


def _total(volumes: Iterable[str | None]) -> str | None:
    known = [int(float(volume)) for volume in volumes if volume is not None]
    return str(sum(known)) if known else None


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


_FIRST_DAYS: Final[Mapping[str, Callable[[date], date]]] = {
    "1week": _monday,
    "1month": lambda day: day.replace(day=1),
}
