"""What a refresh tells Prefect of the data, the credits and the queues."""

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Scheduled
from sqlalchemy import Engine, insert

from autoindex.settings import Settings
from autoindex.storage import cache
from autoindex.storage import credits as ledger
from autoindex.storage.credits import Plan
from autoindex.storage.tables import prices
from autoindex.storage.universe import assets, membership_changes
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from flows.attempts.runtime import Runtime
from flows.visibility import events
from flows.visibility.finished_runs import TAG
from flows.visibility.monitors import monitor
from tests.bounds import HANG_SECONDS
from tests.flows.conftest import Worker
from worker.autoindex_worker import AutoindexWorker

CLEANUP = "flows.cleanup.cleanup"
AFTER_CLOSE = datetime(2022, 12, 28, 22, tzinfo=UTC)  # New York had closed at 21:00 UTC


def heard(api: str, since: datetime, resource: str) -> tuple[str, str]:
    """The one event about a resource since an instant, and its reason."""
    body = {
        "filter": {
            "occurred": {"since": since.isoformat()},
            "event": {"prefix": ["autoindex."]},
            "resource": {"id": [resource]},
        }
    }
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        answer = httpx.post(
            f"{api}/events/filter", json=body, timeout=HANG_SECONDS, trust_env=False
        )
        found = answer.json()["events"]
        if found:
            (event,) = found
            return event["event"], event["payload"]["reason"]
        time.sleep(0.1)
    raise AssertionError(f"no event about {resource}")


def fill(engine: Engine, sessions: dict[str, date]) -> None:
    row = {"exchange": "NYSE", "currency": "USD"}
    rows = [UniverseRow(symbol=name, name=name, **row) for name in (*sessions, "NONE")]
    bar = {"open": 1, "high": 1, "low": 1, "close": 1}
    with engine.begin() as connection:
        import_universe(connection, rows)
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        bars: list[dict[str, Any]] = [
            {"asset_id": ids[name], "session": day, **bar} for name, day in sessions.items()
        ]
        connection.execute(insert(prices), bars)


def look(engine: Engine, settings: Settings, task_id: UUID, now: datetime = AFTER_CLOSE) -> None:
    run = Runtime(settings, engine, cache.from_settings(settings), now, task_id)
    monitor.fn(run)


def wait_elsewhere(worker: Worker) -> None:
    """Have a run wait for an hour in another pool's queue of the same name."""
    template = AutoindexWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name="elsewhere", type=AutoindexWorker.type, base_job_template=template)
    worker.client.create_work_pool(pool, overwrite=True)
    flow_id = worker.client.create_flow_from_name("cleanup")
    made = worker.client.create_deployment(
        flow_id, "elsewhere", work_pool_name="elsewhere", work_queue_name="default", tags=[TAG]
    )
    worker.deployed.append(made)
    since = datetime.now(UTC) - timedelta(hours=1)
    worker.client.create_flow_run_from_deployment(made, state=Scheduled(scheduled_time=since))


def test_what_is_well_and_what_is_not(worker: Worker, engine: Engine) -> None:
    yesterday, today = date(2022, 12, 27), date(2022, 12, 28)
    fill(engine, {"AAPL": today, "KO": yesterday})
    run = worker.ask(worker.deploy(CLEANUP, "watched"))
    with engine.begin() as connection:
        membership_changes.deactivate(connection, ["NONE"], "test")
        now = datetime.now(UTC)
        ledger.store_plan(connection, Plan(8, 800), now, used_today=719)
    wait_elsewhere(worker)
    began = datetime.now(UTC)
    look(engine, worker.settings, run.id)
    assert heard(worker.api_url, began, events.DATA) == (
        events.DATA_CURRENT,
        "all 2 active symbols have the session of 2022-12-27",
    )
    assert heard(worker.api_url, began, events.CREDITS) == (
        events.CREDITS_LEFT,
        "719 of the day's 800 credits are spent",
    )
    quiet = heard(worker.api_url, began, events.queue_resource("default"))
    assert quiet[0] == events.QUEUE_MOVING

    now = datetime.now(UTC)
    with engine.begin() as connection:
        ledger.store_plan(connection, Plan(8, 800), now, used_today=720)
    waiting = Scheduled(scheduled_time=now - timedelta(minutes=42))
    worker.client.set_flow_run_state(run.id, waiting, force=True)
    began = datetime.now(UTC)
    look(engine, worker.settings, run.id, AFTER_CLOSE + timedelta(hours=3))
    assert heard(worker.api_url, began, events.DATA) == (
        events.DATA_STALE,
        "1 of 2 active symbols lack the session of 2022-12-28: KO",
    )
    assert heard(worker.api_url, began, events.CREDITS)[0] == events.CREDITS_NEARLY_SPENT
    event, reason = heard(worker.api_url, began, events.queue_resource("default"))
    assert event == events.QUEUE_TOO_OLD
    assert reason.startswith("a run has waited in default for 42 minutes, since ")

    now = datetime.now(UTC)
    with engine.begin() as connection:
        ledger.store_plan(connection, Plan(8, None), now)
        ledger.exhaust(connection, Plan(8, None), now, daily=True)
    began = datetime.now(UTC)
    look(engine, worker.settings, run.id)
    assert heard(worker.api_url, began, events.CREDITS) == (
        events.CREDITS_NEARLY_SPENT,
        "the provider says that the day's credits are spent",
    )
