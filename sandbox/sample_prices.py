"""The sandbox's prices: how files are read, and which bars exist at an instant."""

import csv
import gzip
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

TIMEZONE: Final = "America/New_York"
COUNTRY: Final = "United States"
MIC_CODES: Final = {"NASDAQ": "XNGS", "NYSE": "XNYS"}
OPENS_AT: Final = time(9, 30)
_CLOSES_AT: Final = time(16)
# The name of the index in its file.
_RENAMED: Final = {"SP500": "SPX"}


class Bar(NamedTuple):
    """One day; prices as the text they have in the file, volume None where there is none."""

    day: str
    open: str
    high: str
    low: str
    close: str
    volume: str | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """A share split: `ratio` new shares for an old one, from `session` on.

    A `forgotten` one restates no bar before it.
    """

    session: date
    ratio: float
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A stock or an index and its bars, oldest first."""

    symbol: str
    name: str
    exchange: str
    currency: str
    bars: tuple[Bar, ...] = field(repr=False)

    @property
    def type(self) -> str:
        """Twelve Data's name for what this is."""
        return "Index" if self.exchange == "INDEX" else "Common Stock"

    @property
    def mic_code(self) -> str | None:
        """ISO code of the exchange; None for an index."""
        return MIC_CODES.get(self.exchange)

    def visible(
        self, now: datetime, split: Split | None = None, *, adjusted: bool = True
    ) -> list[Bar]:
        """The bars at the instant `now`, with today's unfinished one while trading continues.

        A split divides the prices from its session on, and when `adjusted` those before it too,
        unless it is forgotten.
        """
        day, trading = trading_day(now)
        end = bisect_right(self.bars, day.isoformat(), key=lambda bar: bar.day)
        shown = list(self.bars[:end])
        if trading and len(shown) > 1 and shown[-1].day == day.isoformat():
            shown[-1] = _unfinished(shown[-2], shown[-1])
        if split and day >= split.session:
            restates = adjusted and not split.forgotten
            first = "" if restates else split.session.isoformat()
            shown = [_divided(bar, split.ratio) if bar.day >= first else bar for bar in shown]
        return shown


def trading_day(now: datetime) -> tuple[date, bool]:
    """The newest day that may show a bar at `now`, and whether the exchange is still trading."""
    local = now.astimezone(ZoneInfo(TIMEZONE))
    if local.time() < OPENS_AT:
        return local.date() - timedelta(days=1), False
    return local.date(), local.time() < _CLOSES_AT and _is_open(now, local.date())


def _is_open(now: datetime, day: date) -> bool:
    # Only the calendar knows half days. It takes a second to load, which a start at the default
    # clock, after the close, does not need.
    from autoindex import sessions  # noqa: PLC0415

    return sessions.last_closed(now) < day


def sample() -> dict[str, Listing]:
    """Twenty stocks and the S&P 500 index, 1990 to 2022: closes, without ranges or volumes."""
    return load(Path(__file__).with_name("data"))


def load(folder: Path) -> dict[str, Listing]:
    """Every listing of a folder: `universe.csv`, and any number of price files.

    A price file is `*.csv` or `*.csv.gz`, with a row per day and a column of closes per symbol, or
    with a row per symbol and day and the columns symbol, date, close and, where known, open, high,
    low and volume. A symbol that the universe does not name is left out.
    """
    bars: dict[str, list[Bar]] = {}
    for file in sorted(folder.iterdir()):
        if file.name.endswith((".csv", ".csv.gz")) and file.name != "universe.csv":
            for symbol, bar in _read(file):
                bars.setdefault(symbol, []).append(bar)
    with (folder / "universe.csv").open(encoding="utf-8", newline="") as universe:
        return {row["symbol"]: _listing(row, bars) for row in csv.DictReader(universe)}


def copies(listings: Mapping[str, Listing], count: int) -> dict[str, Listing]:
    """`count` made-up listings with the bars of the given ones: enough to try a large universe."""
    originals = list(listings.values())
    made = (
        replace(originals[n % len(originals)], symbol=f"S{n:05d}", name=f"Sample {n}")
        for n in range(count)
    )
    return {listing.symbol: listing for listing in made}


def _listing(row: Mapping[str, str], bars: Mapping[str, Iterable[Bar]]) -> Listing:
    ordered = sorted(bars.get(row["symbol"], ()))
    return Listing(row["symbol"], row["name"], row["exchange"], row["currency"], tuple(ordered))


def _read(file: Path) -> Iterator[tuple[str, Bar]]:
    raw = file.read_bytes()
    content = gzip.decompress(raw) if file.suffix == ".gz" else raw
    reader = csv.reader(content.decode("utf-8-sig").splitlines())
    header = next(reader)
    names = [name.strip().lower() for name in header]
    if "close" in names:
        yield from _long(names, reader)
    else:
        yield from _wide([_RENAMED.get(name, name) for name in header], reader)


def _wide(header: list[str], rows: Iterable[list[str]]) -> Iterator[tuple[str, Bar]]:
    for day, *closes in rows:
        for symbol, close in zip(header[1:], closes, strict=True):
            if close:
                yield symbol, Bar(day, close, close, close, close)


def _long(names: list[str], rows: Iterable[list[str]]) -> Iterator[tuple[str, Bar]]:
    for values in rows:
        row = dict(zip(names, values, strict=True))
        close = row["close"]
        yield (
            row.get("symbol") or row["ticker"],
            Bar(
                day=row["date"],
                open=row.get("open") or close,
                high=row.get("high") or close,
                low=row.get("low") or close,
                close=close,
                volume=row.get("volume") or None,
            ),
        )


def _unfinished(before: Bar, final: Bar) -> Bar:
    """A bar in the middle of its session: halfway from the last close to the final one."""
    close = number((float(before.close) + float(final.close)) / 2)
    volume = None if final.volume is None else str(int(float(final.volume)) // 2)
    low, high = sorted((final.open, close), key=float)
    return Bar(final.day, final.open, high, low, close, volume)


def _divided(bar: Bar, ratio: float) -> Bar:
    opening, high, low, close = (number(float(price) / ratio) for price in bar[1:5])
    return Bar(bar.day, opening, high, low, close, bar.volume)


def number(value: float, decimals: int = -1) -> str:
    """A price as Twelve Data writes it: nine significant digits, or a number of decimals."""
    return f"{value:.9g}" if decimals < 0 else f"{value:.{decimals}f}"
