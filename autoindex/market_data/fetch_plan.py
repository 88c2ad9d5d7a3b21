"""Which symbols a refresh asks for, from which session on, in which batches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final, Protocol, Self

from autoindex import sessions
from autoindex.requests import Mode

# Twelve Data's limits: bars in one response, symbols in one call.
PAGE_BARS: Final = 5_000
SYMBOLS_PER_CALL: Final = 120
# Ours: bars in one response, which bounds memory however many symbols are due.
BARS_PER_CALL: Final = 100_000
# The provider serves a session's bars some time after the close.
PUBLISHED_WITHIN: Final = timedelta(hours=3)
# A symbol further behind the others than this is asked for once a session.
SILENT_SESSIONS: Final = 5
# Stored bars that a smart refresh asks for again, to notice restated history.
OVERLAP_SESSIONS: Final = 5


class Instrument(Protocol):
    """What the plan needs to know of an asset."""

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

    `at` is by the data's clock, None where the symbol has to be asked for again; `whole_at` is by
    the wall clock, None where the whole history was never fetched.
    """

    at: datetime | None
    whole_at: datetime | None


NONE_ANSWERED: Final[Mapping[str, Answered]] = {}


@dataclass(frozen=True, slots=True)
class Due:
    """A symbol to fetch: its bars from `start` to `end`, both included.

    `newest` is the newest stored session, None where there is none. `whole` marks the whole
    history, as against its newest part. `pages` is the most it costs in credits: a history that
    begins later than the window costs less.
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
        """The same symbol, whole: its history was restated."""
        start = _beginning(kept_from, self.end)
        return replace(self, start=start, whole=True, pages=_pages(start, self.end))


@dataclass(frozen=True, slots=True)
class Batch:
    """Symbols that one call asks for together: one exchange, one window."""

    due: tuple[Due, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, most stale first."""
        return tuple(one.symbol for one in self.due)

    @property
    def exchange(self) -> str:
        """The exchange that lists them all."""
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
        """How many credits each of the symbols may cost: the least to reserve."""
        return self.due[0].pages

    @property
    def credits(self) -> int:
        """How many credits the whole batch may cost."""
        return self.pages * len(self.due)

    def split(self, credits_granted: int) -> tuple["Batch | None", "Batch | None"]:
        """The part that `credits_granted` cover, and the rest.

        A symbol that costs more than a whole minute's credits begins with what is granted.
        """
        count = max(1, credits_granted // self.pages) if credits_granted else 0
        now, later = self.due[:count], self.due[count:]
        return Batch(now) if now else None, Batch(later) if later else None


def due_symbols(
    instruments: Iterable[Instrument],
    newest: Mapping[str, date],
    now: datetime,
    mode: Mode = Mode.SMART,
    *,
    force: bool = False,
    answered: Mapping[str, Answered] = NONE_ANSWERED,
) -> list[Due]:
    """The symbols to fetch at the instant `now`; ties are in alphabetical order.

    `newest` maps a symbol to its newest stored session. Smart mode asks for the symbols that miss a
    closed session, most stale first, with an overlap of a few stored sessions. Full mode, or
    `force`, asks for the whole history of every symbol: those never `answered` whole come first,
    then those answered the longest ago.
    """
    end = sessions.last_closed(now)
    smart = mode is Mode.SMART and not force
    wanted = (
        _due(instrument, newest.get(instrument.symbol), end, smart=smart)
        for instrument in instruments
        if not smart or newest.get(instrument.symbol, date.min) < end
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
    """The symbols that miss the last closed session, but are not asked for until the next closes.

    The provider had nothing new for them when it was asked after that close. That counts once
    others have the session and some hours have passed, and at once for symbols far behind the
    others.
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

    The symbols that one minute's credits cover are grouped by window and exchange. So, when credits
    run out, the symbols left over are less stale than the fetched ones.
    """
    for minute in _minutes(due, credits_per_minute):
        groups: dict[tuple[date, str, int], list[Due]] = {}
        for one in minute:
            groups.setdefault((one.start, one.exchange, one.pages), []).append(one)
        for group in groups.values():
            yield from _calls(group)


def _due(instrument: Instrument, newest: date | None, end: date, *, smart: bool) -> Due:
    beginning = start = _beginning(instrument.prices_kept_from, end)
    if newest is not None and smart:
        start = max(beginning, _overlap_start(newest))
    return Due(
        symbol=instrument.symbol,
        exchange=instrument.exchange,
        currency=instrument.currency,
        newest=newest,
        start=start,
        end=end,
        whole=start == beginning,
        pages=_pages(start, end),
    )


def _beginning(kept_from: date | None, end: date) -> date:
    return max(sessions.first_day(end), kept_from or date.min)


def _overlap_start(newest: date) -> date:
    return sessions.back(newest, OVERLAP_SESSIONS - 1)


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
