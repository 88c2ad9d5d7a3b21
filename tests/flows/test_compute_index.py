"""Computing, storing and going on, on a real PostgreSQL: published history stays as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, delete, text, update

from autoindex import sessions
from autoindex.errors import IndexImpossible
from autoindex.index import compute as index
from autoindex.index.shares import ShareCount
from autoindex.market_data.bars import Bars
from autoindex.requests import ComputeIndexRequest, Frequency, Strategy
from autoindex.settings import Settings
from autoindex.storage.cache import from_settings
from autoindex.storage.index import (
    allocations,
    close_blocks,
    corrections,
    index_history,
    level_versions,
    levels,
)
from autoindex.storage.index import index_metrics as stored_metrics
from autoindex.storage.index.corrections import Correction
from autoindex.storage.index.index_history import Window
from autoindex.storage.prices import fetches, stored_prices
from autoindex.storage.tables import assets as assets_table
from autoindex.storage.tables import prices as prices_table
from autoindex.storage.universe import assets, membership_changes
from autoindex.storage.universe.share_counts import StoredCount
from autoindex.storage.universe.universe_import import UniverseImport, import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from flows import compute_index as flow
from flows.attempts.runtime import Runtime
from flows.visibility import disclosure

INDEX = sessions.between(date(2020, 1, 2), date(2021, 3, 31))
SYMBOLS = ("AAPL", "KO", "XOM")


@pytest.fixture
def run(engine: Engine, settings: Settings) -> Runtime:
    """A runtime over three stocks; prices are stored by `store`."""
    rows = [
        UniverseRow(
            symbol=symbol, exchange="NYSE", currency="USD", name=symbol, shares_outstanding=10**9
        )
        for symbol in SYMBOLS
    ]
    with engine.begin() as connection:
        import_universe(connection, rows)
    now = datetime(2021, 4, 1, tzinfo=UTC)
    return Runtime(settings, engine, from_settings(settings), now, uuid4())


@pytest.fixture
def closes() -> pd.DataFrame:
    random = np.random.default_rng(1)
    walks = 50 * np.exp(np.cumsum(random.normal(0, 0.02, (len(INDEX), 3)), axis=0))
    return pd.DataFrame(walks, INDEX, SYMBOLS)


def store(run: Runtime, closes: pd.DataFrame) -> None:
    with run.engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        bars = [bars_of(closes[symbol].dropna()) for symbol in closes]
        stored_prices.upsert(connection, bars, ids)
        # What has no bar was asked for.
        fetches.note(connection, [ids[symbol] for symbol in closes], [], run.now)


def bars_of(close: pd.Series) -> Bars:
    days = close.index.to_numpy().astype("datetime64[D]")
    values = close.to_numpy()
    volume = np.full(len(close), -1)
    return Bars(str(close.name), days, values, values, values, values, volume)


def compute(run: Runtime, **request: object) -> pd.Series:
    """What the flow's tasks do, one after the other; the levels stored afterwards."""
    asked = ComputeIndexRequest.model_validate(request)
    with disable_run_logger():
        loaded = flow.load_prices.fn(run, asked)
        assert flow.store.fn(run, asked, loaded, flow.compute.fn(loaded, asked)) is not None
    with run.engine.connect() as connection:
        return levels.load(connection, asked.strategy, asked.frequency)


def open_corrections(run: Runtime, strategy: Strategy = Strategy.COMPOSITE) -> list[Correction]:
    with run.engine.connect() as connection:
        return corrections.load(connection, strategy, Frequency.MONTHLY)


def remove_before(run: Runtime, day: date) -> None:
    """What a cleanup leaves."""
    with run.engine.begin() as connection:
        connection.execute(delete(prices_table).where(prices_table.c.session < day))


@contextmanager
def unchanged(run: Runtime, until: str) -> Iterator[None]:
    """Allocations up to a day are the same before and after, to the last bit."""
    with run.engine.connect() as connection:
        universe = assets.list_assets(connection)
        chosen = (Strategy.COMPOSITE, Frequency.MONTHLY, universe)
        before = allocations.load(connection, *chosen, end=date.fromisoformat(until))
    yield
    with run.engine.connect() as connection:
        after = allocations.load(connection, *chosen, end=date.fromisoformat(until))
    pd.testing.assert_frame_equal(before.weights, after.weights, check_exact=True)
    pd.testing.assert_frame_equal(before.units, after.units, check_exact=True)


def test_removing_old_prices_changes_no_published_level(run: Runtime, closes: pd.DataFrame) -> None:
    store(run, closes[:"2020-12-31"])
    published = compute(run)
    remove_before(run, date(2020, 9, 1))
    store(run, closes["2021-01-01":])
    with unchanged(run, "2020-12-31"):
        longer = compute(run)
    pd.testing.assert_series_equal(longer[:"2020-12-31"], published, check_exact=True)
    # Beside one computed at once from everything there ever was.
    whole = index.compute(
        closes,
        strategy=Strategy.COMPOSITE,
        frequency=Frequency.MONTHLY,
        shares=[ShareCount(symbol, 1e9) for symbol in SYMBOLS],
    )
    pd.testing.assert_series_equal(longer, whole.levels, rtol=1e-12, check_freq=False)


def test_a_start_before_the_stored_prices_leaves_what_was_published(
    run: Runtime, closes: pd.DataFrame
) -> None:
    store(run, closes)
    published = compute(run)
    remove_before(run, date(2020, 9, 1))
    again = compute(run, start_date="2020-01-02")
    # Of the first 60 sessions that are left none has a full lookback: no decision can be renewed.
    kept = slice(None, "2020-11-24")
    pd.testing.assert_series_equal(again[kept], published[kept], check_exact=True)
    pd.testing.assert_series_equal(again, published, rtol=1e-12)


def test_a_start_date_computes_again_from_there_only(run: Runtime, closes: pd.DataFrame) -> None:
    store(run, closes)
    published = compute(run)
    store(run, closes.assign(KO=closes["KO"] ** 1.2))
    again = compute(run, start_date="2021-01-15")
    pd.testing.assert_series_equal(again[:"2021-01-14"], published[:"2021-01-14"], check_exact=True)
    assert (again["2021-01-19":] != published["2021-01-19":]).all()
    # What changed before that day still waits for somebody to ask.
    pd.testing.assert_series_equal(compute(run), again, check_exact=True)
    assert [one.session for one in open_corrections(run)] == [date(2020, 1, 2)]
    whole = at_once(closes.assign(KO=closes["KO"] ** 1.2), Strategy.COMPOSITE)
    asked = compute(run, start_date="2020-01-02")
    pd.testing.assert_series_equal(asked, whole, rtol=1e-12, check_freq=False)
    assert not open_corrections(run)


@pytest.mark.parametrize("strategy", [Strategy.COMPOSITE, Strategy.EQUAL_WEIGHT])
def test_a_new_index_begins_with_its_start_date(
    run: Runtime, closes: pd.DataFrame, strategy: Strategy
) -> None:
    """Not on one of the sessions before it, whose closes it decides with."""
    store(run, closes)
    found = compute(run, strategy=strategy, start_date="2020-06-10")
    assert (found.index[0], found.iloc[0]) == (pd.Timestamp("2020-06-10"), 100)


PUBLISHED = (Strategy.COMPOSITE, Frequency.MONTHLY)
STRATEGIES = (Strategy.COMPOSITE, Strategy.EQUAL_WEIGHT)


def corrected(closes: pd.DataFrame, day: str) -> pd.DataFrame:
    """One close that the provider has restated since."""
    other = closes.copy()
    other.loc[day, "KO"] *= 1.1
    return other


def at_once(closes: pd.DataFrame, strategy: Strategy) -> pd.Series:
    shares = [ShareCount(symbol, 1e9) for symbol in SYMBOLS]
    return index.compute(
        closes, strategy=strategy, frequency=Frequency.MONTHLY, shares=shares
    ).levels


def test_a_correction_is_in_every_index_that_is_computed_next(
    run: Runtime, closes: pd.DataFrame
) -> None:
    """Whoever stored it may have failed before it came to the index; others knew nothing of it."""
    store(run, closes)
    published = {strategy: compute(run, strategy=strategy) for strategy in STRATEGIES}
    store(run, corrected(closes, "2021-03-23"))
    for strategy in STRATEGIES:
        renewed, whole = compute(run, strategy=strategy), published[strategy]
        known = slice(None, "2021-03-22")
        pd.testing.assert_series_equal(renewed[known], whole[known], check_exact=True)
        wanted = at_once(corrected(closes, "2021-03-23"), strategy)
        pd.testing.assert_series_equal(renewed, wanted, rtol=1e-12, check_freq=False)
        assert not open_corrections(run, strategy)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closes in blocks of as few sessions as there may be."""
    monkeypatch.setattr(close_blocks, "_CLOSES", 0)
    monkeypatch.setattr(close_blocks, "_FEWEST_SESSIONS", 130)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_blocks_of_closes_change_no_bit(
    run: Runtime, closes: pd.DataFrame, strategy: Strategy, request: pytest.FixtureRequest
) -> None:
    gaps = closes.copy()
    gaps.iloc[40:44, 0], gaps.iloc[180:189, 0], gaps.iloc[250:, 1] = np.nan, np.nan, np.nan
    store(run, gaps)
    asked = ComputeIndexRequest(strategy=strategy)
    with disable_run_logger():
        at_once = flow.compute.fn(flow.load_prices.fn(run, asked), asked)
        request.getfixturevalue("small_blocks")
        loaded = flow.load_prices.fn(run, asked)
        in_blocks = flow.compute.fn(loaded, asked)
    assert len(loaded.closes.earlier) == 2
    pd.testing.assert_series_equal(in_blocks.levels, at_once.levels, check_exact=True)
    assert in_blocks.metrics == at_once.metrics
    assert in_blocks.series.notes == at_once.series.notes
    assert in_blocks.series.current.equals(at_once.series.current)
    for name in ("asset_id", "weight", "units"):
        joined = np.concatenate([part.columns[name] for part in in_blocks.series.held])
        np.testing.assert_array_equal(joined, at_once.series.held[0].columns[name])
    assert compute(run, strategy=strategy).equals(at_once.levels)


@pytest.mark.usefixtures("small_blocks")
def test_a_split_between_two_blocks_is_not_computed_with(
    run: Runtime, closes: pd.DataFrame
) -> None:
    store(run, closes)
    asked, split = ComputeIndexRequest(), closes["AAPL"] / 4
    with disable_run_logger():
        loaded = flow.load_prices.fn(run, asked)
        with run.engine.begin() as connection:
            ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
            stored_prices.replace(connection, bars_of(split), ids["AAPL"])
        assert flow.compute.fn(loaded, asked) is None
    wanted = at_once(closes, Strategy.COMPOSITE)
    pd.testing.assert_series_equal(compute(run), wanted, rtol=1e-9, check_freq=False)


def test_a_split_during_a_computation_moves_no_level(run: Runtime, closes: pd.DataFrame) -> None:
    store(run, closes[:"2021-02-26"])
    compute(run)
    # The next session decides a rebalance.
    store(run, closes[:"2021-03-01"])
    asked = ComputeIndexRequest()
    split = closes["AAPL"] / 4
    with disable_run_logger():
        loaded = flow.load_prices.fn(run, asked)
        computed = flow.compute.fn(loaded, asked)
        with run.engine.begin() as connection:
            ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
            stored_prices.replace(connection, bars_of(split[:"2021-03-01"]), ids["AAPL"])
        assert flow.store.fn(run, asked, loaded, computed) is None
    compute(run)
    store(run, closes.assign(AAPL=split))
    wanted = at_once(closes, Strategy.COMPOSITE)
    pd.testing.assert_series_equal(compute(run), wanted, rtol=1e-9, check_freq=False)
    assert not open_corrections(run)


def test_an_older_correction_waits_until_somebody_asks(run: Runtime, closes: pd.DataFrame) -> None:
    store(run, closes)
    published = compute(run)
    first_of_window = sessions.back(date(2021, 3, 31), 9)
    last_before_it = sessions.back(date(2021, 3, 31), 10)
    store(run, corrected(closes, str(last_before_it)))
    pd.testing.assert_series_equal(compute(run), published, check_exact=True)
    (waiting,) = open_corrections(run)
    assert (waiting.symbol, waiting.session) == ("KO", last_before_it)
    assert waiting.pending
    # In the window of the newest sessions a correction is applied, alone.
    both = corrected(corrected(closes, str(last_before_it)), str(first_of_window))
    store(run, both)
    again = compute(run)
    known = slice(None, str(last_before_it))
    pd.testing.assert_series_equal(again[known], published[known], check_exact=True)
    alone = at_once(corrected(closes, str(first_of_window)), Strategy.COMPOSITE)
    pd.testing.assert_series_equal(again, alone, rtol=1e-12, check_freq=False)
    assert again[str(first_of_window)] != published[str(first_of_window)]
    assert open_corrections(run) == [waiting]
    asked = compute(run, start_date=str(last_before_it))
    wanted = at_once(both, Strategy.COMPOSITE)
    pd.testing.assert_series_equal(asked, wanted, rtol=1e-12, check_freq=False)
    assert not open_corrections(run)


def test_a_waiting_correction_enters_no_level_that_is_computed_after_it(
    run: Runtime, closes: pd.DataFrame
) -> None:
    """It lies on the session before those that another correction has computed again."""
    store(run, closes[:"2021-03-30"])
    compute(run)
    due = corrected(closes, "2021-03-17")
    both = corrected(due, "2021-03-16")
    store(run, both[:"2021-03-30"])
    again = compute(run)
    wanted = at_once(due[:"2021-03-30"], Strategy.COMPOSITE)
    pd.testing.assert_series_equal(again, wanted, rtol=1e-12, check_freq=False)
    (waiting,) = open_corrections(run)
    assert (waiting.session, waiting.pending) == (date(2021, 3, 16), True)
    # Nor where somebody asks for levels after it.
    assert compute(run, start_date="2021-03-17").equals(again)
    applied = compute(run, start_date="2021-03-16")
    wanted = at_once(both[:"2021-03-30"], Strategy.COMPOSITE)
    pd.testing.assert_series_equal(applied, wanted, rtol=1e-12, check_freq=False)


def test_a_return_that_is_restated_and_waits_makes_no_step_in_new_levels(
    run: Runtime, closes: pd.DataFrame
) -> None:
    """A split in the month of the holdings, which the provider had forgotten, and a correction."""
    asked = {"strategy": Strategy.EQUAL_WEIGHT}
    forgotten = closes.copy()
    forgotten.loc["2021-03-04":, "KO"] /= 2
    store(run, forgotten[:"2021-03-30"])
    published = compute(run, **asked)
    true = forgotten.copy()
    true.loc[:"2021-03-03", "KO"] /= 2
    with run.engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        stored_prices.replace(connection, bars_of(true["KO"]), ids["KO"])
    store(run, true)
    after = compute(run, **asked)
    pd.testing.assert_series_equal(after[:"2021-03-30"], published, check_freq=False)
    returns = at_once(true, Strategy.EQUAL_WEIGHT).pct_change()
    assert after.pct_change().iloc[-1] == pytest.approx(returns.iloc[-1], rel=1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_a_cleanup_has_taken_renews_nothing(
    run: Runtime, closes: pd.DataFrame, strategy: Strategy
) -> None:
    """Neither a correction of it, nor a stock that is new and has older prices."""
    store(run, closes)
    published = compute(run, strategy=strategy)
    store(run, corrected(closes, "2020-06-15"))
    remove_before(run, date(2020, 9, 1))
    with run.engine.begin() as connection:
        connection.execute(update(assets_table).values(prices_kept_from=date(2020, 9, 1)))
    again = compute(run, strategy=strategy)
    pd.testing.assert_series_equal(again[:"2020-09-01"], published[:"2020-09-01"], check_exact=True)
    pd.testing.assert_series_equal(again, published, rtol=1e-12)

    new = UniverseRow(symbol="GE", exchange="NYSE", currency="USD", name="GE")
    with run.engine.begin() as connection:
        import_universe(connection, [new])
    store(run, closes[["XOM"]].rename(columns={"XOM": "GE"}))
    renewed = compute(run, strategy=strategy)
    assert (renewed.index == published.index).all()
    pd.testing.assert_series_equal(
        renewed[:"2020-09-01"], published[:"2020-09-01"], check_exact=True
    )
    assert all(one.pending for one in open_corrections(run, strategy))
    asked = compute(run, strategy=strategy, start_date="2020-01-02")
    pd.testing.assert_series_equal(asked[:"2020-09-01"], published[:"2020-09-01"], check_exact=True)
    # It waits for a restore.
    (waiting,) = open_corrections(run, strategy)
    assert (waiting.session, waiting.pending) == (date(2020, 6, 15), True)


def test_a_correction_during_a_computation_is_due_after_it(
    run: Runtime, closes: pd.DataFrame
) -> None:
    store(run, closes)
    compute(run)
    store(run, corrected(closes, "2021-03-26"))
    asked = ComputeIndexRequest()
    with disable_run_logger():
        loaded = flow.load_prices.fn(run, asked)
        store(run, corrected(closes, "2021-03-23"))
        assert flow.store.fn(run, asked, loaded, flow.compute.fn(loaded, asked)) is None
    wanted = at_once(corrected(closes, "2021-03-23"), Strategy.COMPOSITE)
    pd.testing.assert_series_equal(compute(run), wanted, rtol=1e-12, check_freq=False)


@pytest.mark.parametrize("strategy", [Strategy.EQUAL_WEIGHT, Strategy.MOMENTUM])
def test_an_index_goes_on_day_by_day_with_a_delisted_holding(
    run: Runtime, closes: pd.DataFrame, strategy: Strategy
) -> None:
    """Held from a quarter's start, delisted soon after, worth its last price to the next."""
    closes.loc["2020-10-06":, "KO"] = np.nan
    store(run, closes[:"2020-11-30"])
    asked = {"strategy": strategy, "frequency": Frequency.QUARTERLY}
    compute(run, **asked)
    for end in ("2020-12-01", "2020-12-30", "2021-01-05"):
        store(run, closes[:end].iloc[-25:])
        day_by_day = compute(run, **asked)
    whole = index.compute(closes[:"2021-01-05"], strategy=strategy, frequency=Frequency.QUARTERLY)
    pd.testing.assert_series_equal(day_by_day, whole.levels, rtol=1e-12, check_freq=False)


def test_whose_shares_weight_the_past_is_said(run: Runtime) -> None:
    with run.engine.connect() as connection:
        universe = assets.list_assets(connection)
    begins, days = date(2020, 1, 2), [date(2022, 12, 28), date(2021, 3, 31)]
    counts = [
        StoredCount(asset.id, day, 1e9, day, day, 1e9)
        for asset, day in zip(universe, days, strict=False)
    ]
    # What was published without shares, and a newer count, make no difference.
    counts += [
        StoredCount(universe[0].id, date.min, None, date.min, days[0], None),
        StoredCount(universe[1].id, days[0], 2e9, days[0], days[0], 2e9),
    ]
    for strategy in (Strategy.COMPOSITE, Strategy.MARKET_CAP):
        when, unknown = disclosure.of_shares(strategy, begins, universe, counts)
        assert "shares outstanding of 2021-03-31 to 2022-12-28," in when
        assert unknown.endswith("by market capitalisation: XOM")
    (same,) = disclosure.of_shares(Strategy.COMPOSITE, begins, universe[:1], counts)
    assert "of 2022-12-28," in same
    assert not list(disclosure.of_shares(Strategy.COMPOSITE, days[0], universe[:2], counts))
    assert not list(disclosure.of_shares(Strategy.MOMENTUM, begins, universe, counts))


def test_metrics_are_of_the_whole_index_not_of_its_new_sessions(
    run: Runtime, closes: pd.DataFrame
) -> None:
    store(run, closes[:"2021-03-30"])
    compute(run)
    store(run, closes)
    whole = compute(run)
    with run.engine.connect() as connection:
        found = stored_metrics.newest(connection, Strategy.COMPOSITE, Frequency.MONTHLY)
    assert found is not None
    assert found.session == date(2021, 3, 31)
    expected = whole.iloc[-1] / whole.iloc[0] - 1
    assert found.values["all"]["total_return"] == pytest.approx(expected)


def test_why_nothing_can_be_computed_is_said(run: Runtime, closes: pd.DataFrame) -> None:
    store(run, closes.iloc[:50])
    takes = "no active constituent has a full lookback: composite takes 61 sessions .* is 50"
    with pytest.raises(IndexImpossible, match=takes):
        compute(run)
    store(run, closes)
    with run.engine.begin() as connection:
        membership_changes.deactivate(connection, SYMBOLS, "test")
    with pytest.raises(IndexImpossible, match="no constituent is active: import stocks"):
        compute(run)


def test_a_stock_that_has_ended_is_named_and_its_sessions_are_no_gaps(
    run: Runtime, closes: pd.DataFrame
) -> None:
    closes.loc["2020-07-02":"2020-07-06", "AAPL"] = np.nan
    closes.loc["2020-10-06":, "KO"] = np.nan
    store(run, closes)
    asked = ComputeIndexRequest(strategy=Strategy.EQUAL_WEIGHT)
    with disable_run_logger():
        notes = flow.compute.fn(flow.load_prices.fn(run, asked), asked).series.notes
    assert notes == ("2 missing bars carried forward", "KO has no bar since 2020-10-05")


def test_metrics_of_older_sessions_agree_with_their_corrected_levels(
    run: Runtime, closes: pd.DataFrame
) -> None:
    for last in ("2021-03-29", "2021-03-30", "2021-03-31"):
        store(run, closes[:last])
        compute(run)
    store(run, corrected(closes, "2021-03-29"))
    found = compute(run)
    for last in ("2021-03-29", "2021-03-30", "2021-03-31"):
        with run.engine.connect() as connection:
            day = date.fromisoformat(last)
            stored = stored_metrics.newest(connection, *PUBLISHED, until=day)
        assert stored is not None
        assert stored.session == day
        expected = found[last] / found.iloc[0] - 1
        assert stored.values["all"]["total_return"] == pytest.approx(expected, rel=1e-9)


def test_a_published_index_never_starts_again(run: Runtime, closes: pd.DataFrame) -> None:
    """Two months without a refresh, a cleanup at thirty days, a refresh."""
    store(run, closes[:"2021-01-15"])
    published = compute(run)
    remove_before(run, date(2021, 2, 26))
    store(run, closes["2021-02-26":])
    with pytest.raises(IndexImpossible, match=r"restore prices --from 2021-01-15 --to 2021-02-26"):
        compute(run)
    with run.engine.connect() as connection:
        left = levels.load(connection, *PUBLISHED)
    pd.testing.assert_series_equal(left, published, check_exact=True)


def test_a_published_index_never_begins_later(run: Runtime, closes: pd.DataFrame) -> None:
    """Not even where somebody takes out of its first months all that was in them."""
    store(run, closes)
    published = compute(run)
    stock = UniverseRow(symbol="KO", exchange="NYSE", currency="USD", name="KO")
    begun = [{"symbol": one, "name": one, "member_from": date(2020, 9, 1)} for one in SYMBOLS]
    rows = [stock.model_copy(update=values) for values in begun]
    with run.engine.begin() as connection:
        UniverseImport(connection, date(2021, 4, 1), "test", backdate=True).store(rows)
    with pytest.raises(IndexImpossible, match=r"published from 2020-03-30 on, but .* 2020-09-01"):
        compute(run, start_date="2020-01-02")
    with run.engine.connect() as connection:
        left = levels.load(connection, *PUBLISHED)
    pd.testing.assert_series_equal(left, published, check_exact=True)


def test_a_correction_before_the_launch_moves_no_launch(run: Runtime, closes: pd.DataFrame) -> None:
    store(run, closes)
    published = compute(run, strategy="equal_weight", start_date="2021-03-26")
    store(run, corrected(closes, "2021-03-23"))
    again = compute(run, strategy="equal_weight")
    pd.testing.assert_series_equal(again, published, check_exact=True)


def test_every_change_of_a_level_is_a_version_with_its_cause(
    run: Runtime, closes: pd.DataFrame
) -> None:
    store(run, closes[:"2021-03-30"])
    answers = [compute(run)]
    instants = [now(run)]
    steps = (
        (lambda: store(run, corrected(closes[:"2021-03-30"], "2021-03-23")), {}),
        (lambda: store(run, closes), {}),
        (lambda: None, {"start_date": "2021-03-01"}),
        (lambda: store(run, corrected(closes, "2021-03-30")), {"start_date": "2021-03-30"}),
    )
    for change, request in steps:
        change()
        answers.append(compute(run, **request))
        instants.append(now(run))
    for instant, answer in zip(instants, answers, strict=True):
        pd.testing.assert_series_equal(as_of(run, instant), answer, check_exact=True)
    assert as_of(run, datetime(2000, 1, 1, tzinfo=UTC)).empty
    with run.engine.connect() as connection:
        middle = level_versions.history(connection, *PUBLISHED, date(2021, 3, 23))
        last = level_versions.history(connection, *PUBLISHED, date(2021, 3, 30))
    assert [one.level for one in middle] == [answers[n]["2021-03-23"] for n in (0, 1, 2)]
    assert [one.level for one in last] == [answers[n]["2021-03-30"] for n in (0, 4)]
    again = "closes changed: KO from 2021-03-23"
    assert [one.cause for one in middle] == ["new sessions", again, again]
    assert last[-1].cause == "computed again from 2021-03-30 on request"
    assert {one.task_id for one in middle} == {run.task_id}
    assert [one.version for one in middle] == [1, 2, 3]


def now(run: Runtime) -> datetime:
    with run.engine.connect() as connection:
        instant: datetime = connection.execute(text("select clock_timestamp()")).scalar_one()
    return instant


def as_of(run: Runtime, instant: datetime) -> pd.Series:
    """The levels that are answered for an instant."""
    window = Window(*PUBLISHED, as_of=instant)
    with run.engine.connect() as connection:
        page = index_history.levels(connection, window, limit=10_000, offset=0)
    days = pd.DatetimeIndex([row[0] for row in page.rows]).as_unit("ns")
    return pd.Series([row[1] for row in page.rows], days, name="level", dtype=float)


def at(run: Runtime, instant: str) -> Runtime:
    """The same at another instant of the data's clock."""
    return replace(run, now=datetime.fromisoformat(instant))


def test_a_session_waits_for_its_prices_is_provisional_after_its_deadline_and_then_final(
    run: Runtime, closes: pd.DataFrame
) -> None:
    """One of three stocks is refreshed on the last day, of which nothing is decided."""
    store(at(run, "2021-03-30T23:30:00+00:00"), closes[:"2021-03-30"])
    published = compute(at(run, "2021-03-30T23:30:00+00:00"))
    # The day's close is at 20:00 UTC; KO and XOM are asked for, but too early to be served.
    store(at(run, "2021-03-31T20:30:00+00:00"), closes[["AAPL"]])
    store(at(run, "2021-03-31T20:30:00+00:00"), closes[:"2021-03-30"][["KO", "XOM"]])
    for instant in ("2021-03-31T20:30:00+00:00", "2021-04-01T15:59:00+00:00"):
        waited = compute(at(run, instant))
        pd.testing.assert_series_equal(waited, published, check_exact=True)
    provisional = compute(at(run, "2021-04-01T16:00:00+00:00"))
    assert list(provisional.index[-1:]) == [pd.Timestamp("2021-03-31")]
    assert marked(run) == {date(2021, 3, 31): ["KO", "XOM"]}
    instant = now(run)
    # Again without news: no version.
    assert compute(at(run, "2021-04-01T17:00:00+00:00")).equals(provisional)
    assert marked(run) == {date(2021, 3, 31): ["KO", "XOM"]}
    store(at(run, "2021-04-01T18:00:00+00:00"), closes)
    final = compute(at(run, "2021-04-01T18:00:00+00:00"))
    wanted = at_once(closes, Strategy.COMPOSITE)
    pd.testing.assert_series_equal(final, wanted, rtol=1e-12, check_freq=False)
    assert marked(run) == {}
    assert as_of(run, instant).equals(provisional)
    with run.engine.connect() as connection:
        made = level_versions.history(connection, *PUBLISHED, date(2021, 3, 31))
    assert [(one.missing, one.cause) for one in made] == [
        (["KO", "XOM"], "new sessions"),
        (None, "completed: 2021-03-31"),
    ]


def test_a_renamed_stock_that_a_session_is_missing_makes_no_version(
    run: Runtime, closes: pd.DataFrame
) -> None:
    store(at(run, "2021-03-30T23:30:00+00:00"), closes[:"2021-03-30"])
    compute(at(run, "2021-03-30T23:30:00+00:00"))
    store(at(run, "2021-03-31T20:30:00+00:00"), closes[["AAPL", "XOM"]])
    provisional = compute(at(run, "2021-04-01T16:00:00+00:00"))
    with run.engine.begin() as connection:
        assets.rename(connection, "KO", "COKE", "test")
    assert compute(at(run, "2021-04-01T17:00:00+00:00")).equals(provisional)
    assert marked(run) == {date(2021, 3, 31): ["COKE"]}
    with run.engine.connect() as connection:
        assert len(level_versions.history(connection, *PUBLISHED, date(2021, 3, 31))) == 1


def test_what_is_backdated_before_an_index_counts_from_its_first_session(
    run: Runtime, closes: pd.DataFrame
) -> None:
    store(run, closes)
    compute(run)
    compute(run, strategy="equal_weight", start_date="2021-03-01")
    row = UniverseRow(
        symbol="KO", exchange="NYSE", currency="USD", name="KO", member_from=date(2020, 9, 1)
    )
    with run.engine.begin() as connection:
        UniverseImport(connection, date(2021, 4, 1), "test", backdate=True).store([row])
    for strategy, first in (("composite", date(2020, 3, 30)), ("equal_weight", date(2021, 3, 1))):
        (waiting,) = open_corrections(run, Strategy(strategy))
        assert (waiting.session >= first, waiting.pending) == (True, True)
        if strategy == "equal_weight":
            assert waiting.session == first


def test_what_was_asked_for_long_after_the_close_and_is_not_there_is_a_gap(
    run: Runtime, closes: pd.DataFrame
) -> None:
    store(at(run, "2021-03-30T23:30:00+00:00"), closes[:"2021-03-30"])
    compute(at(run, "2021-03-30T23:30:00+00:00"))
    closes.loc["2021-03-31", "KO"] = np.nan
    evening = at(run, "2021-03-31T23:00:00+00:00")
    store(evening, closes)
    assert compute(evening).index[-1] == pd.Timestamp("2021-03-31")
    assert marked(run) == {}


def test_no_rebalance_is_decided_without_a_member_before_its_deadline(
    run: Runtime, closes: pd.DataFrame
) -> None:
    """XOM is no holding of momentum, but a member."""
    closes["XOM"] = np.linspace(90, 50, len(closes))
    closes["KO"] = np.linspace(50, 90, len(closes))
    store(at(run, "2021-02-26T23:59:00+00:00"), closes[:"2021-02-26"])
    asked = {"strategy": Strategy.MOMENTUM}
    before = compute(at(run, "2021-02-26T23:59:00+00:00"), **asked)
    evening = at(run, "2021-03-01T22:00:00+00:00")
    store(evening, closes[:"2021-03-01"][["AAPL", "KO"]])
    assert compute(evening, **asked).equals(before)
    store(evening, closes[:"2021-03-01"])
    assert compute(evening, **asked).index[-1] == pd.Timestamp("2021-03-01")
    # On a day without a decision, nothing waits for it.
    later = at(run, "2021-03-02T22:00:00+00:00")
    store(later, closes[:"2021-03-02"][["AAPL", "KO"]])
    assert compute(later, **asked).index[-1] == pd.Timestamp("2021-03-02")


def test_an_index_is_launched_with_all_of_its_members(run: Runtime, closes: pd.DataFrame) -> None:
    store(run, closes[["AAPL", "KO"]])
    with pytest.raises(IndexImpossible, match="waits for the prices of XOM: refresh them, or"):
        compute(run)
    # The provider does not know it: it has no bar, and never will.
    with run.engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        fetches.note(connection, [ids["XOM"]], [ids["XOM"]], run.now)
    assert compute(run).index[-1] == closes.index[-1]


def test_no_level_waits_for_a_stock_that_has_left_and_is_not_held(
    run: Runtime, closes: pd.DataFrame
) -> None:
    closes["XOM"] = np.linspace(90, 50, len(closes))
    closes["KO"] = np.linspace(50, 90, len(closes))
    store(at(run, "2021-02-26T23:59:00+00:00"), closes[:"2021-02-26"])
    asked = {"strategy": Strategy.MOMENTUM}
    compute(at(run, "2021-02-26T23:59:00+00:00"), **asked)
    with run.engine.begin() as connection:
        membership_changes.deactivate(connection, ["XOM"], "test")
    evening = at(run, "2021-03-01T22:00:00+00:00")
    store(evening, closes[:"2021-03-01"][["AAPL", "KO"]])
    assert compute(evening, **asked).index[-1] == pd.Timestamp("2021-03-01")


def test_holdings_that_a_decision_keeps_are_waited_for(run: Runtime, closes: pd.DataFrame) -> None:
    """The only member from March on has no full lookback: KO and AAPL are held on."""
    asked = {"strategy": Strategy.MOMENTUM}
    closes["GE"] = closes["XOM"]
    closes.loc[:"2021-02-19", "GE"] = np.nan
    store(at(run, "2021-02-26T23:59:00+00:00"), closes.drop(columns="GE")[:"2021-02-26"])
    before = compute(at(run, "2021-02-26T23:59:00+00:00"), **asked)
    new = UniverseRow(symbol="GE", exchange="NYSE", currency="USD", name="GE")
    with run.engine.begin() as connection:
        import_universe(connection, [new], today=date(2021, 2, 26))
        membership_changes.deactivate(connection, list(SYMBOLS), "test")
    evening = at(run, "2021-03-02T22:00:00+00:00")
    store(evening, closes[["GE"]][:"2021-03-02"])
    store(evening, closes[:"2021-03-01"].drop(columns="GE"))
    # The prices of the last day are not there yet for what is held.
    with run.engine.begin() as connection:
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        asked_at = datetime(2021, 3, 1, 23, tzinfo=UTC)
        fetches.note(connection, [ids[symbol] for symbol in SYMBOLS], [], asked_at)
    assert compute(evening, **asked).index[-1] == pd.Timestamp("2021-03-01")
    store(evening, closes[:"2021-03-02"])
    after = compute(evening, **asked)
    assert after.index[-1] == pd.Timestamp("2021-03-02")
    assert len(after) == len(before) + 2


def test_no_level_waits_for_a_stock_before_a_decision_can_buy_it(
    run: Runtime, closes: pd.DataFrame
) -> None:
    """Not even where a correction has an earlier decision taken again."""
    store(at(run, "2021-03-05T23:59:00+00:00"), closes[:"2021-03-05"])
    asked = {"strategy": Strategy.EQUAL_WEIGHT}
    compute(at(run, "2021-03-05T23:59:00+00:00"), **asked)
    new = UniverseRow(symbol="GE", exchange="NYSE", currency="USD", name="GE")
    with run.engine.begin() as connection:
        import_universe(connection, [new], today=date(2021, 3, 5))
    evening = at(run, "2021-03-08T22:00:00+00:00")
    store(evening, corrected(closes, "2021-02-26")[:"2021-03-08"])
    assert compute(evening, **asked).index[-1] == pd.Timestamp("2021-03-08")


def test_a_launch_waits_for_no_price_before_the_stored_ones(
    run: Runtime, closes: pd.DataFrame
) -> None:
    """A renamed stock is asked for again, but all of its sessions have a close."""
    store(run, closes.iloc[:30])
    with run.engine.begin() as connection:
        assets.rename(connection, "KO", "COKE", "test")
    assert len(compute(run, strategy="equal_weight")) == 30


def marked(run: Runtime) -> dict[date, list[str]]:
    with run.engine.connect() as connection:
        return levels.provisional(connection, *PUBLISHED)
