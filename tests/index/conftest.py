"""The sandbox's real closes."""

from pathlib import Path

import pandas as pd
import pytest

import sandbox

DATA = Path(sandbox.__file__).parent / "data"


@pytest.fixture(scope="session")
def closes() -> pd.DataFrame:
    return pd.read_csv(DATA / "sp500_20_closes.csv.gz", index_col="Date", parse_dates=["Date"])


@pytest.fixture(scope="session")
def benchmark() -> pd.Series:
    frame = pd.read_csv(DATA / "sp500_index.csv.gz", index_col="Date", parse_dates=["Date"])
    return frame["SP500"]


@pytest.fixture(scope="session")
def shares() -> pd.Series:
    return pd.read_csv(DATA / "universe.csv", index_col="symbol")["shares_outstanding"]
