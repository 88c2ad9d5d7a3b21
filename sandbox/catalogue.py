"""The catalogue: lists of stocks and indices, and a search in them."""

from collections.abc import Mapping
from typing import Any, Final

from sandbox.query import Query
from sandbox.sample_prices import COUNTRY, TIMEZONE, Listing
from sandbox.series import identity

_LONGEST_SEARCH: Final = 120


def stocks(listings: Mapping[str, Listing], query: Query) -> dict[str, Any]:
    """`/stocks`: every listing that is not an index."""
    return _list([one for one in listings.values() if one.type != "Index"], query)


def indices(listings: Mapping[str, Listing], query: Query) -> dict[str, Any]:
    """`/indices`."""
    return _list([one for one in listings.values() if one.type == "Index"], query)


def search(listings: Mapping[str, Listing], query: Query) -> dict[str, Any]:
    """`/symbol_search`: symbols that begin with the text, then names that hold it."""
    text = query.text("symbol").lower()
    begins = [one for one in listings.values() if text and one.symbol.lower().startswith(text)]
    holds = [one for one in listings.values() if text and text in one.name.lower()]
    found = dict.fromkeys(one.symbol for one in begins + holds)
    most = query.whole("outputsize", 30, 1, _LONGEST_SEARCH)
    return {"data": [_found(listings[symbol]) for symbol in found][:most], "status": "ok"}


def _list(listings: list[Listing], query: Query) -> dict[str, Any]:
    symbol = query.text("symbol").upper()
    data = [_listed(one) for one in listings if query.admits(one) and symbol in {"", one.symbol}]
    return {"data": data, "count": len(data), "status": "ok"}


def _listed(listing: Listing) -> dict[str, Any]:
    return {
        "symbol": listing.symbol,
        "name": listing.name,
        **identity(listing),
        "country": COUNTRY,
        "type": listing.type,
    }


def _found(listing: Listing) -> dict[str, Any]:
    return {
        "symbol": listing.symbol,
        "instrument_name": listing.name,
        **identity(listing),
        "exchange_timezone": TIMEZONE,
        "instrument_type": listing.type,
        "country": COUNTRY,
    }
