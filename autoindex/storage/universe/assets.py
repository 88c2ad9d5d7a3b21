"""Assets: what a stock or a benchmark is, whenever it is a member of the universe."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.errors import InvalidRequest, UnknownSymbols
from autoindex.storage import versions
from autoindex.storage.postgres import locks
from autoindex.storage.tables import assets
from autoindex.storage.universe import universe_changes
from autoindex.storage.universe.universe_row import UniverseRow

_DESCRIBED = ("exchange", "currency", "name", "sector")
_ASK_AGAIN = text("update fetches set asked_at = null where asset_id = any(:ids)")


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset; when it is a member, and in which role, is a `Member`."""

    id: int
    symbol: str
    exchange: str
    currency: str
    name: str
    sector: str | None
    prices_kept_from: date | None


COLUMNS = tuple(assets.c[field.name] for field in fields(Asset))


def list_assets(connection: Connection) -> list[Asset]:
    """Every asset, member or not, by symbol."""
    found = connection.execute(select(*COLUMNS).order_by(assets.c.symbol))
    return [Asset(*row) for row in found.all()]


def named(connection: Connection, symbols: Sequence[str]) -> list[Asset]:
    """The assets that `symbols` name, members or not; raises `UnknownSymbols`."""
    known = {asset.symbol: asset for asset in list_assets(connection)}
    if unknown := set(symbols) - known.keys():
        raise UnknownSymbols(sorted(unknown))
    return [known[symbol] for symbol in dict.fromkeys(symbols)]


def differences(row: UniverseRow, asset: Asset) -> list[str]:
    """The columns of which a row says something else."""
    return [name for name in _DESCRIBED if getattr(row, name) != getattr(asset, name)]


def store(connection: Connection, rows: Sequence[UniverseRow], changed: Sequence[int]) -> None:
    """Insert assets and update stored ones, by symbol; `changed` are the ids of the latter."""
    if not rows:
        return
    statement = insert(assets)
    update_to = {name: statement.excluded[name] for name in _DESCRIBED}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[assets.c.symbol], set_=update_to | {"updated_at": func.now()}
        ),
        [row.model_dump(include={"symbol", *_DESCRIBED}) for row in rows],
    )
    # The provider's last answer may have been about another exchange.
    connection.execute(_ASK_AGAIN, {"ids": list(changed)})


def rename(connection: Connection, old: str, new: str, by: str, since: date | None = None) -> bool:
    """Give an asset another symbol; whether it had the old one until now.

    It keeps its history. `since` is the first day of the new symbol, which is recorded. Raises
    `UnknownSymbols` for `old`, and `InvalidRequest` where `new` is the symbol of another asset.
    """
    locks.until_commit(connection, locks.PRICES)
    ids = {asset.symbol: asset.id for asset in list_assets(connection)}
    if old not in ids:
        if new in ids and universe_changes.former_symbols(connection).get(old) == ids[new]:
            return False
        raise UnknownSymbols([old])
    if new in ids:
        raise InvalidRequest("symbol", f"{new} is another stock's already")
    connection.execute(update(assets).where(assets.c.id == ids[old]).values(symbol=new))
    connection.execute(_ASK_AGAIN, {"ids": [ids[old]]})
    universe_changes.record_rename(connection, by, ids[old], old, new, since)
    versions.bump(connection, versions.UNIVERSE)
    # Pages of weights show symbols.
    versions.bump(connection, versions.INDEX)
    return True
