"""What a refresh stores of a reply: real replies over HTTP, a real database, tasks as functions."""

# ruff: noqa: F811  fixtures that come from another folder are imported by name

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, text

from autoindex import sessions
from autoindex.errors import InvalidRequest
from autoindex.market_data.bars import Bars
from autoindex.market_data.paging import BatchReply
from autoindex.requests import PUBLISHED_FREQUENCY, PUBLISHED_STRATEGY, Mode
from autoindex.settings import Settings
from autoindex.storage.cache import from_settings
from autoindex.storage.index import publications
from autoindex.storage.prices import confirmed_histories, fetches, stored_prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from flows.attempts.refresh_progress import RefreshProgress, Stored
from flows.attempts.runtime import Runtime
from flows.attempts.upsert import upsert
from sandbox import sample_prices
from tests.market_data.conftest import client, refresh, sandbox, sandbox_url  # noqa: F401  fixtures
from tests.market_data.stage import Asset, Refresh, Switches
from tests.market_data.test_replies import Ask, ask  # noqa: F401  fixture

NOW = datetime(2022, 12, 28, 22, tzinfo=UTC)
TUESDAY = date(2022, 12, 27)
WMT, GE = Asset("WMT", "NYSE"), Asset("GE", "NYSE")


@dataclass
class Store:
    """Stores what a refresh gets, and tells what is stored."""

    run: Runtime
    done: RefreshProgress = field(default_factory=RefreshProgress)

    def reply(self, reply: BatchReply) -> Stored:
        with self.run.engine.begin() as connection:
            universe = assets.list_assets(connection)
        stored: Stored = upsert.fn(self.run, universe, reply, self.done)
        self.done.add(reply, stored)
        return stored

    def bars(self, symbol: str, count: int) -> None:
        """The newest real bars of a symbol, which the provider has answered with."""
        rows = sample_prices.sample()[symbol].bars[-count:]
        close = np.array([float(bar.close) for bar in rows])
        days = np.array([bar.day for bar in rows], "datetime64[D]")
        made = Bars(symbol, days, close, close, close, close, np.full(count, -1))
        with self.run.engine.begin() as connection:
            ids = {one.symbol: one.id for one in assets.list_assets(connection)}
            stored_prices.upsert(connection, [made], ids)
            fetches.note(connection, [ids[symbol]], [], NOW)

    def execute(self, statement: str, **values: object) -> None:
        with self.run.engine.begin() as connection:
            connection.execute(text(statement), values)

    def closes(self, symbol: str) -> dict[str, float]:
        query = text(
            "select session::text, close from prices join assets on id = asset_id "
            "where symbol = :symbol order by 1"
        )
        with self.run.engine.connect() as connection:
            return dict(connection.execute(query, {"symbol": symbol}).tuples().all())

    def value(self, query: str) -> object:
        with self.run.engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()

    def confirm(self, symbol: str) -> bool:
        with self.run.engine.begin() as connection:
            return confirmed_histories.confirm(connection, symbol, "me")

    def asked_again(self) -> list[str]:
        """The symbols whose last answer could not be used."""
        query = text(
            "select symbol from fetches join assets on id = asset_id where asked_at is null"
        )
        with self.run.engine.connect() as connection:
            return list(connection.execute(query).scalars())


@pytest.fixture
def store(engine: Engine, settings: Settings) -> Iterator[Store]:
    rows = [
        UniverseRow(symbol=symbol, exchange="NYSE", currency="USD", name=symbol)
        for symbol in ("GE", "WMT")
    ]
    with engine.begin() as connection:
        import_universe(connection, rows)
        levels = pd.Series(100.0, sessions.between(date(2022, 12, 1), TUESDAY))
        which = PUBLISHED_STRATEGY, PUBLISHED_FREQUENCY
        publications.publish(connection, *which, levels, cause="a test", task_id=None)
    with disable_run_logger():
        yield Store(Runtime(settings, engine, from_settings(settings), NOW, uuid4()))


DUE = "select min(session)::text from corrections where not pending"


def test_a_short_restatement_is_refused_and_named(store: Store, ask: Ask) -> None:
    store.bars("WMT", 572)
    before = store.closes("WMT")
    store.execute("delete from corrections")

    stored = store.reply(ask("short_restatement", WMT))

    result = store.done.result()
    assert list(result["refused"]) == ["WMT"]
    assert "lacks 569 of 572 stored sessions" in result["refused"]["WMT"]
    assert (result["symbols_fetched"], result["restated"], stored.to_refetch) == (0, [], ())
    assert store.closes("WMT") == before
    assert store.value(DUE) is None
    assert store.asked_again() == ["WMT"]


def test_others_are_stored_beside_a_refused_history(
    store: Store, refresh: Refresh, sandbox: Switches
) -> None:
    store.bars("WMT", 572)
    store.execute("update prices set close = close * 3.7 + 2")
    before = store.closes("WMT")
    (reply,) = refresh([GE, WMT], mode=Mode.FULL)
    store.reply(reply)
    assert (list(store.done.refused), store.done.fetched) == (["WMT"], {"GE"})
    assert (store.closes("WMT"), len(store.closes("GE"))) == (before, 8313)
    # Both have had their turn.
    assert store.value("select count(*) from fetches where whole_at is not null") == 2


def test_a_refused_history_replaces_the_stored_one_once_somebody_confirms_it(
    store: Store, refresh: Refresh
) -> None:
    def fetch() -> None:
        (reply,) = refresh([WMT], mode=Mode.FULL)
        store.reply(reply)

    fetch()
    right = store.closes("WMT")
    wrong = "update prices set close = close * 3.7 + 2"
    store.execute(wrong)
    with pytest.raises(InvalidRequest, match="no history of WMT is refused"):
        store.confirm("WMT")
    fetch()
    assert list(store.done.refused) == ["WMT"]
    assert store.closes("WMT") != right
    assert (store.confirm("WMT"), store.confirm("WMT")) == (True, False)
    fetch()
    assert store.closes("WMT") == right
    assert store.value(DUE) is not None
    used = "select confirmed_by from confirmed_histories where used_at is not null"
    assert store.value(used) == "me"
    # It was for one history, not for every later one.
    store.execute(wrong)
    fetch()
    assert store.closes("WMT") != right


def test_bars_in_no_order_are_all_stored(store: Store, ask: Ask) -> None:
    assert (
        len(ask("shuffled", WMT).fetched[0].bars)
        == store.reply(ask("shuffled", WMT)).counts.inserted
    )
    assert store.done.result()["rows_dropped"] == {}


@pytest.mark.parametrize("kept", [100.0, 105.0, 101.0])
def test_a_day_with_two_bars_stays_as_it_is_stored(store: Store, ask: Ask, kept: float) -> None:
    store.bars("WMT", 2)
    store.execute("update prices set close = 99.5 where session = '2022-12-27'")
    store.execute("update prices set close = :kept where session = '2022-12-28'", kept=kept)
    store.reply(ask("two_bars_one_day", WMT))
    result = store.done.result()
    assert store.closes("WMT") == {"2022-12-27": 99.5, "2022-12-28": kept}
    assert result["rows_dropped"] == {"conflicting": 2}
    assert result["rows_dropped_by_symbol"] == {"WMT": {"conflicting": 2}}


def test_a_close_over_its_high_leaves_its_session_missing(store: Store, ask: Ask) -> None:
    store.bars("WMT", 2)
    store.execute("update prices set close = 99 where session = '2022-12-27'")
    store.execute("delete from prices where session = '2022-12-28'")
    store.reply(ask("close_over_high", WMT, TUESDAY))
    assert store.closes("WMT") == {"2022-12-27": 99.0}
    assert store.done.result()["rows_dropped_by_symbol"] == {"WMT": {"out of range": 1}}
    assert store.asked_again() == ["WMT"]


@pytest.mark.parametrize("factor", [1.0002, 1.0005, 1.03])
def test_a_corrected_close_replaces_its_bar_and_marks_its_session(
    store: Store, refresh: Refresh, sandbox: Switches, factor: float
) -> None:
    store.bars("WMT", 572)
    right = store.closes("WMT")
    store.execute("delete from prices where session = '2022-12-28'")
    wrong = "update prices set close = close * :factor where session = '2022-12-22'"
    store.execute(wrong, factor=factor)
    store.execute("update assets set prices_kept_from = '2020-09-22'")
    store.execute("delete from corrections")

    first = store.reply(refresh.only(WMT, TUESDAY))
    (due,) = first.to_refetch
    assert (first.counts.written, due.whole) == (0, True)
    second = store.reply(refresh.only(Asset("WMT", "NYSE", prices_kept_from=due.start)))

    assert store.closes("WMT") == right
    assert (second.restated, second.refused) == (frozenset(), {})
    assert (second.counts.inserted, second.counts.updated) == (1, 1)
    assert store.value(DUE) == "2022-12-22"


def test_a_split_restates_the_stored_history(
    store: Store, refresh: Refresh, sandbox: Switches
) -> None:
    store.bars("WMT", 572)
    before = store.closes("WMT")
    store.execute("update assets set prices_kept_from = '2020-09-22'")
    store.execute("delete from corrections")
    sandbox.set("splits", {"WMT": {"session": "2022-12-28", "ratio": 3}})
    stored = store.reply(refresh.only(Asset("WMT", "NYSE", prices_kept_from=date(2020, 9, 22))))
    assert (stored.restated, stored.counts.updated) == (frozenset({"WMT"}), 572)
    assert store.closes("WMT") == pytest.approx({day: close / 3 for day, close in before.items()})
    assert store.value(DUE) is None


@pytest.mark.parametrize("restated", [False, True])
def test_a_close_that_jumps_like_a_split_has_its_history_fetched(
    store: Store, refresh: Refresh, sandbox: Switches, restated: bool
) -> None:
    store.bars("WMT", 572)
    before = store.closes("WMT")
    store.execute("delete from prices where session = '2022-12-28'")
    store.execute("update assets set prices_kept_from = '2020-09-22'")
    split = {"session": "2022-12-28", "ratio": 3}
    sandbox.set("splits", {"WMT": split | {"forgotten": True}})
    first = store.reply(refresh.only(WMT, TUESDAY))
    (due,) = first.to_refetch
    assert (first.counts.written, due.whole) == (0, True)
    # The provider may have restated it since.
    sandbox.set("splits", {"WMT": split | {"forgotten": not restated}})
    whole = store.reply(refresh.only(Asset("WMT", "NYSE", prices_kept_from=due.start)))
    assert (whole.to_refetch, whole.counts.inserted) == ((), 1)
    assert whole.restated == (frozenset({"WMT"}) if restated else frozenset())
    divided = before if restated else {"2022-12-28": before["2022-12-28"]}
    expected = before | {day: close / 3 for day, close in divided.items()}
    assert store.closes("WMT") == pytest.approx(expected)
