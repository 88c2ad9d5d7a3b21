"""The index's levels and the benchmark's closes on the same sessions, as arrays."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoindex.index import metrics
from autoindex.reports.content import Number

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class History:
    """Levels by session, never NaN, and the benchmark's closes, NaN where it has none."""

    sessions: pd.DatetimeIndex
    level: Floats
    benchmark: Floats

    @classmethod
    def align(cls, levels: pd.Series, benchmark: pd.Series | None) -> Self:
        """The benchmark at the index's sessions; gaps of up to five are carried forward."""
        sessions = pd.DatetimeIndex(levels.index)
        theirs = np.full(len(sessions), np.nan)
        if benchmark is not None:
            theirs = metrics.at_sessions(benchmark, sessions).to_numpy(dtype=np.float64)
        return cls(sessions, levels.to_numpy(dtype=np.float64), theirs)

    def __len__(self) -> int:
        return len(self.level)

    @property
    def has_benchmark(self) -> bool:
        """Whether the benchmark has a close on any session."""
        return not bool(np.isnan(self.benchmark).all())

    @property
    def uncovered(self) -> pd.DatetimeIndex:
        """The sessions without a close of the benchmark."""
        return self.sessions[np.isnan(self.benchmark)]

    def position(self, session: object) -> int:
        """The position of `session`, one of the index's."""
        return int(self.sessions.searchsorted(pd.Timestamp(str(session))))


def rebased(level: Floats, benchmark: Floats) -> Floats:
    """The benchmark scaled to the level at its first close; NaN where it has no close."""
    there = np.flatnonzero(~np.isnan(benchmark))
    if not len(there):
        return benchmark
    first = there[0]
    scaled: Floats = benchmark * (level[first] / benchmark[first])
    return scaled


def number(value: float) -> Number:
    """`value` as the content holds it: None where it is not finite."""
    return float(value) if np.isfinite(value) else None


def numbers(values: Floats) -> tuple[Number, ...]:
    """`number` of each value."""
    return tuple(value if np.isfinite(value) else None for value in values.tolist())
