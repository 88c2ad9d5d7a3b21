"""What to ask the provider for: which symbols are due, from which session on, in which batches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final, Protocol, Self

from autoindex import sessions
from autoindex.requests import Mode

# Twelve Data's own limits: bars in one reply, symbols in one call.
PAGE_BARS: Final = 5_000
SYMBOLS_PER_CALL: Final = 120
# Ours: what one reply may hold, so that memory stays the same however many symbols are due.
BARS_PER_CALL: Final = 100_000
# The provider needs a while after a close until it serves the session's bars.
PUBLISHED_WITHIN: Final = timedelta(hours=3)
# Further behind the others than this, a symbol is asked for once a session.
SILENT_SESSIONS: Final = 5
# Stored bars that a smart refresh asks for again, to notice restated history.
OVERLAP_SESSIONS: Final = 5


class Listing(Protocol):
    """What the plan has to know of an asset."""

    @property
    def symbol(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def prices_kept_from(self) -> date | None: ...


@dataclass(frozen=True, slots=True)
class Answered:
    """When the provider last answered about a symbol, and when about its whole history.

    `at` is the data's clock, None where it is to be asked again; `whole_at` is the wall clock, None
    where it has never been fetched whole.
    """

    at: datetime | None
    whole_at: datetime | None


NONE_ANSWERED: Final[Mapping[str, Answered]] = {}


@dataclass(frozen=True, slots=True)
class Due:
    """A symbol to fetch: its bars from `start` to `end`, both included.

    `newest` is the newest stored session, None where there is none. `whole` marks the whole
    history there is to keep, as against the end of it. `pages` is what it costs in credits: exact
    when the history is as long as the window, less when it turns out to begin later.
    """

    symbol: str
    exchange: str
    currency: str
    newest: date | None
    start: date
    end: date
    whole: bool
    pages: int

    def refetch(self, kept_from: date | None) -> Self:
        """The same symbol, whole: what a restated history calls for."""
        start = _beginning(kept_from)
        return replace(self, start=start, whole=True, pages=_pages(start, self.end))


@dataclass(frozen=True, slots=True)
class Batch:
    """Symbols that one call can ask for together: one exchange, one window."""

    due: tuple[Due, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, most stale first."""
        return tuple(one.symbol for one in self.due)

    @property
    def exchange(self) -> str:
        """The exchange all of them are listed at."""
        return self.due[0].exchange

    @property
    def start(self) -> date:
        """First day of the window."""
        return self.due[0].start

    @property
    def end(self) -> date:
        """Last closed session, the last of the window."""
        return self.due[0].end

    @property
    def pages(self) -> int:
        """How many credits each of the symbols may cost: the least that is worth reserving."""
        return self.due[0].pages

    @property
    def credits(self) -> int:
        """How many credits the whole batch may cost."""
        return self.pages * len(self.due)

    def split(self, credits_granted: int) -> tuple["Batch | None", "Batch | None"]:
        """What `credits_granted` pay for now, and what is left for later.

        A symbol dearer than a whole minute begins with what there is.
        """
        count = max(1, credits_granted // self.pages) if credits_granted else 0
        now, later = self.due[:count], self.due[count:]
        return Batch(now) if now else None, Batch(later) if later else None


def due_symbols(
    listings: Iterable[Listing],
    newest: Mapping[str, date],
    now: datetime,
    mode: Mode = Mode.SMART,
    *,
    force: bool = False,
    answered: Mapping[str, Answered] = NONE_ANSWERED,
) -> list[Due]:
    """The symbols to fetch at the instant `now`; ties are in the order of the symbols.

    `newest` maps a symbol to its newest stored session. Smart asks for symbols that miss a closed
    session, from a few stored sessions before on, most stale first; full, or `force`, for the whole
    history of all, and first for those that were `answered` whole the longest ago, or never.
    """
    end = sessions.last_closed(now)
    smart = mode is Mode.SMART and not force
    wanted = (
        _due(listing, newest.get(listing.symbol), end, smart=smart)
        for listing in listings
        if not smart or newest.get(listing.symbol, date.min) < end
    )
    due = sorted((one for one in wanted if one.start <= end), key=lambda one: one.symbol)
    if smart:
        return sorted(due, key=lambda one: one.newest or date.min)
    never = datetime.min.replace(tzinfo=UTC)
    whole_at = {symbol: one.whole_at or never for symbol, one in answered.items()}
    return sorted(due, key=lambda one: whole_at.get(one.symbol, never))


def silent_symbols(
    newest: Mapping[str, date], answered: Mapping[str, Answered], now: datetime
) -> frozenset[str]:
    """The symbols that miss the last closed session, and are not asked for before the next closes.

    The provider had nothing new for them since that close: late enough after it and while others
    have the session, or whenever it was for symbols that others have long left behind.
    """
    end = sessions.last_closed(now)
    close = sessions.closed_at(end)
    others = max(newest.values(), default=date.min)
    long_ago = sessions.back(others, SILENT_SESSIONS) if newest else others

    def is_silent(have: date, at: datetime) -> bool:
        if have >= end or at < close:
            return False
        if have < long_ago or have == date.min:
            return True
        return others >= end and at >= close + PUBLISHED_WITHIN

    return frozenset(
        symbol
        for symbol, one in answered.items()
        if one.at is not None and is_silent(newest.get(symbol, date.min), one.at)
    )


def batches(due: Sequence[Due], credits_per_minute: int) -> Iterator[Batch]:
    """Split what is due into calls, most stale first.

    What a minute's credits pay for is taken in order, and then grouped by window and exchange; so
    whatever is left over when credits run out is less stale than what was fetched.
    """
    for minute in _minutes(due, credits_per_minute):
        groups: dict[tuple[date, str, int], list[Due]] = {}
        for one in minute:
            groups.setdefault((one.start, one.exchange, one.pages), []).append(one)
        for group in groups.values():
            yield from _calls(group)


def _due(listing: Listing, newest: date | None, end: date, *, smart: bool) -> Due:
    beginning = start = _beginning(listing.prices_kept_from)
    if newest is not None and smart:
        start = max(beginning, _overlap_start(newest))
    return Due(
        symbol=listing.symbol,
        exchange=listing.exchange,
        currency=listing.currency,
        newest=newest,
        start=start,
        end=end,
        whole=start == beginning,
        pages=_pages(start, end),
    )


def _beginning(kept_from: date | None) -> date:
    return max(date.fromisoformat(sessions.FIRST_DAY), kept_from or date.min)


def _overlap_start(newest: date) -> date:
    # Three weeks always hold five sessions: the exchange's longest closure was four of them.
    recent = sessions.between(newest - timedelta(days=21), newest)
    return recent[-OVERLAP_SESSIONS].date() if len(recent) >= OVERLAP_SESSIONS else newest


def _pages(start: date, end: date) -> int:
    return max(1, -(-len(sessions.between(start, end)) // PAGE_BARS))


def _minutes(due: Sequence[Due], credits_per_minute: int) -> Iterator[list[Due]]:
    minute: list[Due] = []
    left = credits_per_minute
    for one in due:
        if minute and one.pages > left:
            yield minute
            minute, left = [], credits_per_minute
        minute.append(one)
        left -= one.pages
    if minute:
        yield minute


def _calls(group: Sequence[Due]) -> Iterator[Batch]:
    bars = min(PAGE_BARS, len(sessions.between(group[0].start, group[0].end)) or 1)
    size = min(SYMBOLS_PER_CALL, max(1, BARS_PER_CALL // bars))
    rest = iter(group)
    while chunk := tuple(islice(rest, size)):
        yield Batch(chunk)
