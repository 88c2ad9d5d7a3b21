"""The same index by other libraries: `bt`, and `vectorbt` where it is installed."""

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import bt
import numpy as np
import pandas as pd


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
