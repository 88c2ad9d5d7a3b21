"""The parameters of a call, read as Twelve Data reads them: names and words in any case."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Self

from sandbox import error_bodies
from sandbox.error_bodies import ApiError
from sandbox.sample_prices import COUNTRY, Listing, trading_day

INTERVALS: Final = (
    "1min",
    "5min",
    "15min",
    "30min",
    "45min",
    "1h",
    "2h",
    "4h",
    "8h",
    "1day",
    "1week",
    "1month",
)
LONG_INTERVALS: Final = INTERVALS[-3:]
LARGEST_OUTPUT: Final = 5000
_DEFAULT_OUTPUT: Final = 30


class Query:
    """One call's parameters."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = {name.lower(): value for name, value in parameters.items()}

    def text(self, name: str, default: str = "") -> str:
        """A value as it was sent, or `default`."""
        return self._parameters.get(name, "").strip() or default

    def word(self, name: str, default: str, allowed: tuple[str, ...] = ()) -> str:
        """A value in lower case; raises 400 when it is not one of `allowed`."""
        value = self.text(name, default).lower()
        if allowed and value not in allowed:
            hint = f"Supported values: {', '.join(allowed)}"
            raise error_bodies.bad_parameter(name, value, hint)
        return value

    def flag(self, name: str) -> bool:
        """Whether a value is true."""
        return self.word(name, "false") in {"true", "1"}

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number between two bounds, both included; raises 400."""
        value = self.text(name, str(default))
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise error_bodies.bad_parameter(name, value, f"It ranges from {least} to {most}")
        return number

    def moment(self, name: str) -> datetime | None:
        """A date or a date and time of the exchange; raises 400."""
        value = self.text(name)
        if not value:
            return None
        try:
            return datetime.fromisoformat(value).replace(tzinfo=None)
        except ValueError:
            hint = "Use the format 2006-01-02 or 2006-01-02T15:04:05"
            raise error_bodies.bad_parameter(name, value, hint) from None

    def symbols(self) -> list[str]:
        """The symbols as they were written, each once."""
        named = [name.strip() for name in self.text("symbol").split(",")]
        return list(dict.fromkeys(name for name in named if name))

    def find(self, listings: Mapping[str, Listing], name: str) -> Listing:
        """The listing that `name` means, which may carry its exchange; raises 404."""
        symbol, _, exchange = name.upper().partition(":")
        listing = listings.get(symbol)
        if listing is None or not listing.bars or not self.admits(listing):
            raise error_bodies.unknown_symbol()
        if exchange not in {"", listing.exchange, listing.mic_code}:
            raise error_bodies.unknown_symbol()
        return listing

    def admits(self, listing: Listing) -> bool:
        """Whether a listing passes the filters for exchange, country and type."""
        filters = {
            "exchange": (listing.exchange, listing.mic_code),
            "mic_code": (listing.mic_code,),
            "country": (COUNTRY, "US", "USA"),
            "type": (listing.type,),
        }
        return all(
            self.text(name).lower() in {"", *(value.lower() for value in values if value)}
            for name, values in filters.items()
        )


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """What a time series call asks for; `start` is included, `end` is not."""

    interval: str
    start: datetime | None
    end: datetime | None
    output_size: int
    ascending: bool
    decimals: int
    previous_close: bool
    split_adjusted: bool

    @classmethod
    def read(cls, query: Query, now: datetime) -> Self:
        """Check the parameters of `/time_series`; raises 400 and 404."""
        interval = _interval(query)
        start, end = _window(query, now)
        dated = start is not None or end is not None
        default = LARGEST_OUTPUT if dated else _DEFAULT_OUTPUT
        adjusted = query.word("adjust", "splits", ("all", "splits", "dividends", "none"))
        return cls(
            interval=interval,
            start=start,
            end=end,
            output_size=query.whole("outputsize", default, 1, LARGEST_OUTPUT),
            ascending=query.word("order", "desc", ("asc", "desc")) == "asc",
            decimals=query.whole("dp", -1, -1, 11),
            previous_close=query.flag("previous_close"),
            split_adjusted=adjusted in {"all", "splits"},
        )


def _interval(query: Query) -> str:
    interval = query.text("interval").lower()
    if interval not in INTERVALS:
        hint = f"Supported intervals: {', '.join(INTERVALS)}"
        raise error_bodies.bad_parameter("interval", query.text("interval"), hint)
    if interval not in LONG_INTERVALS:
        raise ApiError(404, "Data not found: the sandbox has no bars shorter than a day")
    return interval


def _window(query: Query, now: datetime) -> tuple[datetime | None, datetime | None]:
    day = query.text("date").lower()
    if not day:
        return query.moment("start_date"), query.moment("end_date")
    today = trading_day(now)[0]
    named = {"today": today, "yesterday": today - timedelta(days=1)}
    exact = named.get(day) or query.moment("date")
    start = datetime.combine(exact, datetime.min.time()) if isinstance(exact, date) else None
    return start, start + timedelta(days=1) if start else None
