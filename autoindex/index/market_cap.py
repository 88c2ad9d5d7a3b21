"""Market capitalisation: shares outstanding times close."""

import numpy as np

from autoindex.index.decisions import Decisions, Matrix, proportional


def weights(decisions: Decisions) -> Matrix:
    """Weights proportional to shares × close, decisions × symbols; 0 where shares are unknown.

    Each decision needs an eligible symbol with known shares.
    """
    known = decisions.eligible & (decisions.shares > 0)
    return proportional(np.where(known, decisions.closes[decisions.at] * decisions.shares, 0))
