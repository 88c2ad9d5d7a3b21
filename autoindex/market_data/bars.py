"""Daily bars of one symbol, as arrays: the shape of prices between the provider and the tables."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bars:
    """Daily bars of one symbol, oldest first, one per session.

    `sessions` is datetime64[D] in the exchange's dates, strictly increasing. Prices are float64
    in the symbol's currency, adjusted for splits. `volume` is int64, -1 where the provider gave
    none. All arrays have the same length.
    """

    symbol: str
    sessions: NDArray[np.datetime64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sessions)

    def select(self, keep: NDArray[np.bool_]) -> Self:
        """The bars where `keep` is true."""
        return type(self)(
            self.symbol,
            self.sessions[keep],
            self.open[keep],
            self.high[keep],
            self.low[keep],
            self.close[keep],
            self.volume[keep],
        )
