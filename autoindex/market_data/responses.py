"""Reads the provider's responses: rows for each symbol, a refusal, or an error of the whole call.

Errors come with an error status or with HTTP 200. The response for one symbol is flat; the one for
several is keyed by symbol, and each of them may have failed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from autoindex.errors import (
    CreditsExhausted,
    ProviderRefused,
    ProviderUnavailable,
    SymbolRefused,
)
from autoindex.market_data.fetch_plan import Due
from autoindex.market_data.parsing import Table, table

INTERVAL: Final = "1day"
_NO_DATA: Final = "no data is available"
_LONGEST_MESSAGE: Final = 300
_MIC: Final = re.compile("X[A-Z0-9]{3}")


@dataclass(frozen=True, slots=True)
class Rows:
    """One symbol's rows as served, and how many of them could not be read."""

    rows: Table
    unreadable: Counter[str]
    served: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An error body: Twelve Data's code, which follows HTTP's, and its message."""

    code: int
    message: str

    @property
    def is_no_data(self) -> bool:
        """Whether the window has no bars."""
        return self.code in {400, 404} and _NO_DATA in self.message.lower()

    @property
    def may_be_one_symbol(self) -> bool:
        """Whether one bad symbol, or one too many, may have failed the whole call."""
        return self.code in {400, 404, 414}

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in {408, 425, 429} or self.code >= 500

    def as_error(self) -> Exception:
        """The error of a call that failed as a whole."""
        if self.code == 429:
            daily = "for the day" in self.message.lower()
            return CreditsExhausted(self.message, daily=daily)
        if self.is_transient:
            return ProviderUnavailable(f"the provider responded with {self.code}: {self.message}")
        return ProviderRefused(f"the provider refuses ({self.code}): {self.message}")


Outcome = Rows | SymbolRefused | ProviderUnavailable


def content(status: int, body: object) -> dict[str, Any] | Failure:
    """The response's object, or the error it reports: by its body first, then by its HTTP status.

    `body` is the parsed JSON, None where the body is not JSON.
    """
    found = _failure(body)
    if found is not None:
        return found if found.code else Failure(max(status, 500), found.message)
    if body is None:
        code = status if status in {401, 403, 429} or status >= 500 else 502
        return Failure(code, f"HTTP {status} without JSON")
    if not isinstance(body, dict) or 300 <= status < 400:
        return Failure(502, f"HTTP {status} with JSON of an unknown shape")
    if status >= 400 and not any(_is_entry(entry) for entry in body.values()):
        return Failure(status, f"HTTP {status} without a message")
    return body


def by_symbol(body: Mapping[str, Any], asked: Iterable[Due]) -> dict[str, Outcome]:
    """The outcome of each symbol asked for, from a response that is not an error as a whole.

    Raises `ProviderRefused` where an entry says that the key is bad.
    """
    wanted = tuple(asked)
    entries = _entries(body, wanted)
    return {one.symbol: _outcome(one, entries.get(one.symbol)) for one in wanted}


def _entries(body: Mapping[str, Any], asked: tuple[Due, ...]) -> dict[str, object]:
    if "values" in body or "meta" in body:
        named = _text(body.get("meta"), "symbol").upper()
        symbol = asked[0].symbol if len(asked) == 1 else named
        return {symbol: body}
    # The key is the symbol as asked for, perhaps with its exchange after a colon.
    return {key.partition(":")[0].upper(): entry for key, entry in body.items()}


def _outcome(asked: Due, entry: object) -> Outcome:
    if not isinstance(entry, dict):
        return SymbolRefused(asked.symbol, "the provider's response leaves it out")
    found = _failure(entry)
    if found is not None:
        return _failed(asked, found)
    mismatch = _mismatch(asked, entry.get("meta"))
    if mismatch:
        return SymbolRefused(asked.symbol, mismatch)
    values = entry.get("values")
    if not isinstance(values, list):
        return SymbolRefused(asked.symbol, "the provider's response has no values")
    rows, unreadable = table(values)
    return Rows(rows, unreadable, served=len(values))


def _failed(asked: Due, found: Failure) -> Outcome:
    if found.is_no_data:
        return no_rows()
    if found.code == 401:
        raise found.as_error()
    if found.is_transient:
        return ProviderUnavailable(f"{asked.symbol}: {found.message}")
    return SymbolRefused(asked.symbol, found.message)


def no_rows() -> Rows:
    """The outcome of a window without bars."""
    rows, unreadable = table([])
    return Rows(rows, unreadable, served=0)


def _mismatch(asked: Due, meta: object) -> str | None:
    """How the response's metadata differ from the request; HTTP 200 does not prove identity."""
    if not isinstance(meta, dict):
        return "the provider's response does not name its symbol"
    expected = {
        "symbol": (asked.symbol, [_text(meta, "symbol").partition(":")[0]]),
        "exchange": (asked.exchange, _exchanges(asked, meta)),
        "currency": (asked.currency, [_text(meta, "currency")]),
        "interval": (INTERVAL, [_text(meta, "interval")]),
    }
    for field, (wanted, served) in expected.items():
        named = [name for name in served if name]
        missing = not named and field == "symbol"
        # Case matters for currencies alone: GBp is a penny.
        same = str if field == "currency" else str.upper
        if missing or (named and same(wanted) not in map(same, named)):
            answered = named[0] if named else "missing"
            return f"asked for {field} {wanted}, the provider responded with {answered}"
    return None


def _exchanges(asked: Due, meta: Mapping[str, Any]) -> list[str]:
    """The exchange's names that can be compared with the one asked for."""
    name, code = _text(meta, "exchange"), _text(meta, "mic_code")
    # A market identifier code alone contradicts no name: NASDAQ has three codes.
    return [name, code] if name or _MIC.fullmatch(asked.exchange) else []


def _failure(body: object) -> Failure | None:
    if not isinstance(body, dict):
        return None
    code = _code(body.get("code"))
    if body.get("status") != "error" and (code < 400 or "values" in body):
        return None
    message = body.get("message")
    text = " ".join(message.split()) if isinstance(message, str) else "no message"
    return Failure(code, text[:_LONGEST_MESSAGE])


def _code(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:4])
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and ("values" in value or "code" in value)


def _text(mapping: object, key: str) -> str:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, str) else ""
