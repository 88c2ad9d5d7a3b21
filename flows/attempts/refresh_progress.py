"""What a refresh has done so far, over all attempts of its task."""

from collections import Counter, deque
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter

from autoindex.errors import PermanentError
from autoindex.market_data.fetch_plan import Batch, Due
from autoindex.market_data.paging import BatchReply
from autoindex.storage.prices.stored_prices import Counts
from autoindex.storage.runs import checkpoints
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime

# Symbols with dropped rows that a result names.
MOST_NAMED: Final = 100


@dataclass(frozen=True, slots=True)
class Stored:
    """What one batch has changed.

    `restated` names the symbols whose history was replaced, `to_refetch` the symbols whose history
    has to be fetched whole first. `refused` maps symbols whose stored history stays to the reason.
    """

    counts: Counts
    restated: frozenset[str]
    to_refetch: tuple[Due, ...]
    refused: dict[str, str]


@dataclass(slots=True)
class RefreshProgress:
    """What a refresh has done so far, symbol by symbol and row by row."""

    fresh: int = 0
    fetched: set[str] = field(default_factory=set)
    restated: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    deferred: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_by_symbol: dict[str, Counter[str]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    credits: int = 0
    seconds: float = 0

    def add(self, reply: BatchReply, stored: Stored) -> None:
        """Add one batch."""
        self.counts += stored.counts
        not_stored = {due.symbol for due in stored.to_refetch} | stored.refused.keys()
        self.fetched |= {one.due.symbol for one in reply.fetched} - not_stored
        self.restated |= stored.restated
        self.refused |= stored.refused
        self.refused |= {refusal.symbol: refusal.reason for refusal in reply.refused}
        self.deferred |= reply.unavailable
        for one in reply.fetched:
            self._drop(one.due.symbol, one.dropped)

    def _drop(self, symbol: str, dropped: Counter[str]) -> None:
        self.dropped += dropped
        if dropped:
            self.dropped_by_symbol[symbol] = self.dropped_by_symbol.get(symbol, Counter()) + dropped

    def plus(self, reply: BatchReply, stored: Stored) -> "RefreshProgress":
        """A copy with one more batch."""
        more = deepcopy(self)
        more.add(reply, stored)
        return more

    @property
    def settled(self) -> set[str]:
        """Symbols that this task need not fetch again."""
        return self.fetched | self.refused.keys()

    def defer(self, batches: "deque[Batch]", reason: str) -> None:
        """Leave the symbols of these batches to the next run."""
        self.deferred |= {symbol: reason for batch in batches for symbol in batch.symbols}

    def check(self) -> None:
        """Raise if no symbol could be refreshed: that is a failure."""
        if self.refused and not (self.fresh or self.fetched or self.deferred):
            reasons = "; ".join(f"{symbol}: {why}" for symbol, why in self.refused.items())
            raise PermanentError(f"no symbol could be refreshed: {reasons}")

    def result(self) -> dict[str, Any]:
        """What `/status` serves."""
        return {
            "symbols_processed": self.fresh + len(self.fetched),
            "records_updated": self.counts.written,
            "symbols_fetched": len(self.fetched),
            "records_inserted": self.counts.inserted,
            "records_changed": self.counts.updated,
            "records_removed": self.counts.deleted,
            "records_unchanged": self.counts.unchanged,
            "rows_dropped": dict(self.dropped),
            "rows_dropped_by_symbol": self._most_dropped(),
            "restated": sorted(self.restated),
            "refused": self.refused,
            "deferred": self.deferred,
            "silent": sorted(self.silent),
            "credits_spent": self.credits,
        }

    def _most_dropped(self) -> dict[str, dict[str, int]]:
        """The symbols with the most dropped rows, by reason; ties in alphabetical order."""
        found = sorted(self.dropped_by_symbol.items(), key=lambda one: (-one[1].total(), one[0]))
        return {symbol: dict(dropped) for symbol, dropped in found[:MOST_NAMED]}

    def dump(self) -> dict[str, Any]:
        """As JSON, for `restored`; without deferred symbols, which are fetched again."""
        dumped: dict[str, Any] = TypeAdapter(RefreshProgress).dump_python(
            self, mode="json", exclude={"deferred"}
        )
        return dumped

    @classmethod
    def restored(cls, dumped: dict[str, Any]) -> "RefreshProgress":
        """The progress that another attempt has dumped."""
        return TypeAdapter(cls).validate_python(dumped)


@retrying("resume")
def resume(run: Runtime) -> RefreshProgress:
    """The progress of earlier attempts of this task; empty in the first."""
    with run.engine.connect() as connection:
        done = checkpoints.load(connection, run.task_id)
    return RefreshProgress.restored(done) if done else RefreshProgress()


@retrying("hand over")
def hand_over(run: Runtime, done: RefreshProgress) -> None:
    """Store the progress for the next attempt."""
    with run.engine.begin() as connection:
        checkpoints.hand_over(connection, run.task_id, done.dump())
