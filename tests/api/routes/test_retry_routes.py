"""A task that has ended is retried once: on real PostgreSQL and Prefect."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from api.tasks.runner import Kind, Query
from autoindex.settings import Settings
from tests.api.answers import client, problem
from tests.api.stages import PrefectStage
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio

TASKS = "/api/v1/background"
REPORT = {"report_type": "weekly", "format": "json", "email": None}


@pytest.fixture
async def app(settings: Settings, prefect_url: str) -> AsyncIterator[FastAPI]:
    runner = PrefectRunner(Connection(url=prefect_url), answer_seconds=HANG_SECONDS)
    made = create_app(settings, runner)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def http(app: FastAPI, user: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, user) as opened:
        yield opened


async def ended(
    http: httpx.AsyncClient, stage: PrefectStage, state: str = "FAILED", path: str = "report"
) -> str:
    """A report task that has ended."""
    paths = {"report": ("generate-report", REPORT), "cleanup": ("cleanup", {})}
    name, body = paths[path]
    answer = await http.post(f"{TASKS}/{name}", json=body)
    task_id = answer.json()["task_id"]
    await stage.move(UUID(task_id), state)
    return str(task_id)


async def status(http: httpx.AsyncClient, task_id: str) -> Any:
    return (await http.get(f"{TASKS}/status/{task_id}")).json()


async def listed(http: httpx.AsyncClient, user: str) -> dict[str, Any]:
    answer = await http.get(f"{TASKS}/tasks", params={"user": user})
    return {task["task_id"]: task for task in answer.json()["tasks"]}


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
async def test_an_ended_task_is_retried_as_a_new_one(
    http: httpx.AsyncClient, stage: PrefectStage, user: str, state: str
) -> None:
    old = await ended(http, stage, state)
    before = await status(http, old)
    answer = await http.post(f"{TASKS}/task/{old}/retry")
    assert answer.status_code == 202
    new = answer.json()["task_id"]
    assert answer.json()["message"] == "Report generation task queued"
    assert answer.headers["location"] == f"{TASKS}/status/{new}"
    assert (await status(http, new))["retry_of"] == old
    assert await status(http, old) == {**before, "retried_as": new}
    tasks = await listed(http, user)
    assert tasks[new]["parameters"] == tasks[old]["parameters"]
    assert (tasks[new]["retry_of"], tasks[old]["retried_as"]) == (old, new)


async def test_its_parameters_may_be_changed(
    http: httpx.AsyncClient, stage: PrefectStage, user: str
) -> None:
    old = await ended(http, stage)
    answer = await http.post(f"{TASKS}/task/{old}/retry", json={"format": "pdf"})
    tasks = await listed(http, user)
    assert tasks[answer.json()["task_id"]]["parameters"] == {
        "report_type": "weekly",
        "format": "pdf",
        "strategy": "composite",
        "frequency": "monthly",
    }
    again = await http.post(f"{TASKS}/task/{old}/retry", json={"format": "excel"})
    refused = problem(again, 409)
    assert refused["type"].endswith(":retried-differently")
    assert answer.json()["task_id"] in refused["detail"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"format": "docx"}, "format"), ({"forma": "pdf"}, "forma"), ([], "body")],
)
async def test_a_change_that_is_not_valid_is_refused(
    http: httpx.AsyncClient, stage: PrefectStage, user: str, changes: Any, field: str
) -> None:
    old = await ended(http, stage)
    found = problem(await http.post(f"{TASKS}/task/{old}/retry", json=changes), 422)
    assert [error["field"] for error in found["errors"]] == [field]
    assert list(await listed(http, user)) == [old]


@pytest.mark.parametrize("state", ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"])
async def test_a_task_that_has_not_ended_is_not_retried(
    http: httpx.AsyncClient, stage: PrefectStage, state: str
) -> None:
    task_id = await ended(http, stage, "RUNNING")
    await stage.move(UUID(task_id), state)
    refused = problem(await http.post(f"{TASKS}/task/{task_id}/retry"), 409)
    assert refused["type"].endswith(":task-not-ended")


async def test_a_thousand_retries_of_one_task_are_one(
    app: FastAPI, http: httpx.AsyncClient, stage: PrefectStage, user: str
) -> None:
    old = await ended(http, stage)

    async def asked() -> httpx.Response:
        # On a busy machine some are told to ask again.
        while (answer := await http.post(f"{TASKS}/task/{old}/retry")).status_code == 503:
            await asyncio.sleep(float(answer.headers["Retry-After"]))
        return answer

    answers = await asyncio.gather(*(asked() for _ in range(1_000)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    found = await app.state.runner.search(Query(user=user), page=1, per_page=10)
    assert found.total == 2


async def test_who_may_retry(
    app: FastAPI, http: httpx.AsyncClient, stage: PrefectStage, user: str
) -> None:
    report, cleanup = await ended(http, stage), await ended(http, stage, path="cleanup")
    scheduled = str(await stage.schedule(Kind.REFRESH, timedelta()))
    await stage.move(UUID(scheduled), "FAILED")

    async def tries(name: str, scopes: list[str], task_id: str) -> int:
        async with client(app, name, scopes) as somebody:
            answer = await somebody.post(f"{TASKS}/task/{task_id}/retry")
            if answer.status_code == 403:
                assert "insufficient_scope" in answer.headers["www-authenticate"]
            return answer.status_code

    assert await tries(user, ["tasks:read"], report) == 403
    assert await tries("bob", ["tasks:run"], report) == 403
    assert await tries("bob", ["tasks:run"], scheduled) == 403
    assert await tries(user, ["tasks:run"], cleanup) == 403
    assert await tries(user, ["tasks:run"], report) == 202
    assert await tries("root", ["tasks:run", "tasks:admin"], scheduled) == 202
    assert await tries("root", ["tasks:admin"], cleanup) == 202
    assert await tries("root", ["tasks:admin"], str(uuid4())) == 404
