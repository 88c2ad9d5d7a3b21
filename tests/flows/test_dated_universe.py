"""Changes of the universe beside a published index: none changes what is published."""

from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine

import sandbox
from autoindex.errors import InvalidRequest
from autoindex.market_data.bars import Bars
from autoindex.requests import ComputeIndexRequest, Frequency, Strategy
from autoindex.settings import Settings
from autoindex.storage.cache import from_settings
from autoindex.storage.index import allocations, corrections
from autoindex.storage.index.publications import Published
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets, membership_changes, universe_file
from autoindex.storage.universe.universe_import import UniverseImport, import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from flows import compute_index as flow
from flows.attempts.runtime import Runtime

DATA = Path(sandbox.__file__).parent / "data"
TODAY = date(2022, 12, 28)
ROWS = {row.symbol: row for row in universe_file.read(DATA / "universe.csv")}
STOCKS = [symbol for symbol, row in ROWS.items() if row.role == "constituent"]


@pytest.fixture(scope="module")
def closes() -> pd.DataFrame:
    """A year of real closes."""
    file = DATA / "sp500_20_closes.csv.gz"
    whole = pd.read_csv(file, index_col="Date", parse_dates=["Date"])
    return whole.loc["2021-12-27":"2022-12-28"]


@pytest.fixture
def run(engine: Engine, settings: Settings) -> Runtime:
    now = datetime(2022, 12, 28, 22, tzinfo=UTC)
    return Runtime(settings, engine, from_settings(settings), now, uuid4())


def add(run: Runtime, *rows: UniverseRow) -> None:
    with run.engine.begin() as connection:
        import_universe(connection, rows, today=TODAY)


def store(run: Runtime, closes: pd.DataFrame, *symbols: str) -> None:
    with run.engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        stored_prices.upsert(connection, [bars(closes[symbol]) for symbol in symbols], ids)


def bars(close: pd.Series) -> Bars:
    days, values = close.index.to_numpy().astype("datetime64[D]"), close.to_numpy()
    volume = np.full(len(close), -1)
    return Bars(str(close.name), days, values, values, values, values, volume)


def compute(run: Runtime, **request: object) -> Published:
    asked = ComputeIndexRequest.model_validate(request)
    with disable_run_logger():
        loaded = flow.load_prices.fn(run, asked)
        done = flow.store.fn(run, asked, loaded, flow.compute.fn(loaded, asked))
    assert done is not None
    return done


def weights(run: Runtime, strategy: Strategy = Strategy.COMPOSITE) -> pd.DataFrame:
    with run.engine.connect() as connection:
        universe = assets.list_assets(connection)
        return allocations.load(connection, strategy, Frequency.MONTHLY, universe).weights


@pytest.mark.parametrize("strategy", Strategy)
def test_a_stock_that_is_added_changes_no_published_level(
    run: Runtime, closes: pd.DataFrame, strategy: Strategy
) -> None:
    """Even where everything is computed again; it is bought at the next rebalance."""
    others = [symbol for symbol in STOCKS if symbol != "AAPL"]
    add(run, *(ROWS[symbol] for symbol in others))
    store(run, closes[:"2022-11-29"], *others)
    asked = {"strategy": strategy}
    assert compute(run, **asked).added > 150
    add(run, ROWS["AAPL"])
    store(run, closes, "AAPL")
    with run.engine.connect() as connection:
        assert not corrections.load(connection, strategy, Frequency.MONTHLY)
    # Even where everything is computed again.
    assert compute(run, **asked, start_date="2021-12-27", end_date="2022-11-29").changed == 0
    store(run, closes, *others)
    assert compute(run, **asked) == Published(added=20, changed=0)
    found = weights(run, strategy)
    assert list(found.index[-2:].strftime("%m-%d")) == ["11-01", "12-01"]
    assert "AAPL" not in found or not found["AAPL"][:"2022-11-30"].any()
    # Momentum has no weight for a stock that has fallen.
    assert strategy is Strategy.MOMENTUM or found["AAPL"]["2022-12-01"] > 0


def test_a_stock_that_is_deactivated_stays_in_the_past(run: Runtime, closes: pd.DataFrame) -> None:
    """Also where a close of another is corrected by 0.1 %."""
    corrected = closes.copy()
    corrected.loc["2022-06-01", "KO"] *= 1.001
    add(run, *(ROWS[symbol] for symbol in STOCKS))
    store(run, corrected, *STOCKS)
    compute(run, strategy="equal_weight")
    compute(run)
    store(run, closes, "KO")
    compute(run, start_date="2021-12-27")
    before = weights(run)
    with run.engine.begin() as connection:
        assert membership_changes.deactivate(connection, ["AAPL", "XOM"], "ann") == 2
    store(run, corrected, "KO")
    changed = compute(run, start_date="2021-12-27")
    assert changed.changed > 0
    # What was computed of the corrected closes before, it is again.
    assert compute(run, strategy="equal_weight", start_date="2021-12-27").changed == 0
    assert (weights(run)[["AAPL", "XOM"]] > 0).equals(before[["AAPL", "XOM"]] > 0)


def test_more_shares_change_no_published_level(run: Runtime, closes: pd.DataFrame) -> None:
    add(run, *(ROWS[symbol] for symbol in STOCKS))
    store(run, closes, *STOCKS)
    asked = {"strategy": "market_cap"}
    compute(run, **asked)
    aapl = ROWS["AAPL"]
    tripled = {"shares_outstanding": 3 * (aapl.shares_outstanding or 0)}
    add(run, aapl.model_copy(update=tripled))
    assert compute(run, **asked, start_date="2021-12-27").changed == 0


def test_a_held_stock_may_become_the_benchmark(run: Runtime, closes: pd.DataFrame) -> None:
    """It is held to the next rebalance; then it is only compared with."""
    add(run, *(ROWS[symbol] for symbol in STOCKS))
    store(run, closes[:"2022-11-15"], *STOCKS)
    asked = {"strategy": "equal_weight"}
    compute(run, **asked)
    add(run, ROWS["KO"].model_copy(update={"role": "benchmark"}))
    store(run, closes[:"2022-11-30"], *STOCKS)
    assert compute(run, **asked).added == 10
    assert weights(run, Strategy.EQUAL_WEIGHT)["KO"].iloc[-1] > 0
    store(run, closes, *STOCKS)
    assert compute(run, **asked) == Published(added=19, changed=0)
    found = weights(run, Strategy.EQUAL_WEIGHT)
    assert f"{found.index[-1]:%Y-%m-%d}" == "2022-12-01"
    assert found["KO"].iloc[-1] == 0
    assert compute(run, **asked, start_date="2021-12-27").changed == 0


def test_a_membership_that_is_backdated_waits_until_somebody_asks(
    run: Runtime, closes: pd.DataFrame
) -> None:
    add(run, *(ROWS[symbol] for symbol in STOCKS if symbol != "AAPL"))
    store(run, closes, *(symbol for symbol in STOCKS if symbol != "AAPL"))
    asked = {"strategy": Strategy.EQUAL_WEIGHT}
    compute(run, **asked)
    wanted = ROWS["AAPL"].model_copy(update={"member_from": date(2022, 6, 15)})
    with run.engine.begin() as connection:
        importing = UniverseImport(connection, TODAY, "ann", backdate=True)
        assert importing.refusal(wanted) is None
        importing.store([wanted])
    store(run, closes, "AAPL")
    assert compute(run, **asked) == Published(added=0, changed=0)
    with run.engine.connect() as connection:
        found = corrections.load(connection, Strategy.EQUAL_WEIGHT, Frequency.MONTHLY)
    assert (found[0].symbol, found[0].session) == ("AAPL", date(2022, 6, 15))
    assert {one.session for one in found if one.pending} == {date(2022, 6, 15)}
    # The first decision after it is of 1 July, and moves the level of the session after it.
    assert compute(run, **asked, start_date="2021-12-27").changed == len(closes["2022-07-05":])
    held = weights(run, Strategy.EQUAL_WEIGHT)["AAPL"] > 0
    assert f"{held[held].index[0]:%m-%d}" == "07-01"


def test_a_second_benchmark_is_refused(run: Runtime, tmp_path: Path) -> None:
    add(run, ROWS["KO"].model_copy(update={"role": "benchmark"}))
    file = tmp_path / "stocks.csv"
    file.write_text("symbol,exchange,currency,name,role\nSPY,NYSE,USD,SPDR,benchmark\n")
    with run.engine.begin() as connection:
        importing = UniverseImport(connection, TODAY, "ann")
        with pytest.raises(InvalidRequest, match="line 2, column role: KO is the benchmark"):
            universe_file.read(file, importing.members(), importing.refusal)


@pytest.mark.parametrize("strategy", [Strategy.MARKET_CAP, Strategy.COMPOSITE])
def test_splits_change_no_weight(run: Runtime, closes: pd.DataFrame, strategy: Strategy) -> None:
    """AAPL 4:1 and GE 1:10, within a month whose weights are those without a split."""
    stocks = ["AAPL", "GE", *(symbol for symbol in STOCKS if symbol not in {"AAPL", "GE"})]
    add(run, *(ROWS[symbol] for symbol in stocks))
    store(run, closes, *stocks)
    asked = {"strategy": strategy}
    compute(run, **asked)
    before = weights(run, strategy)
    with run.engine.begin() as connection:
        for asset in assets.named(connection, ["AAPL", "GE"]):
            factor = 4 if asset.symbol == "AAPL" else 0.1
            restated = closes[asset.symbol] / factor
            stored_prices.replace(connection, bars(restated), asset.id)
    assert compute(run, **asked, start_date="2021-12-27").changed == 0
    after = weights(run, strategy)
    assert before["AAPL"].iloc[-1] > 0
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)
