"""Risk parity: every holding contributes the same risk."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from autoindex.errors import IndexImpossible
from autoindex.index import volatility

# Below this ratio of eigenvalues a covariance counts as singular.
_SINGULAR: Final = 1e-10
# How much of the correlations is given up where it is.
_SHRINKAGE: Final = 0.01
_TOLERANCE: Final = 1e-12
_STEPS: Final = 200

Matrix = NDArray[np.float64]


def weights(closes: Matrix) -> Matrix:
    """Equal risk contribution from the sample covariance of the last 60 returns (ddof 1).

    A symbol that has not moved gets no weight; where nothing has moved, all get the same. A
    singular covariance (more symbols than sessions, or one that copies another) has its
    correlations shrunk by 1 %, which makes the answer unique.
    """
    moves = volatility.returns(closes)
    moving = moves.std(axis=0) > 0
    if not moving.any():
        return np.full(moves.shape[1], 1 / moves.shape[1])
    result = np.zeros(moves.shape[1])
    result[moving] = equal_contribution(covariance(moves[:, moving]))
    return result


def covariance(moves: Matrix) -> Matrix:
    """Sample covariance, its correlations shrunk by 1 % where it is singular."""
    sample: Matrix = np.atleast_2d(np.cov(moves, rowvar=False, ddof=1))
    eigenvalues = np.linalg.eigvalsh(_correlation(sample))
    if eigenvalues[0] > _SINGULAR * eigenvalues[-1]:
        return sample
    shrunk: Matrix = sample * (1 - _SHRINKAGE) + np.diag(np.diag(sample)) * _SHRINKAGE
    return shrunk


def equal_contribution(covariance: Matrix) -> Matrix:
    """The weights w > 0, summing to 1, for which w × (covariance · w) is the same for all.

    Newton's method on ½ y'Cy − (1/n) Σ ln y, whose minimum, scaled to 1, is the answer
    (F. Spinu, "An Algorithm for Computing Risk Parity Weights", 2013). Worked on correlations, so
    that the scale of a symbol's returns does not matter.
    """
    correlation, deviations = _correlation(covariance), np.sqrt(np.diag(covariance))
    budget = 1 / len(correlation)
    y = np.full(len(correlation), 1 / np.sqrt(correlation.sum()))
    for _ in range(_STEPS):
        gradient = correlation @ y - budget / y
        if np.abs(gradient * y).max() < _TOLERANCE * budget:
            w: Matrix = y / deviations
            result: Matrix = w / w.sum()
            return result
        step = np.linalg.solve(correlation + np.diag(budget / y**2), gradient)
        # Damped far from the minimum, where a whole step could leave y > 0.
        size = np.abs(step / y).max()
        y = y - step / (1 + size if size > 0.3 else 1)
    raise IndexImpossible("risk_parity: the contributions to risk could not be made equal")


def _correlation(covariance: Matrix) -> Matrix:
    deviations = np.sqrt(np.diag(covariance))
    result: Matrix = covariance / np.outer(deviations, deviations)
    return result
