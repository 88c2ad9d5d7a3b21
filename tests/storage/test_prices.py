"""Bulk load and read-back of prices, on a real PostgreSQL."""

from dataclasses import replace
from datetime import date
from threading import Barrier, Thread

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, text

from autoindex import sessions
from autoindex.market_data.bars import Bars
from autoindex.storage import assets, prices, versions
from autoindex.storage.assets import UniverseRow
from autoindex.storage.prices import Counts

FIRST, LAST = date(2020, 1, 2), date(2020, 12, 31)


def bars(symbol: str = "AAPL", first: date = FIRST, last: date = LAST, scale: float = 1.0) -> Bars:
    index = sessions.between(first, last)
    close = scale * (100 + np.arange(len(index)) * 0.25)
    days = index.to_numpy().astype("datetime64[D]")
    volume = np.where(np.arange(len(index)) % 2 == 0, 1_000, -1)
    return Bars(symbol, days, close - 0.5, close + 1, close - 1, close, volume)


@pytest.fixture
def ids(engine: Engine) -> dict[str, int]:
    rows = [
        UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name=symbol)
        for symbol in ("AAPL", "KO", "XOM")
    ]
    with engine.begin() as connection:
        assets.import_universe(connection, rows)
        return {asset.symbol: asset.id for asset in assets.list_assets(connection)}


def stored(connection: Connection) -> int:
    return int(connection.execute(text("select count(*) from prices")).scalar_one())


def test_a_first_load_inserts_every_bar(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        counts = prices.upsert(connection, [bars("AAPL"), bars("KO")], ids)
    assert counts == Counts(inserted=506, first_changed=FIRST)
    with engine.connect() as connection:
        row = connection.execute(
            text("select open, high, low, close, volume from prices where session = '2020-01-03'")
        ).first()
    assert row == (99.75, 101.25, 99.25, 100.25, None)


def test_the_same_bars_again_write_nothing(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL")], ids)
        version = versions.current(connection, versions.PRICES)
    with engine.connect() as connection:
        before = connection.execute(text("select xmin::text, ctid::text from prices")).all()
    with engine.begin() as connection:
        counts = prices.upsert(connection, [bars("AAPL")], ids)
        assert versions.current(connection, versions.PRICES) == version
    assert counts == Counts(unchanged=253)
    with engine.connect() as connection:
        after = connection.execute(text("select xmin::text, ctid::text from prices")).all()
    assert after == before


def test_only_rows_that_differ_are_updated(engine: Engine, ids: dict[str, int]) -> None:
    changed = bars("AAPL")
    changed.close[100] += 0.01
    changed.volume[7] = 5
    with engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL", last=date(2020, 12, 29))], ids)
        counts = prices.upsert(connection, [changed], ids)
        assert stored(connection) == 253
    day = changed.sessions[100].item()
    assert counts == Counts(inserted=2, updated=2, unchanged=249, first_changed=day)


def test_a_changed_volume_changes_no_return(engine: Engine, ids: dict[str, int]) -> None:
    changed = bars("AAPL")
    changed.volume[7] = 5
    with engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL")], ids)
        counts = prices.upsert(connection, [changed], ids)
    assert counts == Counts(updated=1, unchanged=252)


def test_two_loads_of_the_same_bars_take_turns(engine: Engine, ids: dict[str, int]) -> None:
    barrier, results = Barrier(2), []

    def load() -> None:
        barrier.wait()
        with engine.begin() as connection:
            results.append(prices.upsert(connection, [bars("AAPL")], ids))

    threads = [Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts.inserted for counts in results) == [0, 253]
    with engine.connect() as connection:
        assert stored(connection) == 253


def test_a_failed_load_leaves_nothing(engine: Engine, ids: dict[str, int]) -> None:
    broken = replace(bars("KO"), open=np.ones(3))
    with pytest.raises(ValueError, match="shape"), engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL"), broken], ids)
    with engine.connect() as connection:
        assert stored(connection) == 0


def test_closes_come_back_as_a_matrix_of_sessions_and_symbols(
    engine: Engine, ids: dict[str, int]
) -> None:
    late = bars("KO", first=date(2020, 6, 1), scale=3)
    with engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL"), late], ids)
        universe = assets.list_assets(connection)
        closes = prices.load_closes(connection, universe, date(2020, 1, 1), date(2020, 12, 31))
    assert list(closes.columns) == ["AAPL", "KO", "XOM"]
    assert closes.index.equals(sessions.between(FIRST, LAST))
    np.testing.assert_array_equal(closes["AAPL"], bars("AAPL").close)
    np.testing.assert_array_equal(closes["KO"].dropna(), late.close)
    assert closes["KO"].first_valid_index() == pd.Timestamp("2020-06-01")
    assert closes["XOM"].isna().all()


def test_a_split_restates_prices_but_changes_no_return(engine: Engine, ids: dict[str, int]) -> None:
    split = bars("AAPL", scale=0.25)
    with engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL")], ids)
        counts = prices.replace(connection, split, ids["AAPL"])
        closes = prices.closes_of(connection, ids["AAPL"])
    assert counts == Counts(updated=253, first_changed=None)
    np.testing.assert_array_equal(closes.closes, split.close)


def test_restated_history_names_the_first_session_with_another_return(
    engine: Engine, ids: dict[str, int]
) -> None:
    restated = bars("AAPL")
    restated.close[:50] *= 0.5
    with engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL")], ids)
        counts = prices.replace(connection, restated, ids["AAPL"])
    assert counts.first_changed == restated.sessions[50].item()


def test_restated_history_drops_sessions_that_are_gone(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL"), bars("KO")], ids)
        shorter = bars("AAPL").select(np.arange(253) != 17)
        counts = prices.replace(connection, shorter, ids["AAPL"])
        assert stored(connection) == 505
    assert counts == Counts(unchanged=252, deleted=1, first_changed=bars().sessions[17].item())


def test_the_value_of_stored_holdings_survives_a_split(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        prices.upsert(connection, [bars("AAPL")], ids)
        connection.execute(
            text("insert into allocations values ('composite', 'monthly', :day, :id, 1, 2.5)"),
            [{"day": day, "id": ids["AAPL"]} for day in ("2019-12-02", "2020-03-02")],
        )
        prices.replace(connection, bars("AAPL", scale=0.5), ids["AAPL"])
        units = connection.execute(text("select units from allocations")).scalars().all()
    assert units == [5.0, 5.0]


def test_newest_sessions_and_the_stored_window(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        assert prices.stored_window(connection) is None
        prices.upsert(connection, [bars("AAPL"), bars("KO", last=date(2020, 5, 1))], ids)
        universe = assets.list_assets(connection)
        newest = prices.newest_sessions(connection, universe)
        assert newest == {"AAPL": LAST, "KO": date(2020, 5, 1)}
        assert prices.stored_window(connection) == (FIRST, LAST)
