"""Allocations and levels as they are stored, replaced and read back."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from autoindex import sessions
from autoindex.requests import Frequency, Strategy
from autoindex.storage.index import allocations, index_history, levels, publications
from autoindex.storage.index.allocations import Allocations, Held
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow

WHICH = (Strategy.INVERSE_VOLATILITY, Frequency.DAILY)
OTHER = (Strategy.COMPOSITE, Frequency.DAILY)
SYMBOLS = ["AAPL", "KO", "XOM"]
# More sessions than are stored with one COPY.
DAYS = sessions.between(date(2020, 1, 2), date(2020, 12, 31))


@pytest.fixture
def ids(engine: Engine) -> dict[str, int]:
    with engine.begin() as connection:
        rows = [UniverseRow(symbol=s, exchange="NYSE", currency="USD", name=s) for s in SYMBOLS]
        import_universe(connection, rows)
        return {asset.symbol: asset.id for asset in assets.list_assets(connection)}


def made(seed: int, days: pd.DatetimeIndex = DAYS) -> Allocations:
    """Weights of which some are zero, and units."""
    random = np.random.default_rng(seed)
    weights = random.uniform(0.1, 1, (len(days), 3)) * (random.random((len(days), 3)) < 0.7)
    weights[:, 0] += 0.1
    weights /= weights.sum(axis=1, keepdims=True)
    units = weights * random.uniform(1, 9)
    return Allocations(*(pd.DataFrame(one, days, SYMBOLS) for one in (weights, units)))


def assert_same(one: Allocations, other: Allocations) -> None:
    for name in ("weights", "units"):
        pd.testing.assert_frame_equal(
            getattr(one, name), getattr(other, name), check_exact=True, check_freq=False
        )


def test_what_is_stored_is_read_back_to_the_last_bit(engine: Engine, ids: dict[str, int]) -> None:
    stored, beside = made(1), made(2)
    series = pd.Series(np.random.default_rng(3).uniform(90, 110, len(DAYS)), DAYS, name="level")
    with engine.begin() as connection:
        for which, rows in ((WHICH, stored), (OTHER, beside)):
            allocations.store(connection, *which, [Held.of(rows, ids)], DAYS[0].date())
            publications.publish(connection, *which, series, cause="a test", task_id=None)
    with engine.connect() as connection:
        universe = assets.list_assets(connection)
        assert_same(allocations.load(connection, *WHICH, universe), stored)
        assert_same(allocations.load(connection, *OTHER, universe), beside)
        read = levels.load(connection, *WHICH)
        page = index_history.weights(connection, index_history.Window(*WHICH), limit=2, offset=0)
    pd.testing.assert_series_equal(read, series, check_exact=True, check_freq=False)
    first = stored.weights.iloc[0]
    held = first[first > 0].items()
    expected = [(DAYS[0].date(), symbol, weight, None) for symbol, weight in held]
    assert list(page.rows) == expected[:2]
    assert page.total == int((stored.weights > 0).sum(axis=None))


def test_what_is_stored_anew_replaces_from_a_day_on(engine: Engine, ids: dict[str, int]) -> None:
    old, later = made(1), DAYS[DAYS >= "2020-09-01"]
    new = made(2, later)
    with engine.begin() as connection:
        allocations.store(connection, *WHICH, [Held.of(old, ids)], DAYS[0].date())
        allocations.store(connection, *OTHER, [Held.of(old, ids)], DAYS[0].date())
        allocations.store(connection, *WHICH, [Held.of(new, ids)], later[0].date())
    kept = DAYS < "2020-09-01"
    expected = Allocations(
        pd.concat([old.weights[kept], new.weights]), pd.concat([old.units[kept], new.units])
    )
    with engine.connect() as connection:
        universe = assets.list_assets(connection)
        assert_same(allocations.load(connection, *WHICH, universe), expected)
        assert_same(allocations.load(connection, *OTHER, universe), old)


def test_every_allocation_is_to_an_asset_there_is(engine: Engine, ids: dict[str, int]) -> None:
    wrong = ids | {"KO": 999}
    with pytest.raises(IntegrityError, match="which assets lacks"), engine.begin() as connection:
        allocations.store(connection, *WHICH, [Held.of(made(1), wrong)], DAYS[0].date())
    with engine.begin() as connection:
        assert connection.execute(text("select count(*) from allocations")).scalar_one() == 0
        allocations.store(connection, *WHICH, [Held.of(made(1), ids)], DAYS[0].date())
    moved = text("update allocations set asset_id = 999 where asset_id = :id")
    with pytest.raises(IntegrityError, match="which assets lacks"), engine.begin() as connection:
        connection.execute(moved, {"id": ids["KO"]})
    gone = text("delete from assets where symbol = 'KO'")
    with pytest.raises(IntegrityError, match="still has alloc"), engine.begin() as connection:
        connection.execute(gone)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 10_000])
@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_are_the_whole_window_in_its_order(
    engine: Engine, ids: dict[str, int], size: int, newest_first: bool
) -> None:
    """Sessions have one to three rows, so that pages begin and end within them."""
    stored = made(1, DAYS[:40])
    first, last = DAYS[3].date(), DAYS[37].date()
    held = stored.weights.loc[str(first) : str(last)].stack()
    expected = [
        (day.date(), symbol, weight, None) for (day, symbol), weight in held.items() if weight
    ]
    expected.sort(key=lambda row: row[1])
    expected.sort(key=lambda row: row[0], reverse=newest_first)
    window = index_history.Window(*WHICH, first, last, newest_first)
    with engine.begin() as connection:
        allocations.store(connection, *WHICH, [Held.of(stored, ids)], DAYS[0].date())
        pages = [
            index_history.weights(connection, window, limit=size, offset=offset)
            for offset in range(0, len(expected) + 2 * size, size)
        ]
    assert [row for page in pages for row in page.rows] == expected
    assert {page.total for page in pages} == {len(expected)}
    assert all(len(page.rows) == size for page in pages[: len(expected) // size])


def test_a_page_of_an_index_without_rebalances_is_empty(engine: Engine) -> None:
    with engine.connect() as connection:
        found = index_history.weights(connection, index_history.Window(*WHICH), limit=10, offset=10)
    assert (found.rows, found.total) == ([], 0)


def test_weights_as_of_an_instant_have_the_symbols_of_their_time(
    engine: Engine, ids: dict[str, int]
) -> None:
    def page(as_of: datetime | None = None) -> index_history.Rows:
        with engine.connect() as connection:
            window = index_history.Window(*WHICH, newest_first=True, as_of=as_of)
            return index_history.weights(connection, window, limit=9, offset=3)

    def now() -> datetime:
        with engine.connect() as connection:
            return connection.execute(text("select clock_timestamp()")).scalar_one()

    series = pd.Series(100.0, DAYS[:40])
    answers = []
    with engine.begin() as connection:
        allocations.store(connection, *WHICH, [Held.of(made(1, DAYS[:40]), ids)], DAYS[0].date())
        publications.publish(connection, *WHICH, series, cause="a test", task_id=None)
    for symbol, seed in (("AAPL", 2), ("M1", 3), ("M2", 4)):
        answers.append((now(), page()))
        with engine.begin() as connection:
            assets.rename(connection, symbol, f"M{seed - 1}", "a test")
            new = {f"M{seed - 1}" if one == symbol else one: id_ for one, id_ in ids.items()}
            changed = made(seed, DAYS[30:40])
            rows = Allocations(
                *(one.set_axis([*new], axis=1) for one in (changed.weights, changed.units))
            )
            allocations.store(connection, *WHICH, [Held.of(rows, new)], DAYS[30].date())
            ids = new
    assert len({tuple(answer.rows) for _, answer in answers}) == len(answers)
    for instant, answer in answers:
        assert page(instant) == answer
