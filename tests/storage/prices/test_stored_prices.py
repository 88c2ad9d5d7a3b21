"""Bulk load and read-back of prices, on a real PostgreSQL."""

import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from autoindex import sessions
from autoindex.market_data.bars import Bars
from autoindex.requests import Frequency, Strategy
from autoindex.storage import versions
from autoindex.storage.index import corrections, publications
from autoindex.storage.postgres import binary_copy
from autoindex.storage.prices import stored_prices, stored_window
from autoindex.storage.prices.stored_prices import Counts
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from tests.bounds import HANG_SECONDS

FIRST, LAST = date(2020, 1, 2), date(2020, 12, 31)


def bars(
    symbol: str = "AAPL",
    first: date = FIRST,
    last: date = LAST,
    scale: float = 1.0,
    start: date | None = None,
) -> Bars:
    """Closes that rise by a quarter each session, from 100 at `start`."""
    index = sessions.between(first, last)
    since = len(sessions.between(start or first, first)) - 1 + np.arange(len(index))
    close = scale * (100 + since * 0.25)
    days = index.to_numpy().astype("datetime64[D]")
    volume = np.where(since % 2 == 0, 1_000, -1)
    return Bars(symbol, days, close - 0.5, close + 1, close - 1, close, volume)


@pytest.fixture
def ids(engine: Engine) -> dict[str, int]:
    rows = [
        UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name=symbol)
        for symbol in ("AAPL", "KO", "XOM")
    ]
    with engine.begin() as connection:
        import_universe(connection, rows)
        return {asset.symbol: asset.id for asset in assets.list_assets(connection)}


def stored(connection: Connection) -> int:
    return int(connection.execute(text("select count(*) from prices")).scalar_one())


WHICH = (Strategy.COMPOSITE, Frequency.MONTHLY)


def publish(connection: Connection) -> None:
    """Levels of every session, so that changes of prices are corrections."""
    days = sessions.between(date(2019, 1, 2), date(2021, 12, 31))
    publications.publish(
        connection, *WHICH, pd.Series(100.0, days), cause="new sessions", task_id=None
    )


def corrected(connection: Connection) -> list[date]:
    """The sessions of what is noted since."""
    return [one.session for one in corrections.load(connection, *WHICH)]


def test_a_first_load_inserts_every_bar(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        counts = stored_prices.upsert(connection, [bars("AAPL"), bars("KO")], ids)
    assert counts == Counts(inserted=506)
    with engine.connect() as connection:
        row = connection.execute(
            text("select open, high, low, close, volume from prices where session = '2020-01-03'")
        ).first()
    assert row == (99.75, 101.25, 99.25, 100.25, None)


def test_the_same_bars_again_write_nothing(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL")], ids)
        version = versions.current(connection, versions.PRICES)
    with engine.connect() as connection:
        before = connection.execute(text("select xmin::text, ctid::text from prices")).all()
    with engine.begin() as connection:
        counts = stored_prices.upsert(connection, [bars("AAPL")], ids)
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
        stored_prices.upsert(connection, [bars("AAPL", last=date(2020, 12, 29))], ids)
        publish(connection)
        counts = stored_prices.upsert(connection, [changed], ids)
        assert stored(connection) == 253
        assert corrected(connection) == [changed.sessions[100].item()]
    assert counts == Counts(inserted=2, updated=2, unchanged=249)


def test_a_changed_volume_changes_no_return(engine: Engine, ids: dict[str, int]) -> None:
    changed = bars("AAPL")
    changed.volume[7] = 5
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL")], ids)
        publish(connection)
        counts = stored_prices.upsert(connection, [changed], ids)
        assert not corrected(connection)
    assert counts == Counts(updated=1, unchanged=252)


# One of two processes: waits for the word, then loads random windows of two symbols.
_LOADER = """
import sys
from datetime import date
from random import Random
from sqlalchemy import create_engine
from autoindex import sessions
from autoindex.storage.prices import stored_prices
from tests.storage.prices.test_stored_prices import LAST, FIRST, bars

url, seed = sys.argv[1], int(sys.argv[2])
random, engine = Random(seed), create_engine(url)
days = [day.date() for day in sessions.between(FIRST, LAST)]
print("ready", flush=True)
sys.stdin.readline()
inserted = loaded = 0
for _ in range(25):
    first, last = sorted(random.sample(days, 2))
    some = [bars(symbol, first, last, start=FIRST) for symbol in ("AAPL", "KO")]
    with engine.begin() as connection:
        counts = stored_prices.upsert(connection, some, {"AAPL": 1, "KO": 2})
    assert counts.updated == 0, counts
    assert counts.inserted + counts.unchanged == 2 * len(some[0]), counts
    inserted += counts.inserted
print(inserted)
"""


def test_two_processes_that_load_the_same_symbols_count_exactly(
    engine: Engine, ids: dict[str, int], database_url: str
) -> None:
    assert (ids["AAPL"], ids["KO"]) == (1, 2)
    words = [sys.executable, "-W", "ignore", "-c", _LOADER, database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    loaders = [subprocess.Popen([*words, str(seed)], **pipes) for seed in range(2)]  # type: ignore[call-overload]
    for loader in loaders:
        assert loader.stdout.readline() == "ready\n"
    for loader in loaders:
        loader.stdin.write("go\n")
        loader.stdin.flush()
    told = [loader.communicate(timeout=HANG_SECONDS)[0] for loader in loaders]
    assert [loader.returncode for loader in loaders] == [0, 0]
    with engine.connect() as connection:
        assert sum(map(int, told)) == stored(connection) > 400


def test_a_failed_load_leaves_nothing(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL", last=date(2020, 6, 1))], ids)
    changed = [bars("AAPL", scale=2), bars("GONE")]
    with pytest.raises(IntegrityError, match="which assets lacks"), engine.begin() as connection:
        stored_prices.upsert(connection, changed, ids | {"GONE": 999})
    with engine.connect() as connection:
        assert stored(connection) == len(sessions.between(FIRST, date(2020, 6, 1)))
        assert stored_prices.closes_of(connection, ids["AAPL"]).closes[0] == 100


def test_a_connection_lost_while_copying_is_told_as_one(engine: Engine) -> None:
    lost = engine.connect()
    pid = lost.execute(text("select pg_backend_pid()")).scalar_one()
    with engine.connect() as other:
        other.execute(text("select pg_terminate_backend(:pid)"), {"pid": pid})
    query = sql.SQL("select 1::int4")
    with pytest.raises(OperationalError):
        list(binary_copy.unload_packed(lost, query, {}))
    lost.close()
    with engine.connect() as again:
        assert list(binary_copy.unload_packed(again, query, {})) == [(1, [])]


def test_no_asset_leaves_while_it_has_prices(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL")], ids)
    with pytest.raises(IntegrityError, match="still has prices"), engine.begin() as connection:
        connection.execute(text("delete from assets where symbol = 'AAPL'"))
    with engine.begin() as connection:
        assert connection.execute(text("delete from assets where symbol = 'KO'")).rowcount == 1


# What is stored and what is loaded: by symbol, a value of 1 or 2 for some of twelve days.
_days = st.dictionaries(st.integers(0, 11), st.sampled_from([1.0, 2.0]))
_books = st.fixed_dictionaries({"AAPL": _days, "KO": _days, "XOM": _days})


def of_book(book: dict[str, dict[int, float]]) -> list[Bars]:
    """Bars of every symbol, none of one that has no days."""
    made = []
    for symbol, values in book.items():
        days = np.datetime64("2020-01-02") + np.array(sorted(values), int)
        close = np.array([values[day] for day in sorted(values)])
        volume = np.where(close == 1, -1, 7)
        made.append(Bars(symbol, days, close, close, close, close, volume))
    return made


# Every example is rolled back, so one database serves them all.
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_books, _books)
def test_counts_and_rows_are_those_of_a_plain_dictionary(
    engine: Engine,
    ids: dict[str, int],
    before: dict[str, dict[int, float]],
    loaded: dict[str, dict[int, float]],
) -> None:
    old = {(name, day): v for name, values in before.items() for day, v in values.items()}
    new = {(name, day): v for name, values in loaded.items() for day, v in values.items()}
    changed = [day for (name, day), v in new.items() if old.get((name, day)) != v]
    first = date(2020, 1, 2) + timedelta(days=min(changed)) if changed else None
    updated = sum(key in old and old[key] != v for key, v in new.items())
    inserted = len(new.keys() - old.keys())
    with engine.connect() as connection, connection.begin() as transaction:
        stored_prices.upsert(connection, of_book(before), ids)
        publish(connection)
        counts = stored_prices.upsert(connection, of_book(loaded), ids)
        noted = corrected(connection)
        rows = connection.execute(
            text(
                "select symbol, session - '2020-01-02', close, volume "
                "from prices join assets on id = asset_id"
            )
        )
        found = {(symbol, day): (close, volume) for symbol, day, close, volume in rows}
        transaction.rollback()
    assert counts == Counts(inserted, updated, len(new) - inserted - updated, 0)
    assert min(noted, default=None) == first
    assert found == {key: (v, None if v == 1 else 7) for key, v in (old | new).items()}


def test_closes_come_back_as_a_matrix_of_sessions_and_symbols(
    engine: Engine, ids: dict[str, int]
) -> None:
    late = bars("KO", first=date(2020, 6, 1), scale=3)
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL"), late], ids)
        universe = assets.list_assets(connection)
        closes = stored_prices.load_closes(
            connection, universe, date(2020, 1, 1), date(2020, 12, 31)
        )
    assert list(closes.columns) == ["AAPL", "KO", "XOM"]
    assert closes.index.equals(sessions.between(FIRST, LAST))
    np.testing.assert_array_equal(closes["AAPL"], bars("AAPL").close)
    np.testing.assert_array_equal(closes["KO"].dropna(), late.close)
    assert closes["KO"].first_valid_index() == pd.Timestamp("2020-06-01")
    assert closes["XOM"].isna().all()


def test_a_split_restates_prices_but_changes_no_return(engine: Engine, ids: dict[str, int]) -> None:
    split = bars("AAPL", scale=0.25)
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL")], ids)
        publish(connection)
        counts = stored_prices.replace(connection, split, ids["AAPL"])
        assert not corrected(connection)
        closes = stored_prices.closes_of(connection, ids["AAPL"])
    assert counts == Counts(updated=253)
    np.testing.assert_array_equal(closes.closes, split.close)


def test_restated_history_names_the_first_session_with_another_return(
    engine: Engine, ids: dict[str, int]
) -> None:
    restated = bars("AAPL")
    restated.close[:50] *= 0.5
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL")], ids)
        publish(connection)
        stored_prices.replace(connection, restated, ids["AAPL"])
        assert corrected(connection) == [restated.sessions[50].item()]


def test_restated_history_drops_sessions_that_are_gone(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL"), bars("KO")], ids)
        publish(connection)
        shorter = bars("AAPL").select(np.arange(253) != 17)
        counts = stored_prices.replace(connection, shorter, ids["AAPL"])
        assert stored(connection) == 505
        assert corrected(connection) == [bars().sessions[17].item()]
    assert counts == Counts(unchanged=252, deleted=1)


def test_the_value_of_stored_holdings_survives_a_split(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars("AAPL")], ids)
        connection.execute(
            text("insert into allocations values ('composite', 'monthly', :day, :id, 1, 2.5)"),
            [{"day": day, "id": ids["AAPL"]} for day in ("2019-12-02", "2020-03-02")],
        )
        connection.execute(
            text(
                "insert into index_levels select strategy, frequency, session, 100 from allocations"
            )
        )
        stored_prices.replace(connection, bars("AAPL", scale=0.5), ids["AAPL"])
        units = connection.execute(text("select units from allocations")).scalars().all()
    assert units == [5.0, 5.0]


def test_newest_sessions_and_the_stored_window(engine: Engine, ids: dict[str, int]) -> None:
    with engine.begin() as connection:
        assert stored_window.read(connection) is None
        stored_prices.upsert(connection, [bars("AAPL"), bars("KO", last=date(2020, 5, 1))], ids)
        universe = assets.list_assets(connection)
        newest = stored_prices.newest_sessions(connection, universe)
        assert newest == {"AAPL": LAST, "KO": date(2020, 5, 1)}
        assert stored_window.read(connection) == (FIRST, LAST)
