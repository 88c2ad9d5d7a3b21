"""A refresh that takes more than one attempt or day: real sandbox, database and Prefect server."""

# ruff: noqa: F811  fixtures that come from another folder are imported by name

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any
from uuid import UUID

import pytest
from prefect import State
from prefect.client.orchestration import SyncPrefectClient
from prefect.flow_engine import run_flow
from sqlalchemy import Connection, Engine, insert, text

from autoindex.settings import Settings
from autoindex.storage import credits as ledger
from autoindex.storage.credits import Plan
from autoindex.storage.postgres import locks
from autoindex.storage.runs import checkpoints, task_progress
from autoindex.storage.tables import leases
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from flows import refresh_market_data as refresh
from flows.attempts import attempt, time_limit
from flows.attempts.credit_budget import DAY_SHARED, MINUTE_SPENT
from flows.attempts.worker_env import LEASE_TOKEN
from tests.market_data.conftest import sandbox, sandbox_url  # noqa: F401  fixtures
from tests.market_data.stage import AFTER_LAST_CLOSE, Switches, until_early_in_a_minute

SYMBOLS = ["AAPL", "AMD", "MSFT"]


@dataclass
class Desk:
    """Starts refreshes as a worker would, and lets minutes and days pass."""

    client: SyncPrefectClient
    engine: Engine
    sandbox: Switches

    def plan(self, per_minute: int, per_day: int | None = None) -> None:
        with self.engine.begin() as connection:
            ledger.store_plan(connection, Plan(per_minute, per_day), datetime.now(UTC))

    def ask(self) -> UUID:
        run = self.client.create_flow_run(refresh.refresh_market_data)
        with self.engine.begin() as connection:
            held = {"task_id": run.id, "token": 1, "holder": "me", "expires_at": datetime.now(UTC)}
            connection.execute(insert(leases).values(held))
        return run.id

    def attempt(self, task_id: UUID, **parameters: Any) -> State[Any]:
        until_early_in_a_minute()
        run = self.client.read_flow_run(task_id)
        return run_flow(refresh.refresh_market_data, run, parameters, return_type="state")  # type: ignore[return-value]

    def result(self, task_id: UUID, **parameters: Any) -> dict[str, Any]:
        """What a run comes to in one attempt."""
        state = self.attempt(task_id, **parameters)
        assert state.is_completed(), state
        return dict(state.result())

    def renew_credits(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("delete from credit_ledger"))
        self.sandbox.reset()

    def asked(self) -> list[str]:
        return [symbol for call in self.sandbox.requests() for symbol in call["symbols"]]


@pytest.fixture
def desk(
    prefect_api: str,
    engine: Engine,
    settings: Settings,
    sandbox: Switches,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Desk]:
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AUTOINDEX_TWELVE_DATA_BASE_URL", sandbox.url)
    monkeypatch.setenv("AUTOINDEX_CLOCK", AFTER_LAST_CLOSE.isoformat())
    monkeypatch.setenv(LEASE_TOKEN, "1")
    monkeypatch.setattr(refresh, "FETCH_SECONDS", 5)
    monkeypatch.setattr(attempt, "_NEXT_ATTEMPT_SECONDS", 0)
    rows = [
        UniverseRow(symbol=symbol, exchange="NASDAQ", currency="USD", name=symbol)
        for symbol in SYMBOLS
    ]
    with engine.begin() as connection:
        import_universe(connection, rows)
        # One page each.
        connection.execute(text("update assets set prices_kept_from = '2022-01-03'"))
    with SyncPrefectClient(prefect_api) as client:
        yield Desk(client, engine, sandbox)


def test_what_does_not_fit_an_attempt_goes_on_in_another_of_the_same_task(desk: Desk) -> None:
    desk.plan(per_minute=1)
    task_id, asked = desk.ask(), []
    for number in (1, 2):
        state = desk.attempt(task_id, mode="full")
        assert (state.type.value, state.name) == ("SCHEDULED", attempt.AWAITING_TURN)
        assert state.message == f"{number} of 3 symbols fetched; {MINUTE_SPENT}; waits for its turn"
        with desk.engine.begin() as connection:
            told = task_progress.read(connection, [task_id])[task_id]
            assert (told.completed, told.total) == (number, 3)
            # The next attempt may retry as often as this one.
            assert checkpoints.count_retry(connection, task_id, "fetch") == 1
        # Others get their turn in between.
        with locks.exclusive(desk.engine, "refresh", patience=0):
            asked += desk.asked()
        desk.renew_credits()

    result = desk.result(task_id, mode="full")
    assert asked + desk.asked() == SYMBOLS
    assert (result["symbols_processed"], result["symbols_fetched"]) == (3, 3)
    assert (result["deferred"], result["credits_spent"]) == ({}, 3)
    assert result["records_inserted"] == 3 * 249


@contextmanager
def limit_in_upsert(engine: Engine) -> Iterator[None]:
    """Reach the soft time limit once an upsert waits for its turn; have it wait a while longer."""

    def waiting(connection: Connection) -> bool:
        query = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
        return bool(connection.scalar(text(query)))

    def hold(held: Event) -> None:
        with engine.begin() as connection:
            locks.until_commit(connection, locks.PRICES)
            held.set()
            while not waiting(connection):
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGUSR1)
            until = time.monotonic() + 5
            while waiting(connection) and time.monotonic() < until:
                time.sleep(0.05)

    before = signal.signal(signal.SIGUSR1, lambda *_: time_limit.reach("the soft time limit"))
    holder = Thread(target=hold, args=[held := Event()], daemon=True)
    holder.start()
    held.wait()
    yield
    holder.join()
    signal.signal(signal.SIGUSR1, before)


def test_the_soft_time_limit_does_not_wait_for_a_batch(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limit, "_limit", time_limit._Limit())
    desk.plan(per_minute=100)
    desk.result(desk.ask(), mode="full")
    with desk.engine.begin() as connection:
        connection.execute(text("delete from prices where session > '2022-11-30'"))
    with limit_in_upsert(desk.engine):
        result = desk.result(desk.ask(), mode="full")
    assert result["deferred"] == dict.fromkeys(SYMBOLS, "the soft time limit")
    assert (result["records_updated"], result["credits_spent"]) == (0, 3)


def test_full_refreshes_take_up_where_the_last_left_off_and_leave_credits_for_smart_ones(
    desk: Desk,
) -> None:
    desk.plan(per_minute=100, per_day=4)
    first = desk.result(desk.ask(), mode="full")
    assert desk.asked() == ["AAPL", "AMD"]  # half of the day's credits
    assert first["deferred"] == {"MSFT": DAY_SHARED}

    smart = desk.result(desk.ask(), mode="smart")
    assert (desk.asked(), smart["deferred"]) == (SYMBOLS, {})

    for expected in (["AAPL", "AMD"], ["MSFT", "AAPL"]):
        desk.renew_credits()
        desk.result(desk.ask(), mode="full")
        assert desk.asked() == expected


def test_a_refresh_without_credits_or_stored_prices_defers_all_and_is_no_failure(
    desk: Desk,
) -> None:
    desk.plan(per_minute=100, per_day=1)
    desk.result(desk.ask(), mode="full")
    with desk.engine.begin() as connection:
        connection.execute(text("delete from prices"))
    result = desk.result(desk.ask(), mode="full")
    assert sorted(result["deferred"]) == SYMBOLS
    assert "no prices are stored" in result["index"]["not_computed"]


def test_who_is_refused_has_had_its_turn(desk: Desk) -> None:
    desk.plan(per_minute=100)
    desk.sandbox.faults({"kind": "unknown", "symbols": ["MSFT"]})
    assert list(desk.result(desk.ask(), mode="full")["refused"]) == ["MSFT"]
    desk.sandbox.reset()
    desk.result(desk.ask(), mode="full")
    assert desk.asked() == SYMBOLS


def test_a_delisted_symbol_is_asked_for_once_after_each_close(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.plan(per_minute=100)
    desk.result(desk.ask(), mode="full")
    with desk.engine.begin() as connection:
        ended = text(
            "delete from prices using assets"
            " where id = asset_id and symbol = 'AMD' and session > '2022-11-30'"
        )
        connection.execute(ended)
        connection.execute(text("update fetches set asked_at = asked_at - interval '2 hours'"))
    gone = {"kind": "unknown", "symbols": ["AMD"]}

    desk.sandbox.reset()
    desk.sandbox.faults(gone)
    first = desk.result(desk.ask())
    assert (desk.asked(), list(first["refused"]), first["silent"]) == (["AMD"], ["AMD"], [])
    hourly = desk.result(desk.ask())
    assert (len(desk.asked()), hourly["silent"], hourly["symbols_processed"]) == (1, ["AMD"], 2)
    # Whoever names it wants it asked for.
    desk.result(desk.ask(), symbols=["AAPL", "AMD"])
    assert desk.asked() == ["AMD", "AMD"]

    desk.sandbox.reset()
    desk.sandbox.faults(gone)
    now = datetime(2022, 12, 29, 22, tzinfo=UTC)
    monkeypatch.setenv("AUTOINDEX_CLOCK", now.isoformat())
    desk.sandbox.clock(now)
    desk.result(desk.ask())
    assert sorted(desk.asked()) == SYMBOLS
