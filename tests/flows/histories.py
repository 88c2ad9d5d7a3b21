"""What happens to prices and members, on the database and in the plain model of it."""

from bisect import bisect_left
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from autoindex import sessions
from autoindex.market_data import restatement
from autoindex.market_data.bars import Bars
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.retention import deletion, expiry, restore
from autoindex.storage.universe import assets, membership_changes
from autoindex.storage.universe.universe_import import UniverseImport
from autoindex.storage.universe.universe_row import UniverseRow
from flows.attempts.runtime import Runtime
from tests.flows.plain_index import (
    BEFORE,
    BENCHMARK,
    CONSTITUENT,
    DAYS,
    FOREVER,
    STOCKS,
    Model,
    Span,
    walks,
)

KNOWN = 35


class History:
    """The steps, each on the database and on the model."""

    def __init__(self, run: Runtime, folder: Path) -> None:
        self.run, self.model, self.archive = run, Model(), f"file://{folder}"
        self.today, self.cleaned, self.number = KNOWN, False, 0
        self.archived: list[dict[int, float]] = [{} for _ in range(STOCKS)]
        self.restated: set[int] = set()
        self.truth, self.provider = walks(), walks()
        self.symbols = list("ABCDE")
        self.ids: dict[int, int] = {}
        # The as-of day of each count, by the day from which it counts.
        self.as_of: list[dict[int, int]] = [{} for _ in range(STOCKS)]

    # What the provider does, and what of it is refreshed.

    def refresh(self, days: int, unasked: set[int], empty: set[int]) -> None:
        self.today = min(self.today + days, len(DAYS) - 1)
        asked = [stock for stock in self.ids if stock not in unasked]
        for stock in empty & {*asked}:
            if np.isnan(self.model.closes[self.today, stock]):
                self.provider[self.today, stock] = np.nan
        self._store(asked)
        for stock in asked:
            self.model.asked[stock] = self.today

    def correct(self, stock: int, age: int, factor: float) -> None:
        day = self.today - age
        if not np.isnan(self.model.closes[day, stock]):
            self.provider[day, stock] *= factor
            self._store([stock])

    def late(self, stock: int) -> None:
        """A bar that was missing comes after all."""
        gaps = np.isnan(self.provider[:, stock]) & ~np.isnan(self.truth[:, stock])
        if gaps.any() and not np.isnan(self.model.closes[:, stock]).all():
            day = int(np.flatnonzero(gaps)[-1])
            self.provider[day, stock] = self.truth[day, stock]
            self._store([stock])

    def split(self, stock: int, ratio: float) -> None:
        known = np.flatnonzero(~np.isnan(self.model.closes[:, stock]))
        if len(known) < 10:
            return
        self.restated.add(stock)
        self.truth[:, stock] /= ratio
        self.provider[:, stock] /= ratio
        fetched = self.bars(stock)
        before = self.model.closes[:, stock].copy()
        with self.run.engine.begin() as connection:
            stored = stored_prices.closes_of(connection, self.ids[stock])
            compared = restatement.compare(fetched, stored.sessions, stored.closes)
            assert compared.is_restated
            assert compared.refusal() is None
            stored_prices.replace(connection, fetched, self.ids[stock])
            self._note(connection, [stock])
        self.model.closes[known, stock] /= ratio
        self._know(stock)
        new = np.flatnonzero(~np.isnan(self.model.closes[:, stock]) & np.isnan(before))
        first = min((day for day in new if day > known[-1]), default=FOREVER)
        self.model.counts[stock] = [
            (begin, count * ratio if basis < first else count, basis)
            for begin, count, basis in self.model.counts[stock]
        ]
        for book in self.model.books.values():
            for units in book.units.values():
                units[stock] *= ratio

    # What an operator does.

    def add(self, stock: int, shares: bool) -> None:
        values: dict[str, Any] = {"shares_outstanding": self._new_count()} if shares else {}
        self._import(stock, **values)

    def shares(self, stock: int, age: int, *, backdate: bool) -> None:
        self._import(
            stock,
            backdate=backdate,
            shares_outstanding=self._new_count(),
            shares_outstanding_date=DAYS[self.today - age],
        )

    def dated(self, stock: int, age: int | None, until: int | None, *, backdate: bool) -> None:
        """A membership with dates, of which published ones are refused unless backdated."""
        dates: dict[str, Any] = {}
        if age is not None:
            dates["member_from"] = DAYS[self.today - age]
        if until is not None:
            dates["member_to"] = DAYS[min(self.today + until, len(DAYS) - 1)]
        self._import(stock, backdate=backdate, **dates)

    def benchmark(self, stock: int) -> None:
        if not self._other_benchmark(stock):
            self._import(stock, role=BENCHMARK)

    def deactivate(self, stock: int) -> None:
        if stock in self.ids:
            with self.run.engine.begin() as connection:
                membership_changes.deactivate(connection, [self.symbols[stock]], "test")
            last = self.model.published
            spans = self.model.members[stock]
            self.model.members[stock] = _up_to(spans, last) if last > BEFORE else []

    def activate(self, stock: int) -> None:
        spans = self.model.members[stock]
        role = spans[-1][2] if spans else CONSTITUENT
        if stock in self.ids and (role == CONSTITUENT or not self._other_benchmark(stock)):
            with self.run.engine.begin() as connection:
                membership_changes.activate(connection, [self.symbols[stock]], "test")
            *before, newest = self._active(stock, role)
            self.model.members[stock] = [*before, (newest[0], FOREVER, newest[2])]

    def rename(self, stock: int) -> None:
        if stock in self.ids:
            new = f"{'ZYXWV'[stock]}{self.number}"
            self.number += 1
            with self.run.engine.begin() as connection:
                assets.rename(connection, self.symbols[stock], new, "test")
            self.symbols[stock] = new
            self.model.asked[stock] = BEFORE

    def cleanup(self, age: int) -> None:
        kept = self.today - age
        deletion.clean(
            self.run.engine,
            types=["prices"],  # type: ignore[list-item]
            older_than=DAYS[kept],
            archive_url=self.archive,
            dry_run=False,
            pause_seconds=0,
        )
        for stock in range(STOCKS):
            lost = np.flatnonzero(~np.isnan(self.model.closes[:kept, stock])).tolist()
            if lost:
                self.cleaned = True
                self.archived[stock] |= {day: self.model.closes[day, stock] for day in lost}
                month = expiry.next_month(expiry.month_of(DAYS[lost[-1]]))
                first = min(kept, bisect_left(DAYS, month))
                self.model.cleaned[stock] = max(self.model.cleaned[stock], first)
        for closes in (self.model.closes, self.provider, self.truth):
            closes[:kept] = np.nan

    def restore(self, age: int) -> None:
        """Archived closes from a day on come back, unless the provider has restated any since."""
        begin = self.today - age
        if self.restated & {stock for stock in self.ids if self.archived[stock]}:
            return
        with self.run.engine.begin() as connection:
            restore.restore(connection, self.archive, "prices", DAYS[begin], DAYS[-1])
        for stock, archived in enumerate(self.archived):
            back = {day: close for day, close in archived.items() if day >= begin}
            for day, close in back.items():
                if np.isnan(self.model.closes[day, stock]):
                    for closes in (self.model.closes, self.provider, self.truth):
                        closes[day, stock] = close
            if back:
                self.model.cleaned[stock] = min([self.model.cleaned[stock], *back])

    def _import(self, stock: int, *, backdate: bool = False, **values: Any) -> None:
        symbol = self.symbols[stock]
        row = UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name="x", **values)
        members = self._dated(stock, row) or self._active(stock, row.role)
        with self.run.engine.begin() as connection:
            importing = UniverseImport(connection, DAYS[self.today], "test", backdate=backdate)
            refusal = importing.refusal(row)
            assert (refusal is not None) == self._is_refused(stock, members, backdate)
            if refusal is not None:
                return
            importing.store([row])
            self.ids[stock] = assets.named(connection, [symbol])[0].id
        self._become(stock, members)
        if row.shares_outstanding is not None:
            self._counted(stock, row.shares_outstanding, row.shares_outstanding_date, backdate)

    def _is_refused(self, stock: int, new: list[Span], backdate: bool) -> bool:
        last, old = self.model.published, self.model.members[stock]
        if any(begin > end for begin, end, _ in new):
            return True
        return last > BEFORE and not backdate and _up_to(old, last) != _up_to(new, last)

    def _become(self, stock: int, new: list[Span]) -> None:
        """Members from now on; what is published with others has changed."""
        published = range(self.model.published + 1)
        before = [self.model.role(stock, day) for day in published]
        self.model.members[stock] = new
        differs = [day for day in published if self.model.role(stock, day) != before[day]]
        self._changed(differs[:1])

    def _changed(self, days: list[int]) -> None:
        for book in self.model.books.values():
            for day in days:
                book.changed(max(day, min(book.levels, default=0)))

    @property
    def _following(self) -> int:
        last = self.model.published
        return last + 1 if last > BEFORE else BEFORE

    def _active(self, stock: int, role: str) -> list[Span]:
        """A member in this role from the next session on, as far as it is not."""
        spans, last = self.model.members[stock], self.model.published
        now = next((one for one in spans if one[1] > last), None)
        if now is None:
            return _continued(spans, (self._following, FOREVER, role), last)
        if now[2] == role:
            return spans
        new = (max(now[0], self._following), now[1], role)
        later = [one for one in spans if one[0] > now[1]]
        return [*_continued(_up_to(spans, new[0] - 1), new, last), *later]

    def _dated(self, stock: int, row: UniverseRow) -> list[Span] | None:
        """What a row says of the newest membership in its role, None where it has no dates."""
        if row.member_from is None and row.member_to is None:
            return None
        spans = self.model.members[stock]
        known = [first for first, _, role in spans if role == row.role]
        first = known[-1] if known else self._following
        first = DAYS.index(row.member_from) if row.member_from else first
        last = DAYS.index(row.member_to) if row.member_to else FOREVER
        others = [one for one in spans if one[2] != row.role or one[1] < first]
        return [*_up_to(others, first - 1), (first, last, row.role)]

    def _other_benchmark(self, stock: int) -> bool:
        spans = [one for a in range(STOCKS) if a != stock for one in self.model.members[a]]
        return any(one[1] > self.model.published and one[2] == BENCHMARK for one in spans)

    def _counted(self, stock: int, count: int, day: date | None, backdate: bool) -> None:
        last, counts = self.model.published, self.model.counts[stock]
        first = as_of = DAYS.index(day) if day else self.today
        known = self.as_of[stock]
        begun = [one[0] for one in self.model.members[stock] if one[0] <= last]
        if backdate:
            is_first = all(one[0] >= first for one in counts)
            changed = max(begun[0], BEFORE if is_first else first) if begun else FOREVER
            self._changed([changed])
        elif last > BEFORE and as_of <= last:
            first = last + 1
            if any(known[one[0]] > as_of for one in counts if one[0] <= first):
                return
        if last > BEFORE and begun and not backdate and all(one[0] > last for one in counts):
            pinned = (BEFORE, counts[0][1] if counts else np.nan, counts[0][2] if counts else 0)
            known[BEFORE] = known[counts[0][0]] if counts else BEFORE
            counts = [pinned, *counts]
        known[first] = as_of
        counts = [one for one in counts if one[0] != first]
        self.model.counts[stock] = sorted(
            [*counts, (first, float(count), self.today)], key=lambda one: one[0]
        )

    def _new_count(self) -> int:
        self.number += 1
        return 1_000_000 + 97_003 * (self.number * 7919 % 101)

    def bars(self, stock: int) -> Bars:
        """What the provider serves of a stock."""
        values = self.provider[: self.today + 1, stock]
        known = ~np.isnan(values)
        days = np.array(DAYS, "datetime64[D]")[: self.today + 1][known]
        close = values[known]
        volume = np.full(len(close), -1)
        return Bars(self.symbols[stock], days, close, close, close, close, volume)

    def _store(self, stocks: list[int]) -> None:
        with self.run.engine.begin() as connection:
            ids = {self.symbols[stock]: self.ids[stock] for stock in stocks}
            stored_prices.upsert(connection, [self.bars(stock) for stock in stocks], ids)
            self._note(connection, stocks)
        for stock in stocks:
            self._know(stock)

    def _note(self, connection: Any, stocks: list[int]) -> None:
        at = sessions.closed_at(DAYS[self.today]) + timedelta(hours=3, minutes=30)
        fetches.note(connection, [self.ids[stock] for stock in stocks], [], at)
        for stock in stocks:
            self.model.asked[stock] = self.today

    def _know(self, stock: int) -> None:
        """What is served is stored, and changes what was published with other closes."""
        until = self.today + 1
        new, old = self.provider[:until, stock], self.model.closes[:until, stock]
        changed = np.flatnonzero(~np.isnan(new) & (new != old))
        begun = min((one[0] for one in self.model.members[stock]), default=FOREVER)
        for book in self.model.books.values():
            for day in changed:
                book.changed(max(int(day), begun))
        self.model.closes[:until, stock] = new


def _up_to(spans: list[Span], day: int) -> list[Span]:
    return [(first, min(last, day), role) for first, last, role in spans if first <= day]


def _continued(spans: list[Span], new: Span, published: int) -> list[Span]:
    """`new` after the others; it continues one of its role that ends with what is published."""
    is_next = new[0] == published + 1 > BEFORE + 1
    if spans and is_next and spans[-1][1:] == (published, new[2]):
        return [*spans[:-1], (spans[-1][0], new[1], new[2])]
    return [*spans, new]
