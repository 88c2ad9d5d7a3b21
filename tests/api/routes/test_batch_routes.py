"""Many tasks are cancelled or retried at once: on real PostgreSQL and Prefect."""

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
from api.tasks.runner import Kind
from autoindex.settings import Settings
from tests.api.answers import client, problem
from tests.api.in_memory import InMemory
from tests.api.stages import PrefectStage
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio

TASKS = "/api/v1/background"


@pytest.fixture
async def on_prefect(settings: Settings, prefect_url: str) -> AsyncIterator[FastAPI]:
    runner = PrefectRunner(Connection(url=prefect_url), answer_seconds=HANG_SECONDS)
    made = create_app(settings, runner)
    async with made.router.lifespan_context(made):
        yield made


async def start(app: FastAPI, user: str, kind: Kind = Kind.REPORT) -> str:
    parameters = {"report_type": "weekly", "format": "json"} if kind is Kind.REPORT else {}
    started = await app.state.runner.start(kind, parameters, user=user)
    return str(started.task.id)


async def ask(http: httpx.AsyncClient, act: str, **body: Any) -> Any:
    answer = await http.post(f"{TASKS}/{act}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def done(http: httpx.AsyncClient, token: str) -> Any:
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            batch = (await http.get(f"{TASKS}/batches/{token}")).json()
            if batch["begun"] and batch["done"] == batch["total"]:
                return batch
            await asyncio.sleep(0.05)


async def status(http: httpx.AsyncClient, task_id: str) -> str:
    return str((await http.get(f"{TASKS}/status/{task_id}")).json()["status"])


async def test_exactly_what_was_shown_is_cancelled(
    on_prefect: FastAPI, stage: PrefectStage, user: str
) -> None:
    """Also what has begun meanwhile; neither what is newer nor what had ended."""
    app = on_prefect
    async with client(app, user) as http:
        tasks = [await start(app, user) for _ in range(60)]
        ended, begun = tasks[:2]
        await stage.move(UUID(ended), "COMPLETED")
        wanted = {"user": user, "status": "pending"}
        shown = await ask(http, "cancel", **wanted)
        assert (shown["total"], shown["begun"], shown["done"]) == (59, False, 0)
        assert shown["task_ids"] == tasks[1:]
        assert {await status(http, task_id) for task_id in tasks[1:4]} == {"pending"}
        newer = await start(app, user)
        await stage.move(UUID(begun), "RUNNING")
        await ask(http, "cancel", **wanted, dry_run=False, token=shown["token"])
        batch = await done(http, shown["token"])
        assert (batch["acted"], batch["total"]) == (59, 59)
        found = {task_id: await status(http, task_id) for task_id in tasks}
        assert found == {**dict.fromkeys(tasks, "revoked"), ended: "success"}
        assert await status(http, newer) == "pending"
        again = await ask(http, "cancel", **wanted, dry_run=False, token=shown["token"])
        assert again == batch


async def test_what_has_failed_is_retried_once(
    on_prefect: FastAPI, stage: PrefectStage, user: str
) -> None:
    app = on_prefect
    async with client(app, user) as http:
        tasks = [await start(app, user) for _ in range(3)]
        for task_id in tasks[:2]:
            await stage.move(UUID(task_id), "FAILED")
        for expected in (2, 0):
            shown = await ask(http, "retry", user=user, status="failure")
            assert shown["total"] == expected
            go = {"dry_run": False, "token": shown["token"]}
            await ask(http, "retry", user=user, status="failure", **go)
            assert (await done(http, shown["token"]))["acted"] == expected
        listed = (await http.get(f"{TASKS}/tasks", params={"user": user})).json()
        assert {task["retry_of"] for task in listed["tasks"]} == {None, *tasks[:2]}
        assert listed["total"] == 5


async def test_a_batch_of_none_is_done_at_once(http: httpx.AsyncClient) -> None:
    token = (await ask(http, "retry"))["token"]
    await ask(http, "retry", dry_run=False, token=token)
    assert (await done(http, token))["total"] == 0


async def test_a_retry_waits_for_room_in_the_queue(settings: Settings, runner: InMemory) -> None:
    app = create_app(settings.model_copy(update={"queued_tasks_per_kind": 1}), runner)
    async with app.router.lifespan_context(app), client(app) as http:
        for _ in range(3):
            runner.schedule(Kind.COMPUTE, {}, timedelta()).move("FAILED")
        shown = await ask(http, "retry", status="failure")
        await ask(http, "retry", status="failure", dry_run=False, token=shown["token"])
        async with asyncio.timeout(HANG_SECONDS):
            while len(runner.runs) < 6:
                for run in runner.runs.values():
                    if run.state_type == "SCHEDULED":
                        run.move("RUNNING")
                await asyncio.sleep(0.05)
        assert (await done(http, shown["token"]))["acted"] == 3


async def test_a_batch_that_was_interrupted_goes_on_when_it_is_asked_again(
    settings: Settings, runner: InMemory
) -> None:
    class Away(InMemory):
        async def cancel_many(self, *_: Any, **__: Any) -> int:
            await asyncio.Event().wait()
            return 0

    away = Away()
    away.schedule(Kind.REFRESH, {}, timedelta())
    app = create_app(settings, away)
    async with app.router.lifespan_context(app), client(app) as http:
        token = (await ask(http, "cancel"))["token"]
        await ask(http, "cancel", dry_run=False, token=token)
    runner.runs, runner.batches = away.runs, away.batches
    app = create_app(settings, runner)
    async with app.router.lifespan_context(app), client(app) as http:
        half = (await http.get(f"{TASKS}/batches/{token}")).json()
        assert (half["begun"], half["done"]) == (True, 0)
        await ask(http, "cancel", dry_run=False, token=token)
        assert (await done(http, token))["acted"] == 1


async def test_without_the_token_of_the_same_request_nothing_is_done(
    http: httpx.AsyncClient, runner: InMemory
) -> None:
    run = runner.schedule(Kind.REFRESH, {}, timedelta())
    token = (await ask(http, "cancel", kind="refresh"))["token"]

    async def refused(act: str, status: int, **body: Any) -> str:
        answer = await http.post(f"{TASKS}/{act}", json={**body, "dry_run": False})
        return str(problem(answer, status)["type"]).rpartition(":")[2]

    assert await refused("cancel", 409, kind="refresh") == "no-preview"
    assert await refused("cancel", 409, token=token) == "other-preview"
    assert await refused("retry", 409, kind="refresh", token=token) == "other-preview"
    await refused("cancel", 404, kind="refresh", token=str(uuid4()))
    await refused("cancel", 422, kind="refresh", token="monday")
    await refused("cancel", 422, knid="refresh")
    problem(await http.get(f"{TASKS}/batches/{uuid4()}"), 404)
    assert run.state_type == "SCHEDULED"


async def test_whose_tasks_they_are(app: FastAPI, runner: InMemory) -> None:
    for name in ("ada", "bob"):
        await runner.start(Kind.REFRESH, {}, user=name)
    async with (
        client(app, "bob", ["tasks:run"]) as bob,
        client(app, "root", ["tasks:admin"]) as root,
        client(app, "eve", ["tasks:read"]) as eve,
    ):
        shown = await ask(bob, "cancel")
        assert shown["total"] == 1
        problem(await bob.post(f"{TASKS}/cancel", json={"user": "ada"}), 403)
        problem(await eve.post(f"{TASKS}/cancel", json={}), 403)
        everything = await ask(root, "cancel")
        assert everything["total"] == 2
        go = {"dry_run": False, "token": everything["token"]}
        problem(await bob.post(f"{TASKS}/cancel", json=go), 403)
        problem(await bob.get(f"{TASKS}/batches/{everything['token']}"), 403)
