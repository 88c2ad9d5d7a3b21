"""How many of the new sessions may be published: which of the closes that they need are settled."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection

from autoindex import sessions
from autoindex.errors import IndexImpossible
from autoindex.index import completeness, compute
from autoindex.index.completeness import Completeness, Needs
from autoindex.index.eligibility import LONGEST_GAP
from autoindex.index.shares import ShareCount
from autoindex.labels import listed
from autoindex.market_data.fetch_plan import PUBLISHED_WITHIN
from autoindex.requests import Frequency, Strategy
from autoindex.storage.prices import fetches, stored_prices, suspicious_closes
from autoindex.storage.universe.assets import Asset

# Older sessions have either been completed or are past any deadline.
_OPEN_SESSIONS: Final = 60


def suspicious(
    connection: Connection,
    needed: Iterable[Asset],
    published: date | None,
    provisional: Collection[date],
) -> dict[str, date]:
    """The suspicious closes of sessions that are not final yet; none before the launch.

    `published` is the newest published session.
    """
    if published is None:
        return {}
    return {
        symbol: session
        for symbol, session in suspicious_closes.find(connection, needed).items()
        if session > published or session in provisional
    }


@dataclass(frozen=True, slots=True)
class Readiness:
    """What decides how many sessions may be published.

    `closes` are those of the constituents and of the benchmark, without suspicious ones; both are
    `watched`. `published` is the newest published session, `base` the one to continue from.
    Sessions that closed before `deadline` do not wait.
    """

    watched: Sequence[Asset]
    closes: Sequence[pd.DataFrame]
    suspicious: Mapping[str, date]
    needs: Needs
    strategy: Strategy
    frequency: Frequency
    shares: Sequence[ShareCount]
    published: date | None
    provisional: Collection[date]
    base: date | None
    deadline: datetime

    def read(self, connection: Connection) -> Completeness:
        """The completeness of the new sessions.

        The launch has no deadline: an index begins with all of its members. Raises
        `IndexImpossible` where that waits.
        """
        days = pd.DatetimeIndex(self.closes[0].index[-_OPEN_SESSIONS:])
        if self.base is not None:
            days = days[days > pd.Timestamp(self.base)]
        settled = self._settled(connection, days)
        overdue = 0
        if self.published is not None:
            known = days <= pd.Timestamp(self.published)
            final = known & ~days.isin(pd.DatetimeIndex([*self.provisional]))
            settled |= np.broadcast_to(final[:, None], settled.shape)
            late = days <= pd.Timestamp(sessions.last_closed(self.deadline))
            overdue = int((late | known).sum())
        needed = self._needed([*settled.columns], days)
        found = completeness.of(settled, needed, overdue)
        if self.published is None and found.held_back == len(days):
            raise IndexImpossible(
                f"the index waits for the prices of {listed(found.waiting)}: refresh them, or take "
                "them out with `autoindex universe deactivate`"
            )
        return found

    def _needed(self, symbols: list[str], days: pd.DatetimeIndex) -> NDArray[np.bool_]:
        # A new index decides on its first session, whichever that will be.
        decided = days.isin(sessions.rebalances(days, self.frequency)) | (self.base is None)
        weightable = self._weightable(len(days)) if decided.any() else decided
        return self.needs.at(symbols, days, decided, weightable)

    def _weightable(self, days: int) -> NDArray[np.bool_]:
        """At which of the last sessions a decision can weight any symbol."""
        before = compute.lookback_sessions(self.strategy) + LONGEST_GAP
        closes = self.closes[0].iloc[-days - before :]
        found = compute.weightable(
            closes, strategy=self.strategy, shares=self.shares, members=self.needs.members
        )
        return found[len(found) - days :]

    def _settled(self, connection: Connection, days: pd.DatetimeIndex) -> pd.DataFrame:
        """Which closes are stored, or asked for and not there, sessions × symbols.

        A close that is missing is settled once the provider was asked some hours after the session
        ended, when it serves all that it will serve. A symbol without any bar, which it most likely
        does not know, need not wait for that. Suspicious closes are not settled.
        """
        # A benchmark has closes of its whole history.
        result = pd.concat([one.loc[days] for one in self.closes], axis=1).notna()
        if days.empty:
            return result
        complete = result.all().to_dict()
        lacking = [asset for asset in self.watched if not complete[asset.symbol]]
        known = stored_prices.newest_sessions(connection, lacking) if lacking else {}
        for symbol, answered in fetches.load(connection, lacking).items() if lacking else ():
            if (asked_at := answered.at) is not None:
                wait = PUBLISHED_WITHIN if symbol in known else timedelta()
                until = pd.Timestamp(sessions.last_closed(asked_at - wait))
                result[symbol] |= np.asarray(result.index <= until)
        for symbol, session in self.suspicious.items():
            result.loc[pd.Timestamp(session) :, symbol] = False
        return result
