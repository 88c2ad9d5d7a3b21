"""When the provider last answered about each asset, which decides what is asked for next."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, text

from autoindex.market_data.fetch_plan import Answered
from autoindex.storage.tables import fetches
from autoindex.storage.universe.assets import Asset

_NOTE: Final = text("""
    insert into fetches (asset_id, asked_at, whole_at)
    select
        id, cast(:asked_at as timestamptz), case when id = any(cast(:whole as int[])) then now() end
    from unnest(cast(:ids as int[])) as answered (id)
    on conflict (asset_id) do update set
        asked_at = excluded.asked_at, whole_at = coalesce(excluded.whole_at, fetches.whole_at)
""")


def note(
    connection: Connection, ids: Collection[int], whole: Collection[int], asked_at: datetime | None
) -> None:
    """Note that the provider answered about assets, about `whole` with their whole history.

    Without `asked_at`, its answer could not be used, and it is to be asked again.
    """
    values = {"ids": list(ids), "whole": list(whole), "asked_at": asked_at}
    connection.execute(_NOTE, values)


def load(connection: Connection, assets: Sequence[Asset]) -> dict[str, Answered]:
    """The last answer by symbol, without assets that were never asked for."""
    symbols = {asset.id: asset.symbol for asset in assets}
    query = select(fetches.c.asset_id, fetches.c.asked_at, fetches.c.whole_at)
    return {
        symbols[id_]: Answered(asked_at, whole_at)
        for id_, asked_at, whole_at in connection.execute(query)
        if id_ in symbols
    }
