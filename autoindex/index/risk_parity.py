"""Risk parity: every holding contributes the same risk."""

from typing import Final

import numpy as np

from autoindex.errors import IndexImpossible
from autoindex.index import volatility
from autoindex.index.decisions import Decisions, Matrix

# A covariance with a smaller ratio of eigenvalues counts as singular.
_SINGULAR: Final = 1e-10
# By how much the correlations of a singular covariance are shrunk.
_SHRINKAGE: Final = 0.01
_TOLERANCE: Final = 1e-12
_STEPS: Final = 200


def weights(decisions: Decisions) -> Matrix:
    """Equal risk contribution from the sample covariance of the last 60 returns (ddof 1).

    Decisions × symbols. A symbol without volatility gets no weight; where none has volatility,
    weights are equal. A singular covariance (of 60 symbols or more, or with one that copies
    another) has its correlations shrunk by 1 %: otherwise a mix without any risk could exist, and
    contributions could not be equal. Raises `IndexImpossible` where the solver does not converge.
    """
    moving = decisions.eligible & (volatility.volatility(decisions) > 0)
    returns, ends = decisions.returns(volatility.SESSIONS)
    result = decisions.equal()
    for row, end, chosen in zip(result, ends, moving, strict=True):
        if chosen.any():
            row[:] = 0
            window = returns[end - volatility.SESSIONS : end, chosen]
            row[chosen] = equal_contribution(covariance(window))
    return result


def covariance(returns: Matrix) -> Matrix:
    """Sample covariance (ddof 1) of returns, sessions × symbols, without NaN.

    The correlations are shrunk by 1 % where it is singular.
    """
    sample: Matrix = np.atleast_2d(np.cov(returns, rowvar=False, ddof=1))
    eigenvalues = np.linalg.eigvalsh(_correlation(sample))
    if eigenvalues[0] > _SINGULAR * eigenvalues[-1]:
        return sample
    shrunk: Matrix = sample * (1 - _SHRINKAGE) + np.diag(np.diag(sample)) * _SHRINKAGE
    return shrunk


def equal_contribution(covariance: Matrix) -> Matrix:
    """The weights w > 0, summing to 1, for which w × (covariance · w) is the same for all.

    Newton's method on ½ y'Cy − (1/n) Σ ln y, whose minimum, scaled to 1, is the answer
    (F. Spinu, "An Algorithm for Computing Risk Parity Weights", 2013). It runs on correlations, so
    that the scale of a symbol's returns does not matter. Raises `IndexImpossible` where it does not
    converge.
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
    raise IndexImpossible("risk_parity: the solver for equal risk contributions does not converge")


def _correlation(covariance: Matrix) -> Matrix:
    deviations = np.sqrt(np.diag(covariance))
    result: Matrix = covariance / np.outer(deviations, deviations)
    return result
