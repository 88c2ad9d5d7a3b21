"""An index by its rules in plain NumPy: the product shares no arithmetic with it.

Days are numbers of sessions, and stocks are numbers.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoindex import sessions
from autoindex.requests import Strategy

DAYS = [day.date() for day in sessions.between(date(2022, 1, 3), date(2022, 10, 18))]
DECISIONS = [day for day in range(1, len(DAYS)) if DAYS[day].month != DAYS[day - 1].month]
STOCKS, BEFORE, FOREVER = 5, -1, 10**6
STRATEGIES = (Strategy.EQUAL_WEIGHT, Strategy.MARKET_CAP, Strategy.MOMENTUM)
LOOKBACK = {Strategy.MOMENTUM: 21}
CONSTITUENT, BENCHMARK = "constituent", "benchmark"
Floats = NDArray[np.float64]
Span = tuple[int, int, str]
"""First and last day of a membership, and its role."""


def walks() -> Floats:
    steps = np.random.default_rng(7).normal(0, 0.03, (len(DAYS), STOCKS))
    closes: Floats = 50 * np.exp(np.cumsum(steps, axis=0))
    closes[:45, STOCKS - 1] = np.nan  # listed later
    return closes


@dataclass
class Book:
    """One index by the rules: what is published, and what is to be computed again."""

    levels: dict[int, float] = field(default_factory=dict)
    units: dict[int, Floats] = field(default_factory=dict)
    due: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)
    marks: dict[int, set[int]] = field(default_factory=dict)

    def changed(self, day: int) -> None:
        """Something that a level is computed from has changed since this day."""
        if self.levels and day <= max(self.levels):
            window = sorted(self.levels)[-10:]
            recent = len(window) < 10 or day >= window[0]
            (self.due if recent else self.late).add(day)

    def base(self, begin: int) -> int | None:
        return max((day for day in self.levels if day < begin), default=None)

    def held(self, day: int) -> Floats:
        """The units behind the close of a day, before its decision."""
        decided = max((one for one in self.units if one < day), default=None)
        return np.zeros(STOCKS) if decided is None else self.units[decided]


def _nothing() -> list[Any]:
    return [[] for _ in range(STOCKS)]


@dataclass
class Model:
    """Closes, members and shares as they are stored, and each index by the rules."""

    closes: Floats = field(default_factory=lambda: np.full((len(DAYS), STOCKS), np.nan))
    asked: list[int] = field(default_factory=lambda: [BEFORE] * STOCKS)
    members: list[list[Span]] = field(default_factory=_nothing)
    counts: list[list[tuple[int, float, int]]] = field(default_factory=_nothing)
    cleaned: list[int] = field(default_factory=lambda: [0] * STOCKS)
    """From which day on no cleanup has removed a close of each stock."""
    books: dict[Strategy, Book] = field(default_factory=lambda: {one: Book() for one in STRATEGIES})

    @property
    def published(self) -> int:
        return max((day for book in self.books.values() for day in book.levels), default=BEFORE)

    @property
    def kept(self) -> int:
        stored = np.flatnonzero(~np.isnan(self.closes).all(axis=1))
        return max([*stored[:1].tolist(), *self.cleaned])

    def role(self, stock: int, day: int) -> str | None:
        spans = self.members[stock]
        return next((role for first, last, role in spans if first <= day <= last), None)

    def is_member(self, stock: int, day: int) -> bool:
        return self.role(stock, day) == CONSTITUENT

    def benchmark(self) -> set[int]:
        """The benchmark after the newest stored close."""
        stored = np.flatnonzero(~np.isnan(self.closes).all(axis=1))
        after = int(stored[-1]) + 1 if len(stored) else 0
        return {stock for stock in range(STOCKS) if self.role(stock, after) == BENCHMARK}

    def shares(self, day: int) -> Floats:
        found = np.full(STOCKS, np.nan)
        for stock, counts in enumerate(self.counts):
            known = [one for first, one, _ in counts if first <= day]
            if counts:
                found[stock] = known[-1] if known else counts[0][1]
        return found

    def settled(self, stock: int, day: int) -> bool:
        known = ~np.isnan(self.closes[:, stock])
        return bool(known[day]) or self.asked[stock] >= (day if known.any() else 0)

    def carried(self, day: int) -> Floats:
        """The newest close of each stock."""
        found = np.full(STOCKS, np.nan)
        for stock in range(STOCKS):
            known = np.flatnonzero(~np.isnan(self.closes[: day + 1, stock]))
            if len(known):
                found[stock] = self.closes[known[-1], stock]
        return found

    def lookback(self, stock: int, day: int) -> int:
        """How many sessions a stock has traded without a gap of more than five."""
        known = np.flatnonzero(~np.isnan(self.closes[: day + 1, stock]))
        if not len(known) or day - known[-1] > 5:
            return 0
        after_gaps = known[1:][np.diff(known) > 6]
        return day - int(after_gaps[-1] if len(after_gaps) else known[0]) + 1

    def weights(self, strategy: Strategy, day: int) -> Floats | None:
        long = np.array([self.lookback(stock, day) for stock in range(STOCKS)])
        able = long >= LOOKBACK.get(strategy, 1)
        chosen = able & [self.is_member(stock, day) for stock in range(STOCKS)]
        score = np.where(chosen, 1.0, 0.0)
        if strategy is Strategy.MOMENTUM and chosen.any():
            score = momentum(self.carried(day) / self.carried(day - 20) - 1, chosen)
        if strategy is Strategy.MARKET_CAP:
            score = np.nan_to_num(np.where(chosen, self.carried(day) * self.shares(day), 0))
        return limited(score / score.sum()) if score.any() else None

    def compute(self, strategy: Strategy, start: int | None, last: int) -> int:
        """Publish up to `last`; the first day that may have changed."""
        book = self.books[strategy]
        wanted = min([FOREVER, *book.due, *book.marks]) if start is None else start
        older = bool(book.levels) and min(book.levels) < self.kept
        begin = max(wanted, self.kept + max(LOOKBACK.get(strategy, 1) - 1, older))
        base = book.base(begin)
        origin = min(book.levels, default=0) if start is None else start
        first = max(self.kept, origin) if base is None else base + 1
        level = None if base is None else book.levels[base]
        for day in [one for one in book.units if one >= first]:
            del book.units[day]
        for day in range(first, last + 1):
            now = np.nan_to_num(self.carried(day))
            if level is not None:
                level = float(now @ book.held(day))
            if level is None or day in DECISIONS:
                weights = self.weights(strategy, day)
                if weights is not None:
                    level = level or 100.0
                    book.units[day] = np.divide(weights * level, now, where=now > 0, out=0 * now)
            if level is not None:
                book.levels[day] = level
        asked = book.due if start is None else {one for one in book.due | book.late if one >= start}
        out_of_reach = {one for one in asked if base is not None and one <= base}
        if start is None:
            book.due.clear()
        else:
            book.due = {day for day in book.due if day < start}
            book.late = {day for day in book.late if day < start}
        book.late |= out_of_reach
        return begin


def momentum(returns: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Positive returns; without any, those above −1 % alike; without these, all alike."""
    scores = np.where(chosen & (returns > 0), returns, 0)
    if not scores.any():
        scores = np.where(chosen & (returns > -0.01), 1.0, 0)
    return scores if scores.any() else np.where(chosen, 1.0, 0)


def limited(weights: Floats) -> Floats:
    """No weight above 40 %, none below 1 %, as far as their number allows."""
    while True:
        count = int((weights > 0).sum())
        cap, over = max(0.4, 1 / count), np.zeros(STOCKS, bool)
        capped = weights
        while (capped > cap + 1e-12).any():
            over |= capped > cap
            free = np.where(over, 0, weights)
            rest = 1 - cap * over.sum()
            capped = np.where(over, cap, free * rest / free.sum() if free.any() else 0)
        small = (capped > 0) & (capped < min(0.01, 1 / (2 * count)) - 1e-12)
        if not small.any():
            return capped
        dropped = np.where(small, capped, np.inf).argmin()
        weights = np.where(np.arange(STOCKS) == dropped, 0, weights)
        weights = weights / weights.sum()
