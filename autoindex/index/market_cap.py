"""Market capitalisation: shares outstanding times close."""

import numpy as np

from autoindex.errors import IndexImpossible
from autoindex.index.decisions import Decisions, Matrix, proportional


def weights(decisions: Decisions) -> Matrix:
    """Weights proportional to shares × close, decisions × symbols; 0 where shares are unknown.

    Raises `IndexImpossible` where no eligible symbol of a decision has known shares.
    """
    known = decisions.eligible & np.isfinite(decisions.shares)
    if not known.any(axis=1).all():
        raise IndexImpossible(
            "market_cap: no constituent has shares outstanding; "
            "add them to the universe's CSV file and import it again"
        )
    return proportional(np.where(known, decisions.closes[decisions.at] * decisions.shares, 0))
