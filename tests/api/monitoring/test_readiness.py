"""`/ready` under a flood of questions, and beside parts that hang."""

import asyncio
from collections.abc import Sequence

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from api.monitoring import readiness
from api.tasks.runner import Kind
from autoindex.storage import schema_revision
from autoindex.storage.runs import pool_owner
from deployments.local.embedded_postgres import EmbeddedPostgres
from tests.api.answers import client, problem
from tests.api.in_memory import InMemory

pytestmark = pytest.mark.anyio


async def test_a_database_that_takes_no_writes_is_noticed_and_so_is_that_it_does_again(
    app: FastAPI,
    http: httpx.AsyncClient,
    server: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "_KEPT_SECONDS", 0.0)
    refresh = {"json": {"symbols": ["AAPL"]}, "headers": {"Idempotency-Key": "read-only"}}
    assert (await http.get("/ready")).status_code == 200
    with psycopg.connect(host=str(server.socket_dir), user="postgres", autocommit=True) as admin:
        admin.execute("alter database facade set default_transaction_read_only = on")
        try:
            # As a reload of the server's settings does to the connections that there are.
            await app.state.database.read(
                lambda c: c.execute(text("set default_transaction_read_only = on")) and c.commit()
            )
            assert "database" in problem(await http.get("/ready"), 503)["detail"]
            answer = await http.post("/api/v1/background/refresh", **refresh)
            assert "database" in problem(answer, 503)["detail"]
            assert "retry-after" in answer.headers
        finally:
            admin.execute("alter database facade reset default_transaction_read_only")
    assert (await http.get("/ready")).status_code == 200
    assert (await http.post("/api/v1/background/refresh", **refresh)).status_code == 202


async def test_tables_of_another_version_are_noticed(
    app: FastAPI, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a facade that an upgrade has not reached yet, or that was started before it."""
    monkeypatch.setattr(readiness, "_KEPT_SECONDS", 0.0)
    for revision in ("0000", "9999"):
        with monkeypatch.context() as other:
            other.setattr(schema_revision, "REVISION", revision)
            detail = problem(await http.get("/ready"), 503)["detail"]
        assert "database: is at another version's revision" in detail
    assert (await http.get("/ready")).status_code == 200


class Counted:
    """Counts how often somebody asks who is online; hangs where it is told to."""

    def __init__(self, runner: InMemory) -> None:
        self.runner = runner
        self.asked = 0
        self.hangs = False

    async def workers(self) -> Sequence[str]:
        self.asked += 1
        await asyncio.sleep(60 if self.hangs else 0.05)
        return tuple(self.runner.online)


@pytest.fixture
def prefect(runner: InMemory) -> Counted:
    counted = Counted(runner)
    runner.workers = counted.workers  # type: ignore[method-assign]
    return counted


async def test_a_flood_of_questions_is_one_a_second(
    app: FastAPI, prefect: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_KEPT_SECONDS", 60.0)  # a busy machine's second
    async with client(app, None) as stranger:
        for _ in range(2):
            answers = await asyncio.gather(*(stranger.get("/ready") for _ in range(50)))
            assert {answer.status_code for answer in answers} == {200}
        assert prefect.asked == 1
        prefect.runner.online.clear()
        monkeypatch.setattr(readiness, "_KEPT_SECONDS", 0.0)
        assert "worker" in problem(await stranger.get("/ready"), 503)["detail"]
        assert prefect.asked == 2


async def test_one_who_gives_up_does_not_keep_the_answer_from_others(
    http: httpx.AsyncClient, prefect: Counted
) -> None:
    first, second = (asyncio.create_task(http.get("/ready")) for _ in range(2))
    await asyncio.sleep(0.02)
    first.cancel()
    assert (await second).status_code == 200
    assert prefect.asked == 1


async def test_a_part_that_hangs_is_named(
    app: FastAPI, http: httpx.AsyncClient, prefect: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Well before the time that an answer may take at all.
    monkeypatch.setattr(app.state.checks._deadline, "seconds", 1.0)
    prefect.hangs = True
    answers = await asyncio.gather(*(http.get("/ready") for _ in range(10)))
    for answer in answers:
        assert "prefect: does not answer" in problem(answer, 503)["detail"]
    assert prefect.asked == 1


async def test_a_prefect_that_was_not_set_up_is_not_ready(
    http: httpx.AsyncClient, runner: InMemory
) -> None:
    runner.lacks = [Kind.REPORT]
    answer = problem(await http.get("/ready"), 503)
    assert answer["detail"] == "deployments: not all are there, run `autoindex bootstrap`"


async def test_a_facade_of_another_database_starts_no_task(
    app: FastAPI, http: httpx.AsyncClient, runner: InMemory, caplog: pytest.LogCaptureFixture
) -> None:
    ours = await app.state.database.read(pool_owner.description)
    runner.described = "Runs of Autoindex, which use the database other (1-2)"
    assert problem(await http.get("/ready"), 503)["detail"] == (
        "database: is not the work pool's, the facade's log says more"
    )
    refused = await http.post("/api/v1/background/refresh", json={"mode": "smart"})
    assert "is not the work pool's" in problem(refused, 503)["detail"]
    assert "names facade (" in caplog.text
    assert runner.runs == {}
    runner.described = ours
    started = await http.post("/api/v1/background/refresh", json={"mode": "smart"})
    assert started.status_code == 202
