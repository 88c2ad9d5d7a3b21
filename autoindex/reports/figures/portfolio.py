"""The portfolio: target weights at each rebalance, which drift with closes in between.

Between rebalances a holding is its target weight times its close over the close at the rebalance.
Only ratios of closes matter, so a split that restates prices changes nothing here. A holding
without bars is valued at its last close until the next rebalance, as in the index.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from autoindex.reports.figures.history import Floats


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Targets and closes over the same symbols.

    `targets` has one row a rebalance and one column a symbol, 0 where not held. `closes` has one
    row a session, carried forward where there is no bar, NaN before a symbol's first one.
    """

    symbols: tuple[str, ...]
    rebalances: pd.DatetimeIndex
    targets: Floats
    sessions: pd.DatetimeIndex
    closes: Floats

    @classmethod
    def align(cls, weights: pd.DataFrame, closes: pd.DataFrame, last: pd.Timestamp) -> Self:
        """Both over the symbols that were ever held, up to and including session `last`."""
        targets = weights.loc[:last].fillna(0.0)
        targets = targets.loc[:, (targets > 0.0).any()]
        targets = targets[sorted(targets.columns)]
        carried = closes.loc[:last].reindex(columns=targets.columns).ffill()
        return cls(
            tuple(targets.columns),
            pd.DatetimeIndex(targets.index),
            targets.to_numpy(dtype=np.float64),
            pd.DatetimeIndex(carried.index),
            carried.to_numpy(dtype=np.float64),
        )

    def decided(self, session: pd.Timestamp) -> int:
        """Position of the newest rebalance not after `session`; -1 before the first."""
        return int(self.rebalances.searchsorted(session, side="right")) - 1

    def at(self, session: pd.Timestamp) -> int | None:
        """Position of `session` among the closes; None where it is not there."""
        position = int(self.sessions.get_indexer(pd.DatetimeIndex([session]))[0])
        return None if position < 0 else position

    def weights(self, rebalance: int, session: pd.Timestamp) -> Floats | None:
        """The weights of `rebalance` as drifted to `session`; None where a close is missing."""
        if rebalance < 0:
            return None
        bought, now = self.at(self.rebalances[rebalance]), self.at(session)
        if bought is None or now is None:
            return None
        held = self.targets[rebalance] > 0.0
        values = np.zeros(len(self.symbols))
        growth = self.closes[now, held] / self.closes[bought, held]
        values[held] = self.targets[rebalance, held] * growth
        total = float(values.sum())
        return values / total if np.isfinite(total) and total > 0.0 else None
