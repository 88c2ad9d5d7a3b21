"""Made-up markets in memory, and the index on them in plain NumPy."""

from dataclasses import dataclass
from datetime import date
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex import sessions
from autoindex.requests import Frequency

SESSIONS: Final = 5_040
LAST: Final = date(2022, 12, 28)
# Closes the composite needs before its first decision.
LOOKBACK: Final = 60

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """Closes of correlated random walks, shares outstanding, and a market to compare with."""

    closes: pd.DataFrame
    shares: pd.Series
    market: pd.Series

    @classmethod
    def made(cls, symbols: int, length: int = SESSIONS) -> Self:
        """The same one each time; weights are spread as in a large universe."""
        random = np.random.default_rng(20_221_228)
        index = last_sessions(length)
        market = random.normal(0.0003, 0.009, length)
        values = random.normal(0, 1, (length, symbols))
        values *= random.uniform(0.006, 0.03, symbols)
        values += market[:, None]
        np.cumsum(values, axis=0, out=values)
        np.exp(values, out=values)
        values *= random.uniform(10, 300, symbols)
        names = [f"S{number:04d}" for number in range(symbols)]
        return cls(
            pd.DataFrame(values, index, names, copy=False),
            pd.Series(random.lognormal(20, 1.2, symbols), names),
            pd.Series(1_000 * np.exp(np.cumsum(market)), index),
        )

    def decisions(self) -> NDArray[np.int64]:
        """The rows of the first session with a full lookback, and of each week's first after it."""
        index = pd.DatetimeIndex(self.closes.index)
        weekly = index.get_indexer(sessions.rebalances(index, Frequency.WEEKLY))
        return np.concatenate([[LOOKBACK], weekly[weekly > LOOKBACK]])


def last_sessions(length: int) -> pd.DatetimeIndex:
    """So many sessions, up to the last one that the sandbox knows."""
    return sessions.between(date(LAST.year - length // 250 - 1, 1, 1), LAST)[-length:]


def floor(closes: Matrix, shares: Matrix, at: NDArray[np.int64]) -> tuple[Matrix, Matrix]:
    """Levels and weights of a composite by arithmetic alone: no limits, no gaps, no checks.

    Weights by matrix operations over all decisions, units held in between. Volatility from
    differences of cumulated sums, the least work there is.
    """
    weights = (
        0.4 * _shared(np.maximum(closes[at] / closes[at - 20] - 1, 0))
        + 0.3 * _shared(closes[at] * shares)
        + 0.3 * _shared(1 / _volatility(closes, at))
    )
    units = weights / closes[at]
    levels = np.full(len(closes), 100.0)
    for row, begin in enumerate(at):
        end = at[row + 1] if row + 1 < len(at) else len(closes) - 1
        held = closes[begin + 1 : end + 1] @ units[row]
        levels[begin + 1 : end + 1] = held * levels[begin]
    return levels[at[0] :], weights


def _shared(scores: Matrix) -> Matrix:
    result: Matrix = scores / scores.sum(axis=1, keepdims=True)
    return result


def _volatility(closes: Matrix, at: NDArray[np.int64]) -> Matrix:
    returns = np.zeros_like(closes)
    np.divide(closes[1:], closes[:-1], out=returns[1:])
    returns[1:] -= 1
    sums = np.cumsum(returns, axis=0)
    squares = np.cumsum(returns**2, axis=0)
    sums, squares = (total[at] - total[at - LOOKBACK] for total in (sums, squares))
    result: Matrix = np.sqrt((squares - sums**2 / LOOKBACK) / (LOOKBACK - 1))
    return result
