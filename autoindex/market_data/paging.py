"""The pages of one batch: which to ask for next, and the bars they add up to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from autoindex import sessions
from autoindex.errors import ProviderUnavailable, SymbolRefused
from autoindex.market_data import parsing, validation
from autoindex.market_data.bars import Bars
from autoindex.market_data.fetch_plan import PAGE_BARS, Batch, Due
from autoindex.market_data.parsing import Table
from autoindex.market_data.quota import Credits
from autoindex.market_data.responses import Outcome, Rows

_DAY: Final = timedelta(days=1)
_STRAYS: Final = 5
_LONG_AGO: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Fetched:
    """One symbol's valid bars, and how many rows were dropped by reason.

    `newest_dropped` marks a symbol whose newest session is still missing although the provider has
    served it: no row of it was valid.
    """

    due: Due
    bars: Bars
    dropped: Counter[str]
    newest_dropped: bool = False


@dataclass(frozen=True, slots=True)
class BatchReply:
    """The outcome of one batch by symbol, and its credits.

    An entry of `fetched` may have no bars: nothing is new. A retry of `refused` changes nothing.
    `unavailable` maps symbols that the provider failed to serve this time to the reason.
    """

    fetched: tuple[Fetched, ...]
    refused: tuple[SymbolRefused, ...]
    unavailable: dict[str, str]
    credits: Credits


@dataclass(frozen=True, slots=True)
class Call:
    """A page to ask for: bars dated before `before`."""

    before: date
    asked: tuple[Due, ...]


class Pages:
    """Collects a batch's pages, newest first, and says which to ask for next.

    A symbol's bars count only once its last page is in: half a history would look up to date.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        # Exclusive, as the provider's end date is for daily bars.
        self._newest = batch.end + _DAY
        self._waiting: dict[date, list[Due]] = {self._newest: list(batch.due)}
        self._tables: dict[str, list[Table]] = {one.symbol: [] for one in batch.due}
        self._unreadable: dict[str, Counter[str]] = {one.symbol: Counter() for one in batch.due}
        self._refused: dict[str, SymbolRefused] = {}
        self._unavailable: dict[str, str] = {}

    def next_call(self) -> Call | None:
        """The next call to make; None when every page is in."""
        if not self._waiting:
            return None
        before = max(self._waiting)
        return Call(before, tuple(self._waiting.pop(before)))

    def add(self, call: Call, outcomes: Mapping[str, Outcome]) -> None:
        """Add the outcomes of a call."""
        for due in call.asked:
            outcome = outcomes[due.symbol]
            if isinstance(outcome, SymbolRefused):
                self._refused[due.symbol] = outcome
            elif isinstance(outcome, ProviderUnavailable):
                self._unavailable[due.symbol] = str(outcome)
            else:
                self._add_page(due, call.before, outcome)

    def reply(self, spent: Credits) -> BatchReply:
        """The batch's outcome: the valid rows of every page."""
        fetched = []
        for due in self._batch.due:
            if due.symbol not in self._refused and due.symbol not in self._unavailable:
                try:
                    fetched.append(self._assemble(due))
                except SymbolRefused as refusal:
                    self._refused[due.symbol] = refusal
        refused = tuple(self._refused.values())
        return BatchReply(tuple(fetched), refused, self._unavailable, spent)

    def _add_page(self, due: Due, before: date, page: Rows) -> None:
        days = page.rows["session"]
        inside = days >= np.datetime64(due.start)
        if before != self._newest:
            inside &= days < np.datetime64(before)
        table = page.rows[inside]
        self._tables[due.symbol].append(table)
        self._unreadable[due.symbol] += page.unreadable
        if page.served >= PAGE_BARS and len(table):
            self._ask_for_more(due, before, table)

    def _ask_for_more(self, due: Due, before: date, table: Table) -> None:
        """Ask for the page before a full one, unless it must be empty."""
        oldest = _oldest(table)
        if oldest >= before or sessions.between(due.start, oldest - _DAY).empty:
            return
        if len(self._tables[due.symbol]) == due.pages:
            reason = "the provider serves more rows than there were sessions"
            self._refused[due.symbol] = SymbolRefused(due.symbol, reason)
            return
        self._waiting.setdefault(oldest, []).append(due)

    def _assemble(self, due: Due) -> Fetched:
        served = np.concatenate(self._tables[due.symbol])
        valid, dropped = validation.valid(served, due.end)
        dropped += self._unreadable[due.symbol]
        if not len(valid):
            _check_empty(due, dropped)
        end = np.datetime64(due.end)
        newest_dropped = (
            due.newest != due.end and end in served["session"] and end not in valid["session"]
        )
        return Fetched(due, parsing.bars(due.symbol, valid), dropped, newest_dropped)


def _oldest(page: Table) -> date:
    """The day that the page goes back to; a few wrong dates long before all others don't count.

    Where they are right after all, they are served twice, which counts once.
    """
    days = np.sort(page["session"])
    first: date = days[0].item()
    others: date = days[min(_STRAYS, len(days) - 1)].item()
    return others if others - first > _LONG_AGO else first


def _check_empty(due: Due, dropped: Counter[str]) -> None:
    if not dropped and due.whole:
        raise SymbolRefused(due.symbol, f"the provider has no daily bars from {due.start} on")
    if dropped.keys() - validation.HARMLESS:
        counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise SymbolRefused(due.symbol, f"no valid bar is left: {counts}")
