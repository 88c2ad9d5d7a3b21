"""Work that several users have asked for belongs to all of them: on real PostgreSQL and Prefect."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from autoindex.settings import Settings
from tests.api.answers import client, problem
from tests.api.in_memory import InMemory
from tests.api.stages import PrefectStage
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio

TASKS = "/api/v1/background"
NO_ADMIN = ["tasks:read", "tasks:run"]


@pytest.fixture
async def app(settings: Settings, prefect_url: str) -> AsyncIterator[FastAPI]:
    runner = PrefectRunner(Connection(url=prefect_url), answer_seconds=HANG_SECONDS)
    made = create_app(settings, runner)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def ada(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, f"ada-{uuid4().hex[:8]}", NO_ADMIN) as opened:
        yield opened


@pytest.fixture
async def bob(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, f"bob-{uuid4().hex[:8]}", NO_ADMIN) as opened:
        yield opened


def unheard_of() -> dict[str, str]:
    """The body of a computation that no other test asks for."""
    number = uuid4().int
    start = f"{1900 + number % 50}-{1 + number % 11:02}-{1 + number // 7 % 28:02}"
    return {"start_date": start, "end_date": f"19{50 + number // 3 % 50}-12-{1 + number % 28:02}"}


async def start(http: httpx.AsyncClient, body: dict[str, str]) -> str:
    answer = await http.post(f"{TASKS}/compute-index", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


async def status(http: httpx.AsyncClient, task_id: str) -> Any:
    return (await http.get(f"{TASKS}/status/{task_id}")).json()


async def cancel(http: httpx.AsyncClient, task_id: str) -> Any:
    answer = await http.delete(f"{TASKS}/task/{task_id}")
    assert answer.status_code == 202, answer.text
    return answer.json()


async def test_each_cancels_their_part_and_the_last_one_the_work(
    app: FastAPI, stage: PrefectStage, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    body = unheard_of()
    task_id = await start(ada, body)
    assert await start(bob, body) == task_id
    before = await status(bob, task_id)
    for _ in range(2):
        told = await cancel(ada, task_id)
        assert (told["status"], "others" in told["message"]) == ("revoked", True)
    assert await status(bob, task_id) == before
    seen = await status(ada, task_id)
    assert seen["status"] == "revoked"
    assert seen["completed_at"]
    assert (await app.state.runner.read(UUID(task_id))).status == "pending"
    await stage.move(UUID(task_id), "RUNNING")
    assert (await status(bob, task_id))["status"] == "started"
    assert (await status(ada, task_id))["status"] == "revoked"
    assert (await cancel(bob, task_id))["message"].endswith("is being cancelled")
    assert (await app.state.runner.read(UUID(task_id))).status == "revoked"
    assert await start(ada, body) != task_id


async def test_work_that_ends_has_ended_for_those_who_wait_only(
    stage: PrefectStage, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    body = unheard_of()
    task_id = await start(ada, body)
    await start(bob, body)
    await cancel(bob, task_id)
    await stage.move(UUID(task_id), "COMPLETED")
    assert [(await status(http, task_id))["status"] for http in (ada, bob)] == [
        "success",
        "revoked",
    ]


async def test_an_administrator_cancels_for_everybody(
    app: FastAPI, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    body = unheard_of()
    task_id = await start(ada, body)
    await start(bob, body)
    async with client(app, "root", ["tasks:admin"]) as root:
        assert (await cancel(root, task_id))["message"].endswith("cancelled")
    for http in (ada, bob):
        assert (await status(http, task_id))["status"] == "revoked"


async def test_who_has_not_asked_for_it_cannot_cancel_it(
    app: FastAPI, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    task_id = await start(ada, unheard_of())
    problem(await bob.delete(f"{TASKS}/task/{task_id}"), 403)
    problem(await bob.post(f"{TASKS}/task/{task_id}/retry"), 403)


async def test_who_has_left_may_ask_again(ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    body = unheard_of()
    task_id = await start(ada, body)
    await start(bob, body)
    await cancel(ada, task_id)
    assert await start(ada, body) == task_id
    assert (await status(ada, task_id))["status"] == "pending"
    await cancel(bob, task_id)
    assert (await status(ada, task_id))["status"] == "pending"


async def test_a_batch_cancels_only_the_users_part(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    shared, own = unheard_of(), unheard_of()
    joined, alone = await start(ada, shared), await start(ada, own)
    await start(bob, shared)
    token = (await ada.post(f"{TASKS}/cancel", json={})).json()["token"]
    await ada.post(f"{TASKS}/cancel", json={"dry_run": False, "token": token})
    async with asyncio.timeout(HANG_SECONDS):
        while (batch := (await ada.get(f"{TASKS}/batches/{token}")).json())["done"] < 2:
            await asyncio.sleep(0.05)
    assert batch["acted"] == 2
    assert {(await status(ada, task_id))["status"] for task_id in (joined, alone)} == {"revoked"}
    assert (await status(bob, joined))["status"] == "pending"


async def test_both_may_retry_it(
    stage: PrefectStage, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    body = unheard_of()
    task_id = await start(ada, body)
    await start(bob, body)
    await stage.move(UUID(task_id), "FAILED")
    retried = [(await http.post(f"{TASKS}/task/{task_id}/retry")).json() for http in (bob, ada)]
    assert retried[0]["task_id"] == retried[1]["task_id"]
    await cancel(bob, retried[0]["task_id"])
    assert (await status(ada, retried[0]["task_id"]))["status"] == "pending"


async def test_who_follows_it_is_told_that_their_part_has_ended(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    body = unheard_of()
    task_id = await start(ada, body)
    await start(bob, body)

    async def follow() -> str:
        async with asyncio.timeout(HANG_SECONDS):
            return (await ada.get(f"{TASKS}/status/{task_id}/events")).text

    following = asyncio.create_task(follow())
    while (await status(ada, task_id))["status"] == "pending":
        await cancel(ada, task_id)
    assert '"status":"revoked"' in await following


async def test_nobody_joins_what_the_last_one_cancels(settings: Settings) -> None:
    """Whatever comes first: who is told that equal work was queued has a task that goes on."""
    app = create_app(settings, InMemory())
    async with (
        app.router.lifespan_context(app),
        client(app, f"ada-{uuid4().hex}", NO_ADMIN) as ada,
        client(app, f"bob-{uuid4().hex}", NO_ADMIN) as bob,
    ):
        for _ in range(30):
            body = unheard_of()
            mine = await start(ada, body)
            _, theirs = await asyncio.gather(cancel(ada, mine), start(bob, body))
            assert (await status(bob, theirs))["status"] == "pending"


async def test_a_burst_of_equal_requests_counts_as_one_start(settings: Settings) -> None:
    tight = settings.model_copy(update={"tasks_per_minute": 2})
    runner = InMemory()
    app = create_app(tight, runner)
    body, user = unheard_of(), f"ada-{uuid4().hex}"
    async with app.router.lifespan_context(app), client(app, user) as http:
        assert len({await start(http, body) for _ in range(5)}) == 1
        burst = await asyncio.gather(*(start(http, body) for _ in range(50)))
        assert len({*burst}) == len(runner.runs) == 1
        await start(http, unheard_of())
        refused = await http.post(f"{TASKS}/compute-index", json=unheard_of())
        assert problem(refused, 429)["type"].endswith(":rate-limit")
        assert await start(http, body) == burst[0]
    # What was refused left nothing behind that a repetition could start.
    assert len(runner.runs) == 2
