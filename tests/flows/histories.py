"""What happens to prices and members, on the database and in the plain model of it."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from autoindex import sessions
from autoindex.market_data import restatement
from autoindex.market_data.bars import Bars
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.retention import deletion
from autoindex.storage.universe import assets, membership_changes
from autoindex.storage.universe.universe_import import UniverseImport
from autoindex.storage.universe.universe_row import UniverseRow
from flows.attempts.runtime import Runtime
from tests.flows.plain_index import BEFORE, DAYS, FOREVER, STOCKS, Model, walks

KNOWN = 35


class History:
    """The steps, each on the database and on the model."""

    def __init__(self, run: Runtime, folder: Path) -> None:
        self.run, self.model, self.archive = run, Model(), f"file://{folder}"
        self.today, self.cleaned, self.number = KNOWN, False, 0
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
        self.truth[:, stock] /= ratio
        self.provider[:, stock] /= ratio
        fetched = self._bars(stock)
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

    def shares(self, stock: int, age: int) -> None:
        self._import(
            stock,
            shares_outstanding=self._new_count(),
            shares_outstanding_date=DAYS[self.today - age],
        )

    def backdate(self, stock: int, age: int) -> None:
        first, published = self.today - age, self.model.published
        spans = self.model.members[stock]
        self._import(stock, backdate=True, member_from=DAYS[first])
        new = [(begin, min(last, first - 1)) for begin, last in spans if last < first]
        self.model.members[stock] = [*new, (first, FOREVER)]
        before = [any(a <= day <= b for a, b in spans) for day in range(published + 1)]
        after = [self.model.is_member(stock, day) for day in range(published + 1)]
        differs = [day for day in range(published + 1) if before[day] != after[day]]
        origin = min((day for book in self.model.books.values() for day in book.levels), default=0)
        for book in self.model.books.values():
            if differs:
                book.changed(max(differs[0], origin))

    def deactivate(self, stock: int) -> None:
        if stock in self.ids:
            with self.run.engine.begin() as connection:
                membership_changes.deactivate(connection, [self.symbols[stock]], "test")
            last = self.model.published
            spans = self.model.members[stock]
            ended = [(a, min(b, last)) for a, b in spans if a <= last and last > BEFORE]
            self.model.members[stock] = ended

    def activate(self, stock: int) -> None:
        if stock in self.ids:
            with self.run.engine.begin() as connection:
                membership_changes.activate(connection, [self.symbols[stock]], "test")
            self._activated(stock)

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
        if not np.isnan(self.model.closes[:kept]).all():
            self.cleaned = True
            self.model.closes[:kept] = np.nan
            self.provider[:kept] = np.nan
            self.truth[:kept] = np.nan
            self.model.kept = max(self.model.kept, kept)

    def _import(self, stock: int, *, backdate: bool = False, **values: Any) -> None:
        symbol = self.symbols[stock]
        row = UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name="x", **values)
        with self.run.engine.begin() as connection:
            importing = UniverseImport(connection, DAYS[self.today], "test", backdate=backdate)
            assert importing.refusal(row) is None
            importing.store([row])
            self.ids[stock] = assets.named(connection, [symbol])[0].id
        if not backdate:
            self._activated(stock)
        if "shares_outstanding" in values:
            self._counted(stock, **values)

    def _activated(self, stock: int) -> None:
        spans, last = self.model.members[stock], self.model.published
        if spans and spans[-1][1] > last:
            return
        if spans and spans[-1][1] == last:
            self.model.members[stock] = [*spans[:-1], (spans[-1][0], FOREVER)]
        else:
            first = BEFORE if last == BEFORE else last + 1
            self.model.members[stock] = [*spans, (first, FOREVER)]

    def _counted(
        self, stock: int, shares_outstanding: int, shares_outstanding_date: date | None = None
    ) -> None:
        last, counts = self.model.published, self.model.counts[stock]
        as_of = DAYS.index(shares_outstanding_date) if shares_outstanding_date else self.today
        known = self.as_of[stock]
        first = as_of
        if last > BEFORE and as_of <= last:
            first = last + 1
            if any(known[one[0]] > as_of for one in counts if one[0] <= first):
                return
        was_member = last > BEFORE and any(a <= last for a, _ in self.model.members[stock])
        if was_member and not any(one[0] <= last for one in counts):
            pinned = (BEFORE, counts[0][1] if counts else np.nan, counts[0][2] if counts else 0)
            known[BEFORE] = known[counts[0][0]] if counts else BEFORE
            counts = [pinned, *counts]
        known[first] = as_of
        counts = [one for one in counts if one[0] != first]
        self.model.counts[stock] = sorted(
            [*counts, (first, float(shares_outstanding), self.today)], key=lambda one: one[0]
        )

    def _new_count(self) -> int:
        self.number += 1
        return 1_000_000 + 97_003 * (self.number * 7919 % 101)

    def _bars(self, stock: int) -> Bars:
        values = self.provider[: self.today + 1, stock]
        known = ~np.isnan(values)
        days = np.array(DAYS, "datetime64[D]")[: self.today + 1][known]
        close = values[known]
        volume = np.full(len(close), -1)
        return Bars(self.symbols[stock], days, close, close, close, close, volume)

    def _store(self, stocks: list[int]) -> None:
        with self.run.engine.begin() as connection:
            ids = {self.symbols[stock]: self.ids[stock] for stock in stocks}
            stored_prices.upsert(connection, [self._bars(stock) for stock in stocks], ids)
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
        begun = min((first for first, _ in self.model.members[stock]), default=FOREVER)
        for book in self.model.books.values():
            for day in changed:
                book.changed(max(int(day), begun))
        self.model.closes[:until, stock] = new
