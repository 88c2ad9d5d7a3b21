"""How many of the new sessions may be published: which of the closes that they need are settled."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from autoindex import sessions
from autoindex.errors import IndexImpossible
from autoindex.index import completeness
from autoindex.index.completeness import Completeness, Needs
from autoindex.labels import listed
from autoindex.market_data.fetch_plan import PUBLISHED_WITHIN
from autoindex.requests import ComputeIndexRequest
from autoindex.storage.index import levels
from autoindex.storage.prices import fetches, stored_prices, suspicious_closes
from autoindex.storage.universe.assets import Asset

# Older sessions have either been completed or are past any deadline.
_OPEN_SESSIONS: Final = 60


def suspicious(
    connection: Connection,
    request: ComputeIndexRequest,
    needed: Iterable[Asset],
    provisional: Collection[date],
) -> dict[str, date]:
    """The suspicious closes of sessions that are not final yet; none before the launch."""
    published = levels.window(connection, request.strategy, request.frequency)
    if published is None:
        return {}
    return {
        symbol: session
        for symbol, session in suspicious_closes.find(connection, needed).items()
        if session > published[1] or session in provisional
    }


def read(
    connection: Connection,
    request: ComputeIndexRequest,
    watched: Sequence[Asset],
    needs: Needs,
    suspected: Mapping[str, date],
    base: date | None,
    window: tuple[date, date],
    deadline: datetime,
) -> Completeness:
    """The completeness of the sessions of a window, after `base` if there is one.

    A symbol is not settled from the session of a `suspected` close on. Sessions that closed before
    `deadline` do not wait, but for the launch: an index begins with all of its members. Raises
    `IndexImpossible` where that waits.
    """
    published = levels.window(connection, request.strategy, request.frequency)
    start, end = window
    days = sessions.between(max(start, sessions.back(end, _OPEN_SESSIONS - 1)), end)
    if base is not None:
        days = days[days > pd.Timestamp(base)]
    settled = _settled(connection, watched, days)
    for symbol, session in suspected.items():
        settled.loc[pd.Timestamp(session) :, symbol] = False
    overdue = 0
    if published is not None:
        known = days <= pd.Timestamp(published[1])
        marks = levels.provisional(connection, request.strategy, request.frequency)
        settled[known & ~days.isin(pd.DatetimeIndex([*marks]))] = True
        late = days <= pd.Timestamp(sessions.last_closed(deadline))
        overdue = int((late | known).sum())
    # A new index decides on its first session, whichever that will be.
    decided = days.isin(sessions.rebalances(days, request.frequency)) | (base is None)
    found = completeness.of(settled, needs.at([*settled.columns], days, decided), overdue)
    if published is None and found.held_back == len(days):
        raise IndexImpossible(
            f"the index waits for the prices of {listed(found.waiting)}: refresh them, or take "
            "them out with `autoindex universe deactivate`"
        )
    return found


def _settled(
    connection: Connection, assets: Sequence[Asset], days: pd.DatetimeIndex
) -> pd.DataFrame:
    """Which closes are stored, or asked for and not there, sessions × symbols.

    A close that is missing is settled once the provider was asked some hours after the session
    ended, when it serves all that it will serve. A symbol without any bar, which it most likely
    does not know, need not wait for that.
    """
    if days.empty:
        return pd.DataFrame(index=days, columns=[asset.symbol for asset in assets], dtype=bool)
    first, last = days[0].date(), days[-1].date()
    result = stored_prices.load_closes(connection, assets, first, last).notna()
    complete = result.all().to_dict()
    lacking = [asset for asset in assets if not complete[asset.symbol]]
    known = stored_prices.newest_sessions(connection, lacking)
    for symbol, answered in fetches.load(connection, lacking).items():
        if (asked_at := answered.at) is not None:
            wait = PUBLISHED_WITHIN if symbol in known else timedelta()
            until = pd.Timestamp(sessions.last_closed(asked_at - wait))
            result[symbol] |= np.asarray(result.index <= until)
    return result
