"""Markets to try the index on: random ones, spoilt ones, and single decisions on a few closes."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from autoindex import sessions
from autoindex.index.compute import IndexSeries, compute
from autoindex.index.decisions import Decisions
from autoindex.index.shares import ShareCount
from autoindex.requests import Frequency, Strategy

FIRST = date(2019, 11, 4)
LAST = date(2022, 12, 30)
NO_SHARES = pd.Series(dtype=np.float64)


def closes_of(length: int, **columns: ArrayLike) -> pd.DataFrame:
    """Closes on the exchange's sessions from 4 November 2019, a Monday; one value is repeated."""
    index = sessions.between(FIRST, LAST)[:length]
    return pd.DataFrame({s: np.broadcast_to(v, length) for s, v in columns.items()}, index)


def random_closes(seed: int, symbols: int = 5, length: int = 140) -> pd.DataFrame:
    """Correlated random walks of unequal volatility."""
    random = np.random.default_rng(seed)
    market = random.normal(0, 0.008, (length, 1))
    own = random.normal(0, 1, (length, symbols)) * random.uniform(0.003, 0.03, symbols)
    walks = np.exp(np.cumsum(market + own, axis=0)) * random.uniform(5, 500, symbols)
    return closes_of(length, **{f"S{n:02d}": walks[:, n] for n in range(symbols)})


def spoilt(closes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same with a late listing, a delisting, gaps short and long, and a price that stands."""
    random = np.random.default_rng(seed)
    values = closes.to_numpy().copy()
    length, count = values.shape
    values[: random.integers(1, length), random.integers(count)] = np.nan
    values[random.integers(1, length) :, random.integers(count)] = np.nan
    for _ in range(4):
        start = random.integers(length)
        values[start : start + random.integers(1, 12), random.integers(count)] = np.nan
    start, still = random.integers(length), random.integers(count)
    values[start : start + 70, still] = values[start, still]
    return pd.DataFrame(values, closes.index, closes.columns)


def shares_of(closes: pd.DataFrame) -> pd.Series:
    """A share count for each column, unequal."""
    return pd.Series(1e9 / np.arange(1, closes.shape[1] + 1), closes.columns)


def counts_of(shares: pd.Series) -> Iterator[ShareCount]:
    """Counts that never change."""
    return (ShareCount(str(symbol), count) for symbol, count in shares.items())


def run(closes: pd.DataFrame, strategy: Strategy, frequency: Frequency, **more: Any) -> IndexSeries:
    """An index with every share count known; a series of them has one for all sessions."""
    known = {"shares": shares_of(closes)} | more
    if isinstance(known["shares"], pd.Series):
        known["shares"] = counts_of(known["shares"])
    return compute(closes, strategy=strategy, frequency=frequency, **known)


def decide(closes: ArrayLike, shares: ArrayLike | None = None) -> Decisions:
    """One decision, at the last of the closes given (sessions × symbols), all symbols eligible."""
    values = np.array(closes, np.float64)
    count = values.shape[1]
    known = np.ones(count) if shares is None else np.array(shares, np.float64)
    known = known[None, :]
    eligible: NDArray[np.bool_] = np.ones((1, count), bool)
    return Decisions(values, np.array([len(values) - 1]), eligible, known)
