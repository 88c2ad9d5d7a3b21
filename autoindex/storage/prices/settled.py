"""Which closes are settled: they are stored, or the provider was asked for them and has none."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from autoindex import sessions
from autoindex.market_data.fetch_plan import PUBLISHED_WITHIN
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.universe.assets import Asset


def read(connection: Connection, assets: Sequence[Asset], days: pd.DatetimeIndex) -> pd.DataFrame:
    """Which closes are settled, sessions × symbols, of consecutive sessions.

    A close that is missing is settled once the provider was asked some hours after the session
    ended, when it serves all that it will serve. A symbol without any bar, which it most likely
    does not know, need not wait for that.
    """
    if days.empty:
        return pd.DataFrame(index=days, columns=[asset.symbol for asset in assets], dtype=bool)
    first, last = days[0].date(), days[-1].date()
    result = stored_prices.load_closes(connection, assets, first, last).notna()
    lacking = [asset for asset in assets if not result[asset.symbol].all()]
    known = stored_prices.newest_sessions(connection, lacking)
    for symbol, answered in fetches.load(connection, lacking).items():
        if (asked_at := answered.at) is not None:
            wait = PUBLISHED_WITHIN if symbol in known else timedelta()
            until = pd.Timestamp(sessions.last_closed(asked_at - wait))
            result[symbol] |= np.asarray(result.index <= until)
    return result
