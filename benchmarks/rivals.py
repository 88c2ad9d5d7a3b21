"""The same by other libraries: levels by `bt` and `vectorbt`, metrics by `empyrical`."""

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import bt
import empyrical
import numpy as np
import pandas as pd

EMPYRICAL: Final[tuple[Callable[..., Any], ...]] = (
    empyrical.cum_returns_final,
    empyrical.annual_return,
    empyrical.annual_volatility,
    empyrical.sharpe_ratio,
    empyrical.sortino_ratio,
    empyrical.calmar_ratio,
    empyrical.max_drawdown,
    *(partial(empyrical.value_at_risk, cutoff=share) for share in (0.05, 0.01)),
    *(partial(empyrical.conditional_value_at_risk, cutoff=share) for share in (0.05, 0.01)),
)
EMPYRICAL_RELATIVE: Final = (empyrical.alpha, empyrical.beta, empyrical.excess_sharpe)


def bt_levels(closes: pd.DataFrame, weights: pd.DataFrame) -> pd.Series:
    """Levels by `bt`, which is handed the weights."""
    steps = [
        bt.algos.RunOnDate(*weights.index),
        bt.algos.SelectAll(),
        bt.algos.WeighTarget(weights),
        bt.algos.Rebalance(),
    ]
    test = bt.Backtest(
        bt.Strategy("index", steps), closes, integer_positions=False, progress_bar=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels: pd.Series = bt.run(test).prices["index"]
    return levels


def vectorbt_levels() -> Callable[[pd.DataFrame, pd.DataFrame], pd.Series] | None:
    """The same by `vectorbt`; None where it is not installed."""
    if find_spec("vectorbt") is None:
        return None
    import vectorbt  # noqa: PLC0415

    def levels(closes: pd.DataFrame, weights: pd.DataFrame) -> pd.Series:
        orders = np.full(closes.shape, np.nan)
        orders[closes.index.get_indexer(weights.index)] = weights.to_numpy()
        portfolio = vectorbt.Portfolio.from_orders(
            closes,
            size=orders,
            size_type="targetpercent",
            group_by=True,
            cash_sharing=True,
            call_seq="auto",
            init_cash=100.0,
            freq="1D",
        )
        value: pd.Series = portfolio.value()
        return value

    return levels
