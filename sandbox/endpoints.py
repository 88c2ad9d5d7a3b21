"""Twelve Data's endpoints: the cost and the response of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from sandbox import catalogue, error_bodies, faults, series
from sandbox.error_bodies import ApiError
from sandbox.faults import Fault
from sandbox.query import Query, SeriesQuery
from sandbox.sample_prices import Bar, Listing
from sandbox.state import Sandbox

Body = dict[str, Any]
MOST_SYMBOLS: Final = 120


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that was admitted."""

    sandbox: Sandbox
    query: Query
    key: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a path answers; `by_symbol` endpoints take a list and cost a credit a symbol."""

    answer: Callable[[Asked], Body]
    by_symbol: bool = False
    needs_key: bool = True

    def check(self, symbols: Sequence[str]) -> None:
        """Raises 414 when a call names too many symbols."""
        if self.by_symbol and len(symbols) > MOST_SYMBOLS:
            raise error_bodies.too_many_symbols()

    def cost(self, symbols: Sequence[str]) -> int:
        """Credits of a call."""
        return max(1, len(symbols)) if self.by_symbol else 1


def time_series(asked: Asked) -> Body:
    """`/time_series`: flat for one symbol, keyed by the symbols as written for several."""
    wanted = SeriesQuery.read(asked.query, asked.sandbox.clock)

    def one(listing: Listing) -> Body:
        bars = asked.sandbox.bars(listing, adjusted=wanted.split_adjusted)
        entry = series.time_series(listing, bars, wanted)
        for fault in asked.faults:
            if fault.concerns(listing.symbol):
                faults.spoil(entry, fault)
        if not wanted.ascending:
            entry["values"].reverse()
        return entry

    return _each_symbol(asked, one)


def quote(asked: Asked) -> Body:
    """`/quote`."""
    now = asked.sandbox.clock
    return _each_symbol(asked, lambda one: series.quote(one, _bars(asked, one), asked.query, now))


def price(asked: Asked) -> Body:
    """`/price`."""
    return _each_symbol(asked, lambda one: series.price(_bars(asked, one), asked.query))


def end_of_day(asked: Asked) -> Body:
    """`/eod`."""
    return _each_symbol(asked, lambda one: series.end_of_day(one, _bars(asked, one), asked.query))


def earliest_timestamp(asked: Asked) -> Body:
    """`/earliest_timestamp`."""
    return series.earliest(asked.query.find(asked.sandbox.listings, asked.query.text("symbol")))


def api_usage(asked: Asked) -> Body:
    """`/api_usage`: with the day only where the plan limits it."""
    meter, now = asked.sandbox.meter, asked.sandbox.wall_clock()
    body: Body = {
        "timestamp": f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "current_usage": meter.in_minute(asked.key, now),
        "plan_limit": meter.plan.per_minute,
        "plan_category": meter.plan.category,
    }
    if meter.plan.per_day is not None:
        body |= {
            "daily_usage": meter.in_day(asked.key, now),
            "plan_daily_limit": meter.plan.per_day,
        }
    return body


def technical_indicators(_: Asked) -> Body:
    """`/technical_indicators`: none. The official client asks for them when it starts."""
    return {"data": {}, "status": "ok"}


ENDPOINTS: Mapping[str, Endpoint] = {
    "/time_series": Endpoint(time_series, by_symbol=True),
    "/quote": Endpoint(quote, by_symbol=True),
    "/price": Endpoint(price, by_symbol=True),
    "/eod": Endpoint(end_of_day, by_symbol=True),
    "/stocks": Endpoint(lambda asked: catalogue.stocks(asked.sandbox.listings, asked.query)),
    "/indices": Endpoint(lambda asked: catalogue.indices(asked.sandbox.listings, asked.query)),
    "/symbol_search": Endpoint(
        lambda asked: catalogue.search(asked.sandbox.listings, asked.query), needs_key=False
    ),
    "/earliest_timestamp": Endpoint(earliest_timestamp),
    "/api_usage": Endpoint(api_usage),
    "/technical_indicators": Endpoint(technical_indicators),
}


def _bars(asked: Asked, listing: Listing) -> list[Bar]:
    bars = asked.sandbox.bars(listing)
    if not bars:
        raise error_bodies.no_data()
    return bars


def _each_symbol(asked: Asked, answer: Callable[[Listing], Body]) -> Body:
    symbols = asked.query.symbols()
    if not symbols:
        raise error_bodies.unknown_symbol()
    if len(symbols) == 1:
        return _one(asked, symbols[0], answer)
    return {
        symbol: _entry(asked, symbol, answer)
        for symbol in symbols
        if not any(f.kind == "left_out" and f.concerns(symbol) for f in asked.faults)
    }


def _entry(asked: Asked, symbol: str, answer: Callable[[Listing], Body]) -> Body:
    try:
        return _one(asked, symbol, answer)
    except ApiError as error:
        return error.body()


def _one(asked: Asked, symbol: str, answer: Callable[[Listing], Body]) -> Body:
    for fault in asked.faults:
        error = faults.symbol_error(fault.kind, symbol) if fault.concerns(symbol) else None
        if error is not None:
            raise error
    return answer(asked.query.find(asked.sandbox.listings, symbol))
