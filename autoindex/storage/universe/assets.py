"""The universe: the stocks the index may hold, and the benchmark."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from sqlalchemy import Connection, Row, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.errors import ConfigurationError, UnknownSymbols
from autoindex.labels import Name, Sector, printable
from autoindex.requests import PastDate, Symbol
from autoindex.storage.tables import assets, fetches

Role = Literal["constituent", "benchmark"]

# More than any company has; PostgreSQL's bigint holds it.
_MOST_SHARES: Final = 10**14
_EARLIEST_SHARES: Final = date(1900, 1, 1)
_WHOLE: Final = re.compile(r"(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.0+)?")


def _whole(written: object) -> object:
    """A whole number, with or without commas between thousands."""
    if not isinstance(written, str):
        return written
    if not _WHOLE.fullmatch(written) or len(written) > 40:
        raise ValueError("must be a whole number above 0, as in 15800000000 or 15,800,000,000")
    return int(written.partition(".")[0].replace(",", ""))


def _not_before_1900(day: date) -> date:
    if day < _EARLIEST_SHARES:
        raise ValueError("lies too far back; write it as in 2022-12-28")
    return day


def _lower(written: object) -> object:
    return written.lower() if isinstance(written, str) else written


Exchange = Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(printable)]
Shares = Annotated[int, BeforeValidator(_whole), Field(gt=0, le=_MOST_SHARES)]
SharesDate = Annotated[PastDate, AfterValidator(_not_before_1900)]


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of the universe."""

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
    exchange: Exchange
    # A minor unit may end in a small letter: GBp, ZAc.
    currency: str = Field(pattern="^[A-Z]{2}[A-Za-z]$")
    name: Name
    sector: Sector | None = None
    shares_outstanding: Shares | None = None
    shares_outstanding_date: SharesDate | None = None
    role: Annotated[Role, BeforeValidator(_lower)] = "constituent"
    active: bool = True


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows an import inserted, updated and left unchanged."""

    inserted: int
    updated: int
    unchanged: int


def import_universe(connection: Connection, rows: Sequence[UniverseRow]) -> Imported:
    """Insert new assets and update stored ones, by symbol; none is removed."""
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
        # The provider's last answer may have been about another exchange.
        ask_again = fetches.c.asset_id.in_([known[row.symbol].id for row in changed])
        connection.execute(update(fetches).where(ask_again).values(asked_at=None))
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


def benchmark(universe: Sequence[Asset]) -> Asset | None:
    """The active benchmark, None without one; raises `ConfigurationError` if there are more."""
    found = [asset for asset in universe if asset.role == "benchmark" and asset.active]
    if len(found) > 1:
        symbols = ", ".join(asset.symbol for asset in found)
        raise ConfigurationError(
            f"the universe has {len(found)} active benchmarks, {symbols}: deactivate all but one, "
            "with `autoindex universe deactivate`"
        )
    return found[0] if found else None


def deactivate(connection: Connection, symbols: Sequence[str]) -> int:
    """Deactivate assets; raises `UnknownSymbols` without a change where one is not active."""
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
