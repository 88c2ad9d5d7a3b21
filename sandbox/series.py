"""Bars and quotes of one listing, as Twelve Data writes them."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sandbox import error_bodies, resampling
from sandbox.query import Query, SeriesQuery
from sandbox.sample_prices import OPENS_AT, TIMEZONE, Bar, Listing, number, trading_day


def identity(listing: Listing) -> dict[str, Any]:
    """What names a listing; an index has no market identifier code."""
    named = {
        "exchange": listing.exchange,
        "mic_code": listing.mic_code,
        "currency": listing.currency,
    }
    return {name: value for name, value in named.items() if value is not None}


def time_series(listing: Listing, bars: Sequence[Bar], asked: SeriesQuery) -> dict[str, Any]:
    """Metadata and the newest bars of the window, oldest first whatever order was asked for."""
    bars = resampling.joined(bars, asked.interval)
    first = 0 if asked.start is None else _position(bars, asked.start)
    last = len(bars) if asked.end is None else _position(bars, asked.end)
    first = max(first, last - asked.output_size)
    if first >= last:
        raise error_bodies.no_data()
    values = [_row(bar, asked.decimals) for bar in bars[first:last]]
    if asked.previous_close:
        before = [None, *(bar.close for bar in bars)][first:last]
        for row, close in zip(values, before, strict=True):
            row["previous_close"] = close and _price(close, asked.decimals)
    return {"meta": _meta(listing, asked.interval), "values": values, "status": "ok"}


def quote(listing: Listing, bars: Sequence[Bar], query: Query, now: datetime) -> dict[str, Any]:
    """The newest bar, its change, and the range of a year."""
    decimals = query.whole("dp", -1, -1, 11)
    newest, before = bars[-1], bars[-2] if len(bars) > 1 else bars[-1]
    change = float(newest.close) - float(before.close)
    moment = _opening(newest.day)
    return {
        "symbol": listing.symbol,
        "name": listing.name,
        **identity(listing),
        **_row(newest, decimals),
        "timestamp": moment,
        "last_quote_at": moment,
        "previous_close": _price(before.close, decimals),
        "change": number(change, decimals),
        "percent_change": number(100 * change / float(before.close), 5),
        "is_market_open": trading_day(now)[1],
        "fifty_two_week": _year(bars, decimals),
    }


def end_of_day(listing: Listing, bars: Sequence[Bar], query: Query) -> dict[str, Any]:
    """The newest close, or that of the day asked for."""
    asked = query.moment("date")
    found = bars[-1:] if asked is None else [b for b in bars if b.day == f"{asked:%Y-%m-%d}"]
    if not found:
        raise error_bodies.no_data()
    close = _price(found[0].close, query.whole("dp", -1, -1, 11))
    return {
        "symbol": listing.symbol,
        **identity(listing),
        "datetime": found[0].day,
        "close": close,
    }


def price(bars: Sequence[Bar], query: Query) -> dict[str, Any]:
    """The newest price alone."""
    return {"price": _price(bars[-1].close, query.whole("dp", 5, -1, 11))}


def earliest(listing: Listing) -> dict[str, Any]:
    """The day of the first bar."""
    return {"datetime": listing.bars[0].day, "unix_time": _opening(listing.bars[0].day)}


def _meta(listing: Listing, interval: str) -> dict[str, Any]:
    return {
        "symbol": listing.symbol,
        "interval": interval,
        "exchange_timezone": TIMEZONE,
        **identity(listing),
        "type": listing.type,
    }


def _row(bar: Bar, decimals: int) -> dict[str, Any]:
    prices = {
        "datetime": bar.day,
        "open": _price(bar.open, decimals),
        "high": _price(bar.high, decimals),
        "low": _price(bar.low, decimals),
        "close": _price(bar.close, decimals),
    }
    return prices if bar.volume is None else prices | {"volume": bar.volume}


def _price(text: str, decimals: int) -> str:
    return text if decimals < 0 else f"{float(text):.{decimals}f}"


def _position(bars: Sequence[Bar], moment: datetime) -> int:
    # A daily bar stands at midnight: any later moment of the day lies after it.
    day = moment.date()
    if moment.time() > datetime.min.time():
        day += timedelta(days=1)
    return bisect_left(bars, day.isoformat(), key=lambda bar: bar.day)


def _opening(day: str) -> int:
    opens = datetime.combine(date.fromisoformat(day), OPENS_AT, ZoneInfo(TIMEZONE))
    return int(opens.timestamp())


def _year(bars: Sequence[Bar], decimals: int) -> dict[str, str]:
    newest = date.fromisoformat(bars[-1].day)
    since = _position(bars, datetime.combine(newest - timedelta(days=364), datetime.min.time()))
    low = min(float(bar.low) for bar in bars[since:])
    high = max(float(bar.high) for bar in bars[since:])
    close = float(bars[-1].close)
    return {
        "low": number(low, decimals),
        "high": number(high, decimals),
        "low_change": number(close - low, decimals),
        "high_change": number(close - high, decimals),
        "low_change_percent": number(100 * (close - low) / low, 5),
        "high_change_percent": number(100 * (close - high) / high, 5),
        "range": f"{low:.6f} - {high:.6f}",
    }
