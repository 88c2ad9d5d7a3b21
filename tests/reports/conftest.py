"""Real inputs for reports: the sandbox's twenty stocks, equally weighted, rebalanced monthly."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sandbox
from autoindex.reports.compose import compose
from autoindex.reports.content import ReportContent
from autoindex.reports.inputs import AssetFacts, ReportInputs
from autoindex.requests import ReportType

DATA = Path(sandbox.__file__).parent / "data"


@pytest.fixture(scope="session")
def closes() -> pd.DataFrame:
    return pd.read_csv(DATA / "sp500_20_closes.csv.gz", index_col="Date", parse_dates=["Date"])


@pytest.fixture(scope="session")
def benchmark() -> pd.Series:
    frame = pd.read_csv(DATA / "sp500_index.csv.gz", index_col="Date", parse_dates=["Date"])
    return frame["SP500"]


@pytest.fixture(scope="session")
def assets() -> dict[str, AssetFacts]:
    universe = pd.read_csv(DATA / "universe.csv").query("role == 'constituent'")
    return {
        row["symbol"]: AssetFacts(
            row["name"], row["sector"], date.fromisoformat(row["shares_outstanding_date"])
        )
        for row in universe.to_dict("records")
    }


def equal_weight(closes: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame]:
    """Levels, weights and units with equal weights at each month's first close."""
    months = closes.index.to_period("M")
    rebalances = closes.index[~months.duplicated()]
    level = pd.Series(100.0, index=closes.index[:1])
    units = []
    for position, start in enumerate(rebalances):
        end = rebalances[position + 1] if position + 1 < len(rebalances) else closes.index[-1]
        held = level.iloc[-1] / closes.shape[1] / closes.loc[start]
        units.append(held)
        level = pd.concat([level, (closes.loc[start:end] * held).sum(axis=1).iloc[1:]])
    weights = pd.DataFrame(1.0 / closes.shape[1], index=rebalances, columns=closes.columns)
    return level, weights, pd.DataFrame(units, index=rebalances)


Make = Callable[..., ReportInputs]


@pytest.fixture(scope="session")
def make_inputs(closes: pd.DataFrame, benchmark: pd.Series, assets: dict[str, AssetFacts]) -> Make:
    """Inputs over the sandbox's prices from `start` to `end`, changed by keyword."""

    def make(
        report_type: ReportType = ReportType.MONTHLY,
        start: str = "2018-01-02",
        end: str = "2022-12-28",
        **changes: Any,
    ) -> ReportInputs:
        window = closes.loc[start:end]
        levels, weights, units = equal_weight(window)
        values: dict[str, Any] = {
            "report_type": report_type,
            "levels": levels,
            "benchmark": benchmark.loc[start:end],
            "benchmark_name": "S&P 500",
            "weights": weights,
            "units": units,
            "closes": window,
            "assets": assets,
            "metrics": {"all": {"sharpe_ratio": 1.25, "max_drawdown": -0.25, "beta": None}},
            "generated_at": datetime(2022, 12, 28, 22, tzinfo=UTC),
            "currency": "USD",
            "quality_notes": ("Deferred to the next refresh: AMD.",),
            "sample_data": True,
        }
        return ReportInputs(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def content(make_inputs: Make) -> ReportContent:
    """A monthly report over five years."""
    return compose(make_inputs())


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20221228)
