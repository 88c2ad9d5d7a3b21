"""The stored pro-forma beside the decision that a later computation makes."""

# ruff: noqa: F811  fixtures that come from another module are imported by name

from datetime import date
from typing import Any

import pandas as pd
import pytest

from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.index import allocations, index_history
from autoindex.storage.index.index_history import Rows, Window
from autoindex.storage.universe import assets, membership_changes
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from flows.attempts.runtime import Runtime
from tests.flows.test_compute_index import closes, compute, run, store  # noqa: F401  fixtures

KNOWN = "2021-02-16"
NEXT = {
    Frequency.DAILY: date(2021, 2, 17),
    Frequency.WEEKLY: date(2021, 2, 22),
    Frequency.MONTHLY: date(2021, 3, 1),
}


def foreseen(run: Runtime, strategy: Strategy, frequency: Frequency) -> tuple[Rows, pd.DataFrame]:
    window = Window(strategy, frequency)
    with run.engine.connect() as connection:
        found = index_history.pro_forma(connection, window)
    names = ["symbol", "weight", "current", "trade"]
    return found, pd.DataFrame(found.rows, columns=names).set_index("symbol")


def standing(closes: pd.DataFrame) -> pd.DataFrame:
    later = closes.copy()
    later.loc[later.index > KNOWN] = closes.loc[KNOWN].to_numpy()
    return later


@pytest.mark.parametrize("frequency", NEXT)
@pytest.mark.parametrize("strategy", Strategy)
def test_the_later_decision_is_the_one_foreseen(
    run: Runtime, closes: pd.DataFrame, strategy: Strategy, frequency: Frequency
) -> None:
    """One stock leaves after the newest session, and another one joins at the next rebalance."""
    closes["GE"] = closes["KO"].to_numpy()[::-1]
    joins = UniverseRow(
        symbol="GE",
        exchange="NYSE",
        currency="USD",
        name="GE",
        shares_outstanding=3e9,
        member_from=NEXT[frequency],
    )
    with run.engine.begin() as connection:
        import_universe(connection, [joins])
    store(run, closes[:KNOWN])
    asked: dict[str, Any] = {"strategy": strategy, "frequency": frequency}
    published = compute(run, **asked)
    with run.engine.begin() as connection:
        membership_changes.deactivate(connection, ["KO"], "test")
    pd.testing.assert_series_equal(compute(run, **asked), published, check_exact=True)

    about, found = foreseen(run, strategy, frequency)

    assert about.about["decided_with"] == date.fromisoformat(KNOWN)
    assert about.about["next_rebalance"] == NEXT[frequency]
    assert about.total == len(found)
    assert found["current"].sum() == pytest.approx(1)
    assert found["weight"].get("KO", 0) == found["current"].get("GE", 0) == 0
    assert found["weight"].get("GE", 0) > 0
    assert about.about["turnover"] == pytest.approx(found["trade"].abs().sum() / 2)

    later = standing(closes)
    store(run, later[: str(NEXT[frequency])])
    compute(run, **asked)
    with run.engine.connect() as connection:
        universe = assets.list_assets(connection)
        day = NEXT[frequency]
        decided = allocations.load(connection, strategy, frequency, universe, day, day)
    expected = decided.weights.iloc[0].reindex(found.index, fill_value=0.0)
    pd.testing.assert_series_equal(found["weight"], expected, rtol=1e-12, check_names=False)


def test_a_computation_without_news_changes_no_version(run: Runtime, closes: pd.DataFrame) -> None:
    store(run, closes)
    compute(run)
    with run.engine.connect() as connection:
        before = versions.current(connection, versions.INDEX)
    compute(run)
    with run.engine.connect() as connection:
        assert versions.current(connection, versions.INDEX) == before
    with run.engine.begin() as connection:
        membership_changes.deactivate(connection, ["KO"], "test")
    compute(run)
    with run.engine.connect() as connection:
        assert versions.current(connection, versions.INDEX) == before + 1


def test_a_delisted_holding_is_sold_at_its_last_close(run: Runtime, closes: pd.DataFrame) -> None:
    closes.loc["2020-10-06":, "KO"] = float("nan")
    asked: dict[str, Any] = {"strategy": "equal_weight", "frequency": "quarterly"}
    store(run, closes[:"2020-11-30"])
    compute(run, **asked)
    store(run, closes[:"2020-12-30"])
    compute(run, **asked)
    _, found = foreseen(run, Strategy.EQUAL_WEIGHT, Frequency.QUARTERLY)
    with run.engine.connect() as connection:
        universe = assets.list_assets(connection)
        day = date(2020, 10, 1)
        which = Strategy.EQUAL_WEIGHT, Frequency.QUARTERLY, universe, day, day
        units = allocations.load(connection, *which).units.iloc[0]
    worth = units * closes[:"2020-12-30"].ffill().iloc[-1]
    expected = (worth / worth.sum()).reindex(found.index)
    pd.testing.assert_series_equal(found["current"], expected, rtol=1e-12, check_names=False)
    assert found["weight"].to_dict() == {"AAPL": 0.5, "KO": 0, "XOM": 0.5}
