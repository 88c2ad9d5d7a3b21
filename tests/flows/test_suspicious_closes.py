"""A close that jumps like a split: it counts once the next session or somebody confirms it."""

# ruff: noqa: F811  fixtures that come from another module are imported by name

from datetime import date

import numpy as np
import pandas as pd
import pytest

from autoindex.requests import Strategy
from autoindex.storage.index import level_versions
from autoindex.storage.prices import fetches, stored_prices, suspicious_closes
from autoindex.storage.universe import assets
from flows.attempts.runtime import Runtime
from tests.flows.test_compute_index import (  # noqa: F401  fixtures
    PUBLISHED,
    at,
    at_once,
    bars_of,
    closes,
    compute,
    marked,
    run,
    store,
)

BEFORE, JUMP, NEXT = "2021-03-29", "2021-03-30", "2021-03-31"


@pytest.fixture
def wrong(closes: pd.DataFrame) -> pd.DataFrame:
    """KO splits 2:1 on `JUMP`, and the closes before are not restated."""
    made = closes.copy()
    made.loc[JUMP:, "KO"] = closes.loc[BEFORE, "KO"] / 2
    return made


@pytest.fixture
def held(run: Runtime, wrong: pd.DataFrame) -> pd.Series:
    """An index that is launched before the jump, and then waits; what it has published."""
    store(at(run, f"{BEFORE}T23:30:00+00:00"), wrong[:BEFORE])
    published = compute(at(run, f"{BEFORE}T23:30:00+00:00"))
    store(at(run, f"{JUMP}T23:30:00+00:00"), wrong[:JUMP])
    waited = compute(at(run, f"{JUMP}T23:30:00+00:00"))
    pd.testing.assert_series_equal(waited, published, check_exact=True)
    return published


def assert_final(levels: pd.Series, true: pd.DataFrame, run: Runtime) -> None:
    wanted = at_once(true, Strategy.COMPOSITE)
    pd.testing.assert_series_equal(levels, wanted, rtol=1e-12, check_freq=False)
    assert marked(run) == {}


def test_after_its_deadline_the_session_is_provisional_with_the_close_before(
    run: Runtime, wrong: pd.DataFrame, held: pd.Series
) -> None:
    provisional = compute(at(run, f"{NEXT}T17:00:00+00:00"))
    assert marked(run) == {date(2021, 3, 30): ["KO"]}
    carried = wrong[:JUMP].copy()
    carried.loc[JUMP, "KO"] = carried.loc[BEFORE, "KO"]
    wanted = at_once(carried, Strategy.COMPOSITE)
    pd.testing.assert_series_equal(provisional, wanted, rtol=1e-12, check_freq=False)
    # Again without news: no version.
    assert compute(at(run, f"{NEXT}T18:00:00+00:00")).equals(provisional)


@pytest.mark.parametrize("provisional", [False, True])
def test_a_real_fall_counts_after_the_next_session(
    run: Runtime, wrong: pd.DataFrame, held: pd.Series, provisional: bool
) -> None:
    if provisional:
        compute(at(run, f"{NEXT}T17:00:00+00:00"))
    evening = at(run, f"{NEXT}T20:30:00+00:00")
    store(evening, wrong)
    assert_final(compute(evening), wrong, run)
    with run.engine.connect() as connection:
        made = level_versions.history(connection, *PUBLISHED, date(2021, 3, 30))
    final = ["new sessions"] if not provisional else ["new sessions", f"completed: {JUMP}"]
    assert [one.cause for one in made] == final


@pytest.mark.parametrize("provisional", [False, True])
def test_a_split_whose_history_is_restated_later_makes_no_step(
    run: Runtime, closes: pd.DataFrame, wrong: pd.DataFrame, held: pd.Series, provisional: bool
) -> None:
    if provisional:
        compute(at(run, f"{NEXT}T17:00:00+00:00"))
    evening = at(run, f"{NEXT}T23:30:00+00:00")
    true = wrong.copy()
    true.loc[:BEFORE, "KO"] /= 2
    store(evening, closes[["AAPL", "XOM"]])
    with run.engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        stored_prices.replace(connection, bars_of(true["KO"]), ids["KO"])
    # In a capitalisation, twice the shares at half the price are the same.
    unsplit = wrong.copy()
    unsplit.loc[JUMP:, "KO"] *= 2
    assert_final(compute(evening), unsplit, run)


def test_a_confirmed_close_counts_at_once(
    run: Runtime, wrong: pd.DataFrame, held: pd.Series
) -> None:
    with run.engine.begin() as connection:
        assert suspicious_closes.confirm(connection, "KO", date(2021, 3, 30), "me")
    assert_final(compute(at(run, f"{JUMP}T23:45:00+00:00")), wrong[:JUMP], run)


def test_a_jump_on_the_last_day_of_a_stock_counts_once_the_next_has_no_bar(
    run: Runtime, wrong: pd.DataFrame, held: pd.Series
) -> None:
    wrong.loc[NEXT, "KO"] = np.nan
    early, evening = (at(run, f"{NEXT}T{time}:00+00:00") for time in ("22:30", "23:30"))
    store(early, wrong)
    # Both sessions depend on it.
    compute(at(run, "2021-04-01T17:00:00+00:00"))
    assert marked(run) == {date(2021, 3, 30): ["KO"], date(2021, 3, 31): ["KO"]}
    with run.engine.begin() as connection:
        (ko,) = assets.named(connection, ["KO"])
        fetches.note(connection, [ko.id], [], evening.now)
    assert_final(compute(at(run, "2021-04-01T18:00:00+00:00")), wrong, run)


def test_nothing_waits_before_the_launch_nor_in_what_is_published(
    run: Runtime, wrong: pd.DataFrame
) -> None:
    evening = at(run, f"{JUMP}T23:30:00+00:00")
    store(evening, wrong[:JUMP])
    assert_final(compute(evening), wrong[:JUMP], run)
    assert_final(compute(evening, start_date="2021-03-30"), wrong[:JUMP], run)


def test_a_new_stock_jumps_from_nothing(run: Runtime, wrong: pd.DataFrame) -> None:
    store(run, wrong[JUMP:JUMP])
    with run.engine.connect() as connection:
        assert suspicious_closes.find(connection, assets.list_assets(connection)) == {}
