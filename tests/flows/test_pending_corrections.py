"""A late correction in a task's result, with what it would change."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from sqlalchemy import Engine, text

from autoindex.market_data.bars import Bars
from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from benchmarks.database import walk
from tests.bounds import HANG_SECONDS
from tests.flows.conftest import Worker

SYMBOLS = ("AAPL", "KO", "XOM")
CLOCK = {"AUTOINDEX_CLOCK": "2022-12-28T22:00:00+00:00"}


def test_a_pending_correction_says_what_it_would_change(worker: Worker, engine: Engine) -> None:
    begun = datetime.now(UTC)
    listed = [
        UniverseRow(symbol=one, exchange="NYSE", currency="USD", name=one, shares_outstanding=10**9)
        for one in SYMBOLS
    ]
    with engine.begin() as connection:
        import_universe(connection, listed)
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        bars = {one: walk(one, 300, ids[one]) for one in SYMBOLS}
        stored_prices.upsert(connection, [*bars.values()], ids)
    flow = worker.deploy("flows.compute_index.compute_index", "compute")
    first = result(engine, worker.run(worker.ask(flow), CLOCK))
    assert (first["pending_corrections"], first["levels_changed"]) == ([], 0)
    assert first["sessions_published"] == first["sessions_computed"] > 200

    before = levels(engine)
    late = corrected(bars["KO"], -30)
    with engine.begin() as connection:
        stored_prices.upsert(connection, [late], ids)
    waiting = result(engine, worker.run(worker.ask(flow), CLOCK))
    assert (waiting["sessions_computed"], waiting["levels_changed"]) == (0, 0)
    assert levels(engine) == before
    (pending,) = waiting["pending_corrections"]
    day = str(late.sessions[-30])
    assert (pending["session"], pending["symbol"]) == (day, "KO")

    told = heard(worker.api_url, "autoindex.corrections.pending", begun)
    assert told[-1].startswith(f"KO from {day}; levels would change by up to ")
    assert f"{pending['effect']:.4%}" in told[-1]

    applied = result(engine, worker.run(worker.ask(flow, start_date=day), CLOCK))
    assert applied["pending_corrections"] == []
    changes = [abs(new / before[session] - 1) for session, new in levels(engine).items()]
    assert pending["effect"] == pytest.approx(max(changes), rel=1e-9)
    (change,) = heard(worker.api_url, "autoindex.levels.changed", begun)
    assert change.startswith(f"{applied['levels_changed']} levels changed, most on ")
    assert change.endswith(f"; computed again from {day} on request")
    assert applied["levels_changed"] == sum(change > 1e-10 for change in changes) > 0


def corrected(bars: Bars, position: int) -> Bars:
    close, high = bars.close.copy(), bars.high.copy()
    close[position] *= 1.1
    high[position] *= 1.2
    return replace(bars, close=close, high=high)


def result(engine: Engine, run: FlowRun) -> dict[str, Any]:
    query = text("select result from task_results where task_id = :id")
    with engine.connect() as connection:
        return dict(connection.execute(query, {"id": run.id}).scalar_one())


def heard(api_url: str, name: str, since: datetime) -> list[str]:
    """The reasons of the events of this name, once there are any; Prefect stores them later."""
    chosen = {"event": {"name": [name]}, "occurred": {"since": since.isoformat()}, "order": "ASC"}
    wanted = {"filter": chosen, "limit": 50}
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        answer = httpx.post(f"{api_url}/events/filter", json=wanted).raise_for_status()
        if found := answer.json()["events"]:
            return [event["payload"]["reason"] for event in found]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def levels(engine: Engine) -> dict[Any, float]:
    with engine.connect() as connection:
        rows = connection.execute(text("select session, level from index_levels"))
        return {row.session: row.level for row in rows}
