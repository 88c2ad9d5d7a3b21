"""Suspicious closes: they jump like a split, and the next session or somebody confirms them.

They are found among the stored closes. All that is stored of them is who confirmed one, and when.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final

import numpy as np
from sqlalchemy import Connection, insert, select, text

from autoindex import sessions
from autoindex.errors import InvalidRequest
from autoindex.labels import listed
from autoindex.market_data import split_jumps
from autoindex.market_data.fetch_plan import PUBLISHED_WITHIN
from autoindex.storage import audit
from autoindex.storage.audit import Author
from autoindex.storage.tables import confirmed_closes
from autoindex.storage.universe import assets
from autoindex.storage.universe.assets import Asset

# One index look-up an asset, which reads two rows. The factor of an only close is null.
_NEWEST: Final = text("""
    select a.id, newest.session, newest.factor, f.asked_at
    from unnest(cast(:ids as int[])) as a (id)
    cross join lateral (
        select session, close / lead(close) over (order by session desc) as factor
        from prices where asset_id = a.id order by session desc limit 1
    ) as newest
    left join fetches f on f.asset_id = a.id
    where not exists (
        select from confirmed_closes c where c.asset_id = a.id and c.session = newest.session
    )
""")


def find(connection: Connection, among: Iterable[Asset]) -> dict[str, date]:
    """The sessions of suspicious closes by symbol: only the newest close of an asset can be one.

    The next session's refresh confirms it, by another bar or by none.
    """
    symbols = {asset.id: asset.symbol for asset in among}
    newest = connection.execute(_NEWEST, {"ids": list(symbols)}).all()
    jumps = split_jumps.is_jump(np.array([factor for _, _, factor, _ in newest], np.float64))
    return {
        symbols[id_]: session
        for (id_, session, _, asked_at), jump in zip(newest, jumps, strict=True)
        if jump and not _asked_after_next(session, asked_at)
    }


def _asked_after_next(session: date, asked_at: datetime | None) -> bool:
    """Whether the provider was asked once it serves the session after this one."""
    return asked_at is not None and sessions.last_closed(asked_at - PUBLISHED_WITHIN) > session


def confirm(connection: Connection, symbol: str, session: date, by: str) -> bool:
    """Confirm a suspicious close; whether it was not confirmed yet.

    Raises `UnknownSymbols`, and `InvalidRequest` where the close is not suspicious.
    """
    (asset,) = assets.named(connection, [symbol])
    row = {"asset_id": asset.id, "session": session}
    if connection.execute(select(confirmed_closes).filter_by(**row)).first() is not None:
        return False
    suspicious = find(connection, assets.list_assets(connection))
    if suspicious.get(symbol) != session:
        waiting = [f"{one} of {day}" for one, day in sorted(suspicious.items())]
        there_is = f"those that are: {listed(waiting)}" if waiting else "no close is"
        raise InvalidRequest(
            "SESSION", f"the close of {symbol} of {session} is not suspicious; {there_is}"
        )
    connection.execute(insert(confirmed_closes).values(row | {"confirmed_by": by}))
    after = {"session": session.isoformat()}
    audit.record(connection, Author(by), "confirm close", str(asset.id), after=after)
    return True
