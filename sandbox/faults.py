"""The faults that can be switched on, and where they strike."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from sandbox import error_bodies
from sandbox.error_bodies import ApiError
from sandbox.meter import Plan

# The whole answer.
CallFault = Literal[
    "delay",  # answered after `seconds`
    "dropped",  # the connection ends without an answer
    "truncated",  # the body ends before the length its header promised
    "half_json",  # the body is half of the right one, and its header says so
    "empty_body",
    "edge_page",  # HTTP 502 with HTML, as from the network in front of the provider
    "html",  # the same page with HTTP 200
    "server_error",
    "minute_exhausted",
    "day_exhausted",
    "key_refused",
    "plan_refused",
    "too_many_symbols",
]
# One symbol's entry.
SymbolFault = Literal[
    "unknown",
    "unknown_older",  # HTTP 400 and other words, as in earlier years
    "gated",
    "no_data",
    "empty_values",  # status ok, no rows
    "symbol_error",  # an entry with code 500
    "left_out",
    "no_meta",
    "wrong_symbol",
    "wrong_exchange",
    "wrong_currency",
    "wrong_unit",  # hundredths of the currency
    "wrong_interval",
    "intraday_rows",  # rows dated in the middle of a day
]
# One row: that of `session`, or the newest.
RowFault = Literal[
    "zero",
    "negative",
    "not_a_number",
    "null",
    "absurd",
    "high_below_low",
    "close_over_high",
    "duplicate",
    "conflicting",  # the row twice, with another close
    "out_of_order",
    "future",
    "closed_day",
    "unreadable_date",
    "no_row",
]

_ROW: Final = frozenset(get_args(RowFault))

EDGE_PAGE: Final = (
    "<html><head><title>502 Bad Gateway</title></head>"
    "<body><center><h1>502 Bad Gateway</h1></center></body></html>"
)


class Fault(BaseModel):
    """One fault, until it has happened `times` times or is switched off."""

    model_config = ConfigDict(extra="forbid")

    kind: CallFault | SymbolFault | RowFault
    path: str = Field(default="/time_series", description="The endpoint it happens at.")
    symbols: list[str] | None = Field(default=None, description="Only for these.")
    session: date | None = Field(default=None, description="The row; the newest when left out.")
    times: int | None = Field(default=None, ge=1, description="How many calls; no end when unset.")
    seconds: float = Field(default=1.0, ge=0, le=600, description="How long a delay lasts.")

    def concerns(self, symbol: str) -> bool:
        """Whether it happens to this symbol."""
        name = symbol.partition(":")[0].upper()
        return self.symbols is None or name in {one.upper() for one in self.symbols}


class Faults:
    """The faults that are switched on."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.all = list(faults)

    def strike(self, path: str, symbols: Iterable[str]) -> list[Fault]:
        """The faults of this call; those that have happened `times` times are removed."""
        called = list(symbols)
        striking = [
            fault
            for fault in self.all
            if fault.path == path and (not called or any(map(fault.concerns, called)))
        ]
        for fault in striking:
            if fault.times is not None:
                fault.times -= 1
        self.all = [fault for fault in self.all if fault.times is None or fault.times > 0]
        return striking


def call_error(kind: str, path: str, plan: Plan) -> ApiError | None:
    """The error that answers a whole call; None where the fault is of another kind."""
    made = {
        "server_error": error_bodies.server_error,
        "minute_exhausted": lambda: error_bodies.minute_exhausted(
            plan.per_minute + 1, plan.per_minute
        ),
        "day_exhausted": lambda: error_bodies.day_exhausted(
            (plan.per_day or 800) + 1, plan.per_day or 800
        ),
        "key_refused": error_bodies.bad_key,
        "plan_refused": lambda: error_bodies.gated_endpoint(path),
        "too_many_symbols": error_bodies.too_many_symbols,
    }
    return made[kind]() if kind in made else None


def symbol_error(kind: str, symbol: str) -> ApiError | None:
    """The error that answers for one symbol; None where the fault is of another kind."""
    made = {
        "unknown": error_bodies.unknown_symbol,
        "unknown_older": lambda: error_bodies.unknown_symbol_older(symbol),
        "gated": error_bodies.gated_symbol,
        "no_data": error_bodies.no_data,
        "symbol_error": error_bodies.server_error,
    }
    return made[kind]() if kind in made else None


_PRICES: Final = ("open", "high", "low", "close")
_WRONG: Final = {
    "wrong_symbol": ("symbol", "STLGF"),
    "wrong_exchange": ("exchange", "OTC"),
    "wrong_currency": ("currency", "EUR"),
    "wrong_unit": ("currency", "USd"),
    "wrong_interval": ("interval", "1week"),
}


def spoil(entry: dict[str, Any], fault: Fault) -> None:
    """Change one symbol's time series as the fault says; `values` are oldest first."""
    if fault.kind in _WRONG:
        field, value = _WRONG[fault.kind]
        entry["meta"][field] = value
    elif fault.kind == "no_meta":
        del entry["meta"]
    elif fault.kind == "intraday_rows":
        for row in entry["values"]:
            row["datetime"] += " 15:30:00"
    elif fault.kind == "empty_values":
        entry["values"] = []
    elif fault.kind in _ROW:
        _spoil_row(entry["values"], fault)


def _spoil_row(values: list[dict[str, Any]], fault: Fault) -> None:
    wanted = values[-1]["datetime"] if fault.session is None else fault.session.isoformat()
    found = [n for n, row in enumerate(values) if row["datetime"] == wanted]
    for position in found[:1]:
        row = values[position]
        match fault.kind:
            case "duplicate":
                values.insert(position, dict(row))
            case "conflicting":
                values.insert(position, row | _bad_fields(row, "conflicting"))
            case "out_of_order":
                values.insert(max(0, position - 3), values.pop(position))
            case "no_row":
                values.pop(position)
            case _:
                row.update(_bad_fields(row, fault.kind))


def _bad_fields(row: Mapping[str, Any], kind: str) -> dict[str, Any]:
    changes: dict[str, dict[str, Any]] = {
        "zero": {"close": "0"},
        "negative": {"close": f"-{row['close']}"},
        "not_a_number": {"close": "NaN"},
        "null": {"close": None},
        "absurd": {name: f"{float(row[name]) * 1000:.9g}" for name in _PRICES},
        "high_below_low": {"low": f"{float(row['high']) * 1.01:.9g}"},
        "close_over_high": {"close": f"{float(row['high']) * 1.5:.9g}"},
        "conflicting": {name: f"{float(row[name]) * 1.05:.9g}" for name in _PRICES},
        "future": {"datetime": "2099-01-05"},
        "closed_day": {"datetime": "2022-12-25"},
        "unreadable_date": {"datetime": "yesterday"},
    }
    return changes[kind]
