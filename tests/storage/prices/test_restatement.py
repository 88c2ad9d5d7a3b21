"""Stored holdings when a history is restated: right to the last bit, and cheap."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, event, text

from autoindex import sessions
from autoindex.market_data.bars import Bars
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow

DAYS = sessions.between(date(2020, 1, 2), date(2020, 12, 31))
INDEXES = [("composite", "daily"), ("composite", "monthly"), ("market_cap", "daily")]
UNITS = "select strategy, frequency, session, asset_id, units from allocations order by 1, 2, 3, 4"


def bars(closes: pd.Series) -> Bars:
    close = closes.to_numpy()
    volume = np.full(len(close), 7)
    days = closes.index.to_numpy().astype("datetime64[D]")
    return Bars("AAPL", days, close, close, close, close, volume)


@pytest.fixture
def asset_id(engine: Engine) -> int:
    rows = [
        UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name=symbol)
        for symbol in ("KO", "AAPL", "XOM")
    ]
    with engine.begin() as connection:
        import_universe(connection, rows)
        return next(a.id for a in assets.list_assets(connection) if a.symbol == "AAPL")


def hold(connection: Connection, rebalances: pd.DatetimeIndex) -> None:
    """Every asset in every index from so many rebalances on, each with units of its own."""
    rows = [
        {"s": strategy, "f": frequency, "day": day.date(), "id": id_, "units": n * 1.7 + id_ / 7}
        for strategy, frequency in INDEXES
        for n, day in enumerate(rebalances if frequency == "daily" else rebalances[::21])
        for id_ in (1, 2, 3)
    ]
    connection.execute(
        text("insert into allocations values (:s, :f, :day, :id, 0.3, :units)"), rows
    )
    levels = "insert into index_levels select distinct strategy, frequency, session, 100"
    connection.execute(text(f"{levels} from allocations"))


def units(connection: Connection) -> pd.Series:
    rows = connection.execute(text(UNITS)).all()
    index = pd.MultiIndex.from_tuples([tuple(row[:4]) for row in rows])
    return pd.Series([row[4] for row in rows], index)


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """The statements that are executed, as SQLAlchemy sends them; one for each row of many."""
    seen: list[str] = []

    def note(*arguments: object) -> None:
        _, _, statement, parameters, _, many = arguments
        seen.extend([str(statement)] * (len(parameters) if many else 1))  # type: ignore[arg-type]

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_units_follow_the_closes_of_their_day(engine: Engine, asset_id: int) -> None:
    random = np.random.default_rng(7)
    old = pd.Series(random.uniform(20, 90, len(DAYS)).round(3), DAYS)
    # Two splits and their rounding; the provider has forgotten a day, and knows one we lacked.
    split = np.select([DAYS < "2020-03-02", DAYS < "2020-09-01"], [20, 4], 1)
    new = (old / split).round(3).drop(DAYS[40])
    rebalances = sessions.between(date(2019, 11, 1), date(2020, 12, 31))
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars(old.drop(DAYS[[70, 71]]))], {"AAPL": asset_id})
        hold(connection, rebalances)
        before = units(connection)
        stored_prices.replace(connection, bars(new), asset_id)
        after = units(connection)

    # A day without both closes counts as the one before it, those before all days as the first.
    factor = (old / new).drop(DAYS[[40, 70, 71]]).reindex(rebalances).ffill().bfill()
    expected = before * [
        factor[pd.Timestamp(day)] if id_ == asset_id else 1.0 for _, _, day, id_ in before.index
    ]
    assert factor.nunique() > 100
    np.testing.assert_allclose(after, expected, rtol=1e-12, atol=0)


def test_a_split_costs_the_same_statements_however_many_rebalances_there_are(
    engine: Engine, asset_id: int
) -> None:
    counts = []
    for count in (3, 200):
        with engine.connect() as connection, connection.begin() as transaction:
            stored_prices.upsert(connection, [bars(pd.Series(80.0, DAYS))], {"AAPL": asset_id})
            hold(connection, DAYS[:count])
            with statements(engine) as seen:
                stored_prices.replace(connection, bars(pd.Series(20.0, DAYS)), asset_id)
            transaction.rollback()
        counts.append(len(seen))
    assert counts[0] == counts[1] < 20


def test_a_split_finds_its_allocations_by_asset(engine: Engine, asset_id: int) -> None:
    others = text("""
        insert into assets (symbol, exchange, currency, name)
        select 'S' || n, 'NYSE', 'USD', 'Sample' from generate_series(1, 500) as n
    """)
    held = text("""
        insert into allocations select 'composite', 'daily', day, id, 0.002, 1
        from unnest(cast(:days as date[])) as day, assets
    """)
    scans = text("select pg_stat_get_xact_numscans('ix_allocations_asset_id'::regclass)")
    with engine.begin() as connection:
        stored_prices.upsert(connection, [bars(pd.Series(80.0, DAYS))], {"AAPL": asset_id})
        connection.execute(others)
        connection.execute(held, {"days": [day.date() for day in DAYS[:100]]})
        # Most levels have no allocations, as with monthly rebalances: a look-up each is too much.
        levels = text("""
            insert into index_levels select strategy, 'daily', day, 100
            from unnest(cast(:days as date[])) as day,
                unnest(cast(:strategies as text[])) as strategy
        """)
        strategies = ["composite", *(f"other {n}" for n in range(20))]
        days = [day.date() for day in DAYS]
        connection.execute(levels, {"days": days, "strategies": strategies})
        connection.execute(text("analyze allocations"))
        stored_prices.replace(connection, bars(pd.Series(20.0, DAYS)), asset_id)
        assert connection.scalar(scans) == 1
        changed = text("select count(*) from allocations where units = 4")
        assert connection.scalar(changed) == 100
