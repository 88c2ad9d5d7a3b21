"""What people see of a run in the Prefect UI, read back from a real server."""

import base64
import json
import re
from typing import Any

import httpx
from prefect.client.schemas.objects import FlowRun
from sqlalchemy import Engine

from autoindex.storage.prices import stored_prices
from autoindex.storage.universe import assets
from autoindex.storage.universe.universe_import import import_universe
from autoindex.storage.universe.universe_row import UniverseRow
from benchmarks.database import walk
from tests.flows.conftest import Worker

SYMBOLS = ("AAPL", "KO", "XOM")
CLOCK = {"AUTOINDEX_CLOCK": "2022-12-28T22:00:00+00:00"}
LINKED = {
    "AUTOINDEX_JWT_SECRET": "correct-horse-battery-staple-and-more",
    "AUTOINDEX_API_URL": "https://index.example",
}


def test_compute_and_report_say_what_they_made(worker: Worker, engine: Engine) -> None:
    store(engine)
    computed = worker.run(
        worker.ask(worker.deploy("flows.compute_index.compute_index", "compute")), CLOCK
    )
    assert computed.name == "composite monthly index to 2022-12-28"
    seen = artifacts(worker, computed)
    assert seen["compute-result"]["description"] == computed.name
    measures = {row["measure"]: row["value"] for row in rows(seen["index-metrics"])}
    assert re.fullmatch(r"\d+\.\d\d%", measures["Annual volatility"])
    assert {row["symbol"] for row in rows(seen["index-weights"])} <= set(SYMBOLS)
    assert seen["index-weights"]["description"] == "Weights decided at the close of 2022-12-01"

    report = worker.deploy("flows.generate_report.generate_report", "report")
    made = worker.run(worker.ask(report, report_type="weekly", format="pdf"), CLOCK | LINKED)
    assert made.name == "weekly report as pdf to 2022-12-28"
    seen = artifacts(worker, made)
    assert "https://index.example/api/v1/reports/shared?link=" in seen["report-file"]["data"]
    picture = seen["report-chart"]["data"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert "| report type | weekly |" in seen["report-result"]["data"]


def test_a_dry_run_says_what_it_would_do(worker: Worker) -> None:
    counted = worker.run(worker.ask(worker.deploy("flows.cleanup.cleanup", "cleanup")), CLOCK)
    shown = artifacts(worker, counted)["cleanup-result"]["data"]
    assert (
        "| would remove | prices: older than: 2021-12-28<br>archived: 0<br>would delete: " in shown
    )
    assert "| removed" not in shown


def store(engine: Engine) -> None:
    listed = [
        UniverseRow(symbol=one, exchange="NYSE", currency="USD", name=one, shares_outstanding=10**9)
        for one in SYMBOLS
    ]
    with engine.begin() as connection:
        import_universe(connection, listed)
        ids = {asset.symbol: asset.id for asset in assets.list_assets(connection)}
        stored_prices.upsert(connection, [walk(one, 300, ids[one]) for one in SYMBOLS], ids)


def artifacts(worker: Worker, run: FlowRun) -> dict[str, dict[str, Any]]:
    wanted = {"artifacts": {"flow_run_id": {"any_": [str(run.id)]}}}
    found = httpx.post(f"{worker.api_url}/artifacts/filter", json=wanted).raise_for_status().json()
    return {one["key"]: one for one in found}


def rows(table: dict[str, Any]) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(table["data"])
    return listed
