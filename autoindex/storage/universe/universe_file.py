"""Reads a universe's CSV file, or reports every invalid line."""

import csv
import io
import stat
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from autoindex import sessions
from autoindex.errors import InvalidRequest
from autoindex.storage.universe.memberships import Member
from autoindex.storage.universe.universe_row import UniverseRow

LARGEST_BYTES: Final = 10 * 2**20
_MOST_NAMED: Final = 10
_SEPARATORS: Final = ",;\t"
_COLUMNS: Final = tuple(UniverseRow.model_fields)
_REQUIRED: Final = [name for name, one in UniverseRow.model_fields.items() if one.is_required()]
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
# The first bytes of a workbook, .xlsx and .xls.
_WORKBOOK: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
# Clearer than the messages of the library.
_RIGHT: Final = {
    "symbol": "must be a ticker in capitals, as in AAPL or BRK.B",
    "currency": "must be the code of a currency, as in USD or GBp",
    "role": "must be constituent or benchmark",
    "active": "must be true or false",
}

Rows = Mapping[int, UniverseRow]
"""Rows by their first line in the file."""
Wrong = tuple[int, str]
"""A line, and what is wrong with it."""


def read(
    path: Path,
    stored: Sequence[Member] = (),
    refusal: Callable[[UniverseRow], str | None] = lambda _: None,
    calendar: str | None = None,
) -> list[UniverseRow]:
    """Read a universe's CSV file and check it together with the `stored` members.

    With a `calendar`, every exchange must trade by it; one that no calendar knows is accepted.
    Commas, semicolons or tabs separate the values. Raises `InvalidRequest`, which names up to ten
    invalid lines, each with the column of its first invalid value. `refusal` checks a row further:
    it returns the text that follows the line number, or None.
    """
    lines, wrong = _lines(_text(path))
    columns = _columns(path, lines.pop(0)[1] if lines else [])
    rows: dict[int, UniverseRow] = {}
    for number, cells in lines:
        try:
            rows[number] = _row(columns, cells)
        except ValueError as reason:
            wrong.append((number, str(reason)))
    wrong += [*_twice(rows), *_other_currencies(rows, stored), *_second_benchmarks(rows, stored)]
    wrong += [(number, why) for number, row in rows.items() if (why := refusal(row)) is not None]
    if calendar is not None:
        wrong += _other_calendars(rows, calendar, named={number for number, _ in wrong})
    if wrong:
        raise InvalidRequest(path.name, _listed(sorted(wrong)))
    if not rows:
        raise InvalidRequest(path.name, "has no rows; the first line names the columns")
    return list(rows.values())


def _text(path: Path) -> str:
    """The file's text; bytes that are not UTF-8 are kept, so that the error can name their line."""
    content = _bytes(path)
    if content.startswith(_WORKBOOK):
        raise InvalidRequest(path.name, "is a workbook: save it as “CSV UTF-8”")
    try:
        if content.startswith(_UTF_16):
            return content.decode("utf-16")
        text = content.decode("utf-8-sig", "surrogateescape")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text[:2]:  # UTF-16 that does not say so
        raise InvalidRequest(path.name, "is no text in UTF-8: save it as “CSV UTF-8”")
    return text


def _bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidRequest(path.name, "is no file")
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(path.name, f"can't be read: {error.strerror}") from error
    if len(content) > LARGEST_BYTES:
        raise InvalidRequest(path.name, f"is larger than {LARGEST_BYTES >> 20} MB")
    return content


def _lines(text: str) -> tuple[list[tuple[int, list[str]]], list[Wrong]]:
    """Every line that is not blank, with stripped cells."""
    first = text[: min(i for i in (text.find("\n"), text.find("\r"), len(text)) if i >= 0)]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                lines.append((begins, stripped))
            begins = reader.line_num + 1
    except csv.Error as error:
        return lines, [(begins, f": can't be read: {error}; is a quote missing?")]
    return lines, []


def _columns(path: Path, head: list[str]) -> list[str]:
    """The column names of the first line; a spreadsheet may leave some empty."""
    names = [name.lower() for name in head]
    named = [name for name in names if name]
    missing = [name for name in _REQUIRED if name not in named]
    odd = sorted({ascii(name) for name in named if name not in _COLUMNS})
    twice = sorted({name for name in named if named.count(name) > 1})
    for found, what in ((missing, "it lacks"), (odd, "it has"), (twice, "it repeats")):
        if found:
            raise InvalidRequest(
                path.name,
                f"the first line must name the columns; {what} {', '.join(found[:5])[:200]} "
                f"(there are {', '.join(_COLUMNS)})",
            )
    return names


def _row(columns: Sequence[str], cells: Sequence[str]) -> UniverseRow:
    """A row; raises `ValueError` with the text that follows the line number."""
    if len(cells) != len(columns):
        more = "more" if len(cells) > len(columns) else "fewer"
        raise ValueError(f": has {more} values than there are columns ({len(columns)})")
    for column, cell in zip(columns, cells, strict=True):
        if any("\ud800" <= character <= "\udfff" for character in cell):
            raise ValueError(f", column {column}: is not UTF-8: save the file as “CSV UTF-8”")
        if cell and not column:
            raise ValueError(": has a value in a column without a name")
    # An empty cell is a missing one.
    given = {name: cell for name, cell in zip(columns, cells, strict=True) if cell}
    try:
        row = UniverseRow.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        column = str(first["loc"][0])
        reason = "is empty" if first["type"] == "missing" else _RIGHT.get(column, first["msg"])
        raise ValueError(f", column {column}: {reason.removeprefix('Value error, ')}") from None
    if row.shares_outstanding is not None and row.shares_outstanding_date is None:
        raise ValueError(
            ", column shares_outstanding_date: is empty: say of which day the shares outstanding "
            "are, as in 2022-12-28"
        )
    if row.member_from and row.member_to and row.member_to < row.member_from:
        raise ValueError(", column member_to: lies before member_from")
    return row


def _twice(rows: Rows) -> Iterator[Wrong]:
    lines: dict[str, int] = {}
    for number, row in rows.items():
        if (before := lines.setdefault(row.symbol, number)) != number:
            yield number, f", column symbol: {row.symbol} stands twice, in line {before} too"


def _other_currencies(rows: Rows, stored: Sequence[Member]) -> Iterator[Wrong]:
    """Rows in another currency than the universe: levels would add pounds to dollars."""
    kept = [one.currency for one in _kept(rows, stored)]
    ours = next(iter(kept or [row.currency for row in rows.values()]), "")
    for number, row in rows.items():
        if row.currency != ours:
            yield number, f", column currency: is {row.currency}, but the universe is in {ours}"


def _other_calendars(rows: Rows, calendar: str, named: Container[int]) -> Iterator[Wrong]:
    """Rows of exchanges with other sessions than the calendar, without lines already `named`."""
    trades = {row.exchange: sessions.trades_by(calendar, row.exchange) for row in rows.values()}
    for number, row in rows.items():
        if trades[row.exchange] is False and number not in named:
            yield (
                number,
                f", column exchange: {row.exchange} does not trade by the calendar {calendar} "
                "(AUTOINDEX_CALENDAR)",
            )


def _second_benchmarks(rows: Rows, stored: Sequence[Member]) -> Iterator[Wrong]:
    first = next((one.symbol for one in _kept(rows, stored) if one.role == "benchmark"), None)
    for number, row in rows.items():
        if row.active and row.role == "benchmark":
            if first is not None:
                yield number, f", column role: {first} is the benchmark: there can be one"
            first = first or row.symbol


def _kept(rows: Rows, stored: Sequence[Member]) -> Iterator[Member]:
    """The members that the file does not name."""
    named = {row.symbol for row in rows.values()}
    return (one for one in stored if one.symbol not in named)


def _listed(wrong: Sequence[Wrong]) -> str:
    shown = [f"line {number}{reason}" for number, reason in wrong[:_MOST_NAMED]]
    more = len(wrong) - len(shown)
    return "\n".join([*shown, *([f"and {more} more"] if more else [])])
