"""Market capitalisation: shares outstanding times close."""

import numpy as np
from numpy.typing import NDArray

from autoindex.errors import IndexImpossible


def weights(close: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights proportional to shares × close; none where the shares are not known (NaN).

    Raises `IndexImpossible` where no symbol's shares are known.
    """
    capitalisation = np.nan_to_num(shares * close)
    total = capitalisation.sum()
    if not total > 0:
        raise IndexImpossible(
            "market_cap: no constituent has shares outstanding; "
            "add them to the universe's CSV file and import it again"
        )
    result: NDArray[np.float64] = capitalisation / total
    return result
