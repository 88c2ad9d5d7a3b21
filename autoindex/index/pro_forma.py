"""The pro-forma: what the next rebalance decides if every close stays as it is until then."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pandas as pd

from autoindex import sessions
from autoindex.index import compute
from autoindex.index.eligibility import LONGEST_GAP
from autoindex.index.membership import Membership
from autoindex.index.shares import ShareCount
from autoindex.requests import Frequency, Strategy

# Beyond the lookback, because a gap may reach into it.
_GAP_SESSIONS: Final = 2 * LONGEST_GAP


@dataclass(frozen=True, slots=True)
class ProForma:
    """Weights of the next rebalance, and those of the holdings at the close of `decided_with`.

    Both have one row for each symbol that is held before or after, by symbol.
    """

    decided_with: date
    next_rebalance: date
    weights: pd.Series
    current_weights: pd.Series

    @property
    def turnover(self) -> float:
        """One-way: half the sum of the absolute trades."""
        return float((self.weights - self.current_weights).abs().sum() / 2)


def pro_forma(
    closes: pd.DataFrame,
    current: pd.Series,
    *,
    strategy: Strategy,
    frequency: Frequency,
    shares: Iterable[ShareCount] = (),
    members: Iterable[Membership] | None = None,
) -> ProForma | None:
    """The pro-forma at the last session of `closes`; None where the calendar ends before it.

    `current` are the weights of the holdings there, by symbol. Each symbol keeps its close until
    the next rebalance, unless it has no bar for more than five sessions. Members and shares are
    those known of that day. Holdings are kept where no symbol can be weighted. Raises
    `IndexImpossible` where a solver does not converge.
    """
    last = closes.index[-1].date()
    day = sessions.next_rebalance(last, frequency)
    if day is None:
        return None
    standing = _until(day, closes.iloc[-compute.lookback_sessions(strategy) - _GAP_SESSIONS :])
    decided = compute.decide(standing, strategy=strategy, shares=shares, members=members)
    weights = current if decided is None else decided[decided > 0]
    both = weights.index.union(current.index)
    return ProForma(
        last,
        day,
        weights.reindex(both, fill_value=0.0),
        current.reindex(both, fill_value=0.0),
    )


def _until(day: date, closes: pd.DataFrame) -> pd.DataFrame:
    """The closes and, on each session from then to a day, the last of them."""
    last = closes.ffill(limit=LONGEST_GAP).iloc[-1]
    later = sessions.between(closes.index[-1].date() + timedelta(days=1), day)
    values = np.broadcast_to(last.to_numpy(), (len(later), len(last)))
    standing = pd.DataFrame(values, later, closes.columns)
    return pd.concat([closes, standing])
