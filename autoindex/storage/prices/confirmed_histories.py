"""Confirmed histories: the rules refuse them, and somebody accepts the provider's next one."""

from collections.abc import Collection

from sqlalchemy import Connection, func, insert, select, update

from autoindex.errors import InvalidRequest
from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.tables import confirmed_histories, fetches
from autoindex.storage.universe import assets

_OPEN = confirmed_histories.c.used_at.is_(None)


def confirm(connection: Connection, symbol: str, by: str) -> bool:
    """Accept the history that the next refresh fetches; whether it was not accepted yet.

    Raises `UnknownSymbols`, and `InvalidRequest` where the newest answer about the symbol was used.
    """
    (asset,) = assets.named(connection, [symbol])
    if is_open(connection, asset.id):
        return False
    answered = select(fetches.c.asked_at).where(fetches.c.asset_id == asset.id)
    if connection.execute(answered).scalar_one_or_none() is not None:
        raise InvalidRequest("SYMBOL", f"no history of {symbol} is refused; name a SESSION")
    row = {"asset_id": asset.id, "confirmed_by": by}
    connection.execute(insert(confirmed_histories).values(row))
    audit.record(connection, Author(by), "confirm history", str(asset.id))
    return True


def is_open(connection: Connection, asset_id: int) -> bool:
    """Whether somebody accepts the next history of an asset."""
    query = select(confirmed_histories).where(confirmed_histories.c.asset_id == asset_id, _OPEN)
    return connection.execute(query).first() is not None


def use(connection: Connection, ids: Collection[int]) -> None:
    """Use up what is confirmed of these assets: their next history is stored."""
    chosen = confirmed_histories.c.asset_id.in_(ids)
    connection.execute(update(confirmed_histories).where(chosen, _OPEN).values(used_at=func.now()))
