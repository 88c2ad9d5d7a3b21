"""Measures of performance and risk, from daily returns.

A year has 252 sessions, the risk-free rate is 0. Returns are fractions, by session, without NaN, at
least two. A measure that divides by nothing is NaN or infinite. The names and definitions are those
of the library empyrical; docs/index-rules.md has them in words.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Returns = NDArray[np.float64]

SESSIONS_A_YEAR: Final = 252
MONTHS_A_YEAR: Final = 12
# Below it, a variance is only what rounding leaves.
_LEAST_VARIANCE: Final = 1e-30


def total_return(returns: Returns) -> float:
    """The compounded return."""
    return float(np.prod(1 + returns) - 1)


def annual_return(returns: Returns, periods_a_year: int = SESSIONS_A_YEAR) -> float:
    """The compounded return of a year: the growth to the power of 252 / n, less 1."""
    return float(np.prod(1 + returns) ** (periods_a_year / len(returns)) - 1)


def annual_volatility(returns: Returns) -> float:
    """The standard deviation (ddof 1), times √252."""
    return float(returns.std(ddof=1) * np.sqrt(SESSIONS_A_YEAR))


def sharpe_ratio(returns: Returns) -> float:
    """The mean over the standard deviation (ddof 1), times √252 (Sharpe, 1994)."""
    return float(returns.mean() / _deviation(returns) * np.sqrt(SESSIONS_A_YEAR))


def sortino_ratio(returns: Returns) -> float:
    """The mean of a year over its downside deviation, of all n returns (Sortino, 1994)."""
    downside = np.sqrt(np.square(np.minimum(returns, 0)).mean() * SESSIONS_A_YEAR)
    return float(returns.mean() * SESSIONS_A_YEAR / downside)


def calmar_ratio(returns: Returns) -> float:
    """The annual return over the size of the maximum drawdown (Young, 1991)."""
    return annual_return(returns) / np.float64(-max_drawdown(returns))


def max_drawdown(returns: Returns) -> float:
    """The deepest fall below the highest level so far: 0 or negative."""
    growth = _growth(returns)
    return float((growth / np.maximum.accumulate(growth) - 1).min())


def current_drawdown(returns: Returns) -> float:
    """The last level over the highest so far, less 1: 0 or negative."""
    growth = _growth(returns)
    return float(growth[-1] / growth.max() - 1)


def value_at_risk(returns: Returns, share: float) -> float:
    """The historical quantile of returns, interpolated linearly: negative where money is lost."""
    return float(np.percentile(returns, 100 * share))


def conditional_value_at_risk(returns: Returns, share: float) -> float:
    """The mean of the lowest returns: of one, and of this share of the others."""
    last = int((len(returns) - 1) * share)
    return float(np.partition(returns, last)[: last + 1].mean())


def beta(returns: Returns, reference: Returns) -> float:
    """The slope of the returns on the benchmark's, by least squares."""
    centred = reference - reference.mean()
    variance = np.square(centred).mean()
    return float((centred * returns).mean() / variance) if variance >= _LEAST_VARIANCE else np.nan


def alpha(returns: Returns, reference: Returns) -> float:
    """The mean return that beta does not explain, compounded over a year (Jensen, 1968)."""
    unexplained = returns - beta(returns, reference) * reference
    return float((1 + unexplained.mean()) ** SESSIONS_A_YEAR - 1)


def tracking_error(returns: Returns, reference: Returns) -> float:
    """The annual volatility of the returns less the benchmark's."""
    return annual_volatility(returns - reference)


def information_ratio(returns: Returns, reference: Returns) -> float:
    """The annual mean of the returns less the benchmark's, over the tracking error."""
    return sharpe_ratio(returns - reference)


def _growth(returns: Returns) -> Returns:
    return np.concatenate([[1.0], np.cumprod(1 + returns)])


def _deviation(returns: Returns) -> np.float64:
    """Exactly 0 for equal returns, which rounding lets differ in their last bits."""
    variance = returns.var(ddof=1)
    return np.sqrt(variance) if variance >= _LEAST_VARIANCE else np.float64(0)


OWN: Final[dict[str, Callable[..., float]]] = {
    "total_return": total_return,
    "annual_return": annual_return,
    "annual_volatility": annual_volatility,
    "sharpe_ratio": sharpe_ratio,
    "sortino_ratio": sortino_ratio,
    "calmar_ratio": calmar_ratio,
    "max_drawdown": max_drawdown,
    "current_drawdown": current_drawdown,
    "value_at_risk_95": lambda r: value_at_risk(r, 0.05),
    "value_at_risk_99": lambda r: value_at_risk(r, 0.01),
    "conditional_value_at_risk_95": lambda r: conditional_value_at_risk(r, 0.05),
    "conditional_value_at_risk_99": lambda r: conditional_value_at_risk(r, 0.01),
}
RELATIVE: Final[dict[str, Callable[..., float]]] = {
    "alpha": alpha,
    "beta": beta,
    "tracking_error": tracking_error,
    "information_ratio": information_ratio,
}
