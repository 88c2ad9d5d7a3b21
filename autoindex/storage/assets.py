"""The universe: the stocks the index may hold, and the benchmark."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, Row, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.errors import InvalidRequest, UnknownSymbols
from autoindex.labels import Name, Sector
from autoindex.requests import Symbol
from autoindex.storage.tables import assets

Role = Literal["constituent", "benchmark"]


@dataclass(frozen=True, slots=True)
class Asset:
    """One member of the universe."""

    id: int
    symbol: str
    exchange: str
    currency: str
    name: str
    sector: str | None
    shares_outstanding: int | None
    shares_outstanding_date: date | None
    role: Role
    active: bool
    prices_kept_from: date | None


class UniverseRow(BaseModel):
    """One line of a universe's CSV file."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    symbol: Symbol
    exchange: str = Field(min_length=1)
    currency: str = Field(pattern="^[A-Z]{3}$")
    name: Name
    sector: Sector | None = None
    shares_outstanding: int | None = Field(default=None, gt=0)
    shares_outstanding_date: date | None = None
    role: Role = "constituent"
    active: bool = True


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows an import has inserted, updated and left alone."""

    inserted: int
    updated: int
    unchanged: int


def read_universe(path: Path) -> list[UniverseRow]:
    """Read a universe's CSV file.

    Raises `InvalidRequest` naming the line and the column of the first bad value, a symbol that
    comes twice, or a file without rows.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.DictReader(file)
        _check_columns(path, lines.fieldnames or ())
        rows = [_parsed(line, lines.line_num) for line in lines]
    if not rows:
        raise InvalidRequest(path.name, "has no rows; the first line names the columns")
    seen: set[str] = set()
    for row in rows:
        if row.symbol in seen:
            raise InvalidRequest("symbol", f"{row.symbol} stands twice in {path.name}")
        seen.add(row.symbol)
    return rows


def _check_columns(path: Path, found: Sequence[str]) -> None:
    needed = [name for name, field in UniverseRow.model_fields.items() if field.is_required()]
    missing = [name for name in needed if name not in found]
    if missing:
        raise InvalidRequest(
            path.name, f"the first line must name the columns; it lacks {', '.join(missing)}"
        )


def _parsed(line: dict[str | None, Any], number: int) -> UniverseRow:
    if None in line:
        raise InvalidRequest(f"line {number}", "has more values than there are columns")
    try:
        # An empty cell is a missing one.
        row = UniverseRow.model_validate({name: cell for name, cell in line.items() if cell})
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(str(part) for part in first["loc"]) or "row"
        raise InvalidRequest(f"line {number}, column {column}", first["msg"]) from error
    if row.shares_outstanding is not None and row.shares_outstanding_date is None:
        raise InvalidRequest(
            f"line {number}, column shares_outstanding_date",
            "is empty: say of which day the shares outstanding are, as in 2022-12-28",
        )
    return row


def import_universe(connection: Connection, rows: Sequence[UniverseRow]) -> Imported:
    """Insert new assets and update known ones, by symbol; none is removed."""
    known = {asset.symbol: asset for asset in list_assets(connection)}
    fields = [name for name in UniverseRow.model_fields if name != "symbol"]
    new = [row for row in rows if row.symbol not in known]
    changed = [
        row
        for row in rows
        if row.symbol in known
        and any(getattr(row, name) != getattr(known[row.symbol], name) for name in fields)
    ]
    if new or changed:
        statement = insert(assets)
        update_to = {name: statement.excluded[name] for name in fields}
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[assets.c.symbol], set_=update_to | {"updated_at": func.now()}
            ),
            [row.model_dump() for row in (*new, *changed)],
        )
    return Imported(len(new), len(changed), len(rows) - len(new) - len(changed))


def list_assets(connection: Connection) -> list[Asset]:
    """Every asset, active or not, by symbol."""
    return _read(connection, _columns())


def resolve(connection: Connection, symbols: Iterable[str] | None = None) -> list[Asset]:
    """The active assets, or those of them that `symbols` names; raises `UnknownSymbols`."""
    active = _read(connection, _columns().where(assets.c.active))
    if symbols is None:
        return active
    wanted = set(symbols)
    unknown = wanted - {asset.symbol for asset in active}
    if unknown:
        raise UnknownSymbols(sorted(unknown))
    return [asset for asset in active if asset.symbol in wanted]


def active_symbols(connection: Connection) -> list[str]:
    """The symbols of the active assets, sorted."""
    return [asset.symbol for asset in resolve(connection)]


def deactivate(connection: Connection, symbols: Sequence[str]) -> int:
    """Take assets out of the active universe; raises `UnknownSymbols` and then changes nothing."""
    resolve(connection, symbols)
    chosen = assets.c.symbol.in_(list(symbols))
    return connection.execute(update(assets).where(chosen).values(active=False)).rowcount


def _columns() -> Select[Any]:
    names = Asset.__dataclass_fields__
    return select(*(assets.c[name] for name in names)).order_by(assets.c.symbol)


def _read(connection: Connection, query: Select[Any]) -> list[Asset]:
    return [_asset(row) for row in connection.execute(query)]


def _asset(row: Row[Any]) -> Asset:
    return Asset(**row._mapping)
