"""The closes of a computation in blocks of sessions, all as of one instant."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Self

import pandas as pd
from sqlalchemy import Connection, Engine

from autoindex import sessions
from autoindex.storage import versions
from autoindex.storage.postgres import engines
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe.assets import Asset

# About so many closes a block, 8 MB, which bounds the memory of a computation. The fewest sessions
# are more than a lookback and those that may wait for prices.
_CLOSES: Final = 1 << 20
_FEWEST_SESSIONS: Final = 256


def data_versions(connection: Connection) -> tuple[int, ...]:
    """The versions of what a computation reads, which it must still find when it stores."""
    return versions.currents(connection, versions.PRICES, versions.UNIVERSE)


@dataclass(frozen=True, slots=True)
class CloseBlocks:
    """Closes of the constituents without suspicious ones: the close before each is carried forward.

    `newest` are the last sessions. Those of `earlier` windows are read as they are needed, each
    block in a snapshot that must still have the `data_versions` of the first one.
    """

    newest: pd.DataFrame
    earlier: Sequence[tuple[date, date]]
    data_versions: tuple[int, ...]
    _constituents: Sequence[Asset]
    _suspicious: Mapping[str, date]
    _engine: Engine

    @classmethod
    def read(
        cls,
        connection: Connection,
        constituents: Sequence[Asset],
        start: date,
        end: date,
        suspicious: Mapping[str, date],
    ) -> Self:
        """Read the last block of what is stored from `start` to `end`."""
        index = sessions.between(start, end)
        size = max(_FEWEST_SESSIONS, _CLOSES // max(len(constituents), 1))
        first = max(0, len(index) - size)
        bounds = [*range(first % size, first, size), first]
        blocks = [index[begin:stop] for begin, stop in zip([0, *bounds], bounds, strict=False)]
        earlier = [(block[0].date(), block[-1].date()) for block in blocks if len(block)]
        begin = index[first].date() if len(index) else start
        newest = load(connection, constituents, begin, end, suspicious)
        known = data_versions(connection)
        return cls(newest, earlier, known, constituents, suspicious, connection.engine)

    def __iter__(self) -> Iterator[pd.DataFrame | None]:
        """The blocks in order; None, and no more, where the data have changed meanwhile."""
        for first, last in self.earlier:
            with engines.snapshot(self._engine) as connection:
                if data_versions(connection) != self.data_versions:
                    yield None
                    return
                closes = load(connection, self._constituents, first, last, self._suspicious)
            yield closes
        yield self.newest

    def without_last(self, count: int) -> Self:
        """The same without the last so many sessions."""
        return replace(self, newest=self.newest.iloc[: len(self.newest) - count])


def load(
    connection: Connection,
    chosen: Sequence[Asset],
    start: date,
    end: date,
    suspicious: Mapping[str, date],
) -> pd.DataFrame:
    """The stored closes but suspicious ones and what follows them."""
    closes = stored_prices.load_closes(connection, chosen, start, end)
    for symbol in suspicious.keys() & {*closes.columns}:
        closes.loc[pd.Timestamp(suspicious[symbol]) :, symbol] = math.nan
    return closes
