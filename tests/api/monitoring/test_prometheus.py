"""What Prometheus scrapes, read by its own parser; and the log of a request."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families as parse
from sqlalchemy import Engine, delete

from api.app import create_app
from api.monitoring import prometheus
from api.server import json_logs
from api.tasks.deadline import Deadline
from api.tasks.runner import Kind
from autoindex.errors import PartUnavailable
from autoindex.requests import Frequency, Strategy
from autoindex.settings import Settings
from autoindex.storage import credits as ledger
from autoindex.storage.index import publications
from autoindex.storage.tables import credit_ledger, credit_plan
from tests.api.answers import client, problem
from tests.api.in_memory import InMemory
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio

Samples = dict[tuple[str, frozenset[str]], float]


async def scraped(http: httpx.AsyncClient) -> Samples:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


async def test_tasks_queues_and_workers_are_counted(
    http: httpx.AsyncClient, runner: InMemory
) -> None:
    waiting = runner.schedule(Kind.REFRESH, {}, -timedelta(minutes=10))
    runner.schedule(Kind.REFRESH, {}, timedelta(hours=1))
    begun = runner.schedule(Kind.REPORT, {}, -timedelta(seconds=20))
    begun.move("RUNNING")
    found = await scraped(http)
    assert found["autoindex_tasks", frozenset({"refresh", "pending"})] == 1
    assert found["autoindex_tasks", frozenset({"report", "started"})] == 1
    assert found["autoindex_tasks", frozenset({"compute", "success"})] == 0
    age = found["autoindex_queue_age_seconds", frozenset({"high_priority"})]
    assert age == pytest.approx((datetime.now(UTC) - waiting.due_at).total_seconds(), abs=30)
    assert found["autoindex_queue_age_seconds", frozenset({"low_priority"})] == 0
    assert found["autoindex_workers_online", frozenset()] == 1
    assert found["autoindex_start_latency_seconds_count", frozenset({"report"})] == 1
    assert found["autoindex_start_latency_seconds_bucket", frozenset({"report", "10.0"})] == 0
    assert found["autoindex_part_up", frozenset({"prefect"})] == 1


@pytest.fixture
def planned(api_engine: Engine) -> Iterator[None]:
    now = datetime.now(UTC)
    plan = ledger.Plan(per_minute=8, per_day=800)
    with api_engine.begin() as connection:
        ledger.store_plan(connection, plan, now, used_today=100)
    yield
    with api_engine.begin() as connection:
        for table in (credit_ledger, credit_plan):
            connection.execute(delete(table))


@pytest.mark.usefixtures("planned")
async def test_credits_that_are_left_are_told(http: httpx.AsyncClient) -> None:
    found = await scraped(http)
    assert found["autoindex_credits_left", frozenset({"day"})] == 700
    assert found["autoindex_credits_left", frozenset({"minute"})] == 8


async def test_the_newest_final_session_of_each_index_is_told(
    http: httpx.AsyncClient, api_engine: Engine
) -> None:
    levels = pd.Series([100.0, 101.0, 102.0], pd.bdate_range("2024-01-02", periods=3))
    index = Strategy.RISK_PARITY, Frequency.QUARTERLY
    with api_engine.begin() as connection:
        missing = {date(2024, 1, 4): ["KO"]}
        publications.publish(connection, *index, levels, missing, cause="launch", task_id=None)
    found = await scraped(http)
    told = found["autoindex_final_session_timestamp_seconds", frozenset(index)]
    assert datetime.fromtimestamp(told, UTC) == datetime(2024, 1, 3, tzinfo=UTC)
    since = found["autoindex_final_session_published_timestamp_seconds", frozenset(index)]
    assert since == pytest.approx(datetime.now(UTC).timestamp(), abs=HANG_SECONDS)


async def test_requests_are_counted_by_route_and_never_by_path(http: httpx.AsyncClient) -> None:
    for number in range(3):
        await http.get(f"/api/v1/background/status/00000000-0000-4000-8000-00000000000{number}")
        await http.request(f"ODD{number}", f"/nowhere/{number}")
    found = await scraped(http)
    route = "/api/v1/background/status/{task_id}"
    assert found["autoindex_requests_total", frozenset({"GET", route, "404"})] == 3
    assert found["autoindex_request_seconds_count", frozenset({route})] == 3
    assert found["autoindex_requests_total", frozenset({"other", "none", "404"})] == 3


async def test_a_start_is_counted_once_whichever_process_sees_it(
    settings: Settings, runner: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(prometheus.FOLDER, str(tmp_path))
    monkeypatch.setattr(prometheus, "_FRESH_SECONDS", 0.0)
    processes = [create_app(settings, runner) for _ in range(3)]
    runner.schedule(Kind.REPORT, {}, -timedelta(seconds=20)).move("RUNNING")
    for process in processes * 2:
        await process.state.metrics.text()
    counted = [
        sample.value
        for process in processes
        for family in process.state.metrics._registry.collect()
        for sample in family.samples
        if sample.name == "autoindex_start_latency_seconds_count"
    ]
    assert sum(counted) == 1


async def away() -> None:
    raise PartUnavailable("Prefect")


async def slow() -> None:
    await asyncio.sleep(HANG_SECONDS)


async def unlike_any_other() -> None:
    raise KeyError("a state that there is not")


@pytest.mark.parametrize("error", [away, slow, unlike_any_other])
async def test_what_is_away_is_told_and_costs_nothing_else(
    app: FastAPI,
    http: httpx.AsyncClient,
    runner: InMemory,
    error: Callable[[], Awaitable[None]],
) -> None:
    app.state.metrics._deadline = Deadline(5)  # the database answers sooner on a busy machine, too
    runner.census = lambda _: error()  # type: ignore[method-assign, assignment, return-value]
    await http.get("/health")
    found = await scraped(http)
    assert found["autoindex_part_up", frozenset({"prefect"})] == 0
    assert found["autoindex_part_up", frozenset({"database"})] == 1
    assert found["autoindex_requests_total", frozenset({"GET", "/health", "200"})] == 1


async def test_parts_that_are_slow_are_waited_for_together(app: FastAPI, runner: InMemory) -> None:
    begun, given_up = [], []

    async def slow_part() -> None:
        begun.append(True)
        try:
            await slow()
        finally:
            given_up.append(len(begun))

    app.state.metrics._deadline = Deadline(0.05)
    runner.census = lambda _: slow_part()  # type: ignore[method-assign, assignment, return-value]
    app.state.database.read = lambda *_: slow_part()
    async with client(app) as http:
        found = await scraped(http)
    assert found["autoindex_part_up", frozenset({"prefect"})] == 0
    assert found["autoindex_part_up", frozenset({"database"})] == 0
    assert given_up == [2, 2]


async def test_a_token_of_its_own_is_enough(app: FastAPI) -> None:
    async with client(app, scopes=["metrics:read"]) as scraper:
        await scraped(scraper)
        problem(await scraper.get("/api/v1/background/tasks"), 403)
    async with client(app, scopes=["tasks:run"]) as other:
        problem(await other.get("/metrics"), 403)
    async with client(app, user=None) as nobody:
        problem(await nobody.get("/metrics"), 401)


async def test_a_line_of_the_log_is_json_and_names_its_request(
    http: httpx.AsyncClient, runner: InMemory, capfd: pytest.CaptureFixture[str]
) -> None:
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    json_logs.install()
    try:
        answer = await http.get("/api/v1/background/tasks", headers={"X-Request-ID": "r-17"})
    finally:
        root.handlers[:] = before
        root.setLevel(logging.WARNING)
    assert answer.headers["x-request-id"] == "r-17"
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = [line for line in lines if "status" in line]
    assert line["level"] == "INFO"
    assert line["message"] == "GET /api/v1/background/tasks answered 200"
    assert (line["request_id"], line["user"], line["status"]) == ("r-17", "ada", 200)
    assert line["milliseconds"] >= 0
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
